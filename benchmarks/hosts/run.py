"""Models of other people, before and after `unrolled.accelerate`: equal, and how much faster.

Each host is a file beside this one: which packages it needs, a model as that package makes it, and
what its users do with it. A host has an environment of its own, made at the first use; all have the
same torch. The figures are of the whole model, before and after in turns; with one thread they are
of the processor's time, which other processes do not change.

    python benchmarks/hosts/run.py                      # all hosts
    python benchmarks/hosts/run.py resemblyzer_host --threads 1 2 --results hosts.json
    python benchmarks/hosts/run.py kokoro_host --weights bf16  # inference, beside quantize_dynamic
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
TORCH = "torch==2.13.0"
OURS = ("numpy", "safetensors", "filelock", "lazy-loader", "platformdirs", "regex", "typer", "rich")


def names_in(host: Path, constant: str) -> list[str]:
    """Return a list of names that a host's file has, as REQUIRES, without running it."""
    for node in ast.parse(host.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == constant:
            return list(ast.literal_eval(node.value))
    return []


def environment_of(host: Path, folder: Path) -> Path:
    """Return the Python of a host's environment, which is made if it is not there."""
    python = folder / host.stem / "bin" / "python"
    if python.exists():
        return python
    print(f"{host.stem}: making its environment in {folder / host.stem}", flush=True)
    venv.create(folder / host.stem, with_pip=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write(f"{TORCH}\n")
        constraints.flush()
        install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints.name]
        subprocess.run([*install, TORCH, *OURS, *names_in(host, "REQUIRES")], check=True)
    return python


def main() -> None:
    """Measure the hosts that are named, each in a process of its own."""
    hosts = {path.stem: path for path in sorted(HERE.glob("*_host.py"))}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hosts", nargs="*", choices=[*hosts, []], help="all, if none is named")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--weights", choices=("f32", "bf16", "int8"), default="f32")
    parser.add_argument("--environments", type=Path, default=HERE / ".venv")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{HERE}"}
    results = {}
    for name in options.hosts or hosts:
        python = environment_of(hosts[name], options.environments)
        results[name] = []
        for threads in options.threads:
            figures = (str(threads), str(options.repeats), options.weights)
            command = [python, HERE / "measure.py", name, *figures]
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, check=False
            )
            if done.returncode:
                print(f"{name}: failed with {threads} threads", file=sys.stderr)
                continue
            result = json.loads(done.stdout.splitlines()[-1])
            results[name].append(result)
            print(f"{name}: {json.dumps(result)}", flush=True)
    if options.results:
        options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
