"""The hosts' own tests of their recurrent parts, unchanged, without `unrolled` and with it.

A host's file names them in TESTS: options of pytest, read in the unpacked sdist of the first of its
REQUIRES. They are run twice, and the second time every layer of torch that is made is accelerated
(`own_tests_plugin.py`). Tests that want a network, or weights from one, fail in both.

    python benchmarks/hosts/own_tests.py                    # all hosts that have TESTS
    python benchmarks/hosts/own_tests.py sb3_host --results own_tests.json
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

from run import HERE, SOURCE, environment_of, names_in

ENDS = ("passed", "failed", "error", "skipped")


def unpacked(python: Path, requirement: str, folder: Path) -> Path:
    """Return the folder of a package's sdist."""
    name = requirement.partition("==")[0].partition("[")[0]
    pip = [python, "-m", "pip", "--quiet", "download", "--no-deps", "--no-binary", name]
    subprocess.run([*pip, "--dest", folder, requirement], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    (place,) = (path for path in folder.iterdir() if path.is_dir())
    return place


def outcomes(python: Path, host: Path, tests: list[str], place: Path, accelerated: bool) -> dict:
    """Return how each test of a host ended, and what its layers did."""
    results = place / "outcomes.json"
    results.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{SOURCE}{os.pathsep}{HERE}",
        "UNROLLED_ACCELERATED": "1" if accelerated else "",
        "UNROLLED_OUTCOMES": str(results),
        "OMP_NUM_THREADS": "1",
    }
    # The host's own file comes first: it puts aside what cannot be installed.
    plugins = ["-p", host.stem, "-p", "own_tests_plugin", "-p", "no:cacheprovider"]
    # without what its makers ask of pytest, as a report of coverage
    command = [python, "-m", "pytest", "-q", "-o", "addopts=", *plugins, *tests]
    subprocess.run(command, cwd=place, env=environment, stdout=sys.stderr, check=False)
    return json.loads(results.read_text(encoding="utf-8"))


def summary(before: dict, after: dict) -> dict:
    """Return the counts of both runs, what the layers did, and which tests ended otherwise."""
    counts = [Counter(run["tests"].values()) for run in (before, after)]
    names = before["tests"] | after["tests"]
    others = [n for n in names if before["tests"].get(n) != after["tests"].get(n)]
    return {
        "without": {end: counts[0][end] for end in ENDS if counts[0][end]},
        "with": {end: counts[1][end] for end in ENDS if counts[1][end]},
        "ended_otherwise": others,
        "layers": after["layers"],
        "left_alone": after["left_alone"],
        "calls": after["calls"],
    }


def main() -> None:
    """Run the tests of the hosts that are named, and print a line of JSON for each."""
    hosts = {path.stem: path for path in sorted(HERE.glob("*_host.py"))}
    hosts = {name: path for name, path in hosts.items() if names_in(path, "TESTS")}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hosts", nargs="*", choices=[*hosts, []], help="all, if none is named")
    parser.add_argument("--environments", type=Path, default=HERE / ".venv")
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    results = {}
    for name in options.hosts or hosts:
        python = environment_of(hosts[name], options.environments)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "pytest"], check=True)
        with tempfile.TemporaryDirectory() as folder:
            package = names_in(hosts[name], "REQUIRES")[0]
            place = unpacked(python, package, Path(folder))
            tests = names_in(hosts[name], "TESTS")
            runs = [outcomes(python, hosts[name], tests, place, after) for after in (False, True)]
        results[name] = summary(*runs)
        print(f"{name}: {json.dumps(results[name])}", flush=True)
        if options.results:
            options.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
