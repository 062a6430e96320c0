"""How much the core and each extra put onto the disk, and the table of it in docs/install.md.

    python packaging/sizes.py               # measures; benchmarks/results/sizes.json and the table
    python packaging/sizes.py --table-only  # writes the table from the results that are kept

pip resolves each extra within constraints.txt; what it names is installed, without its own
dependencies, into a folder that is thrown away. A package's size is that of the files it lists,
unpacked and without bytecode. What torch brings is left out of all sums.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "install.md"
RESULTS = ROOT / "benchmarks" / "results" / "sizes.json"
BEGIN, END = "<!-- sizes:begin -->\n", "<!-- sizes:end -->\n"
NOT_FOR_USERS = {"all", "bench", "dev", "docs"}
NAMED_FROM = 10**6  # bytes: a package that is smaller is not named in the table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table-only", action="store_true")
    if not parser.parse_args().table_only:
        RESULTS.write_text(json.dumps(measured(), indent=2) + "\n", encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


def measured() -> dict:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = [each for each in project["dependencies"] if not each.startswith("torch")]
    of_torch = resolved(["torch"])
    sets = {"core": resolved(core)}
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in NOT_FOR_USERS:
            sets[extra] = resolved([*core, *requirements])
    everything = {pair: None for versions in sets.values() for pair in versions.items()}
    pins = [f"{name}=={version}" for name, version in everything if name not in of_torch]
    with tempfile.TemporaryDirectory() as folder:
        # By --target, files beside site-packages would not be where their package lists them.
        into = ["--ignore-installed", "--prefix", folder, "--no-deps", "--no-compile"]
        pip("install", "--quiet", *into, str(ROOT), *pins)
        bases = {"base": folder, "platbase": folder}
        places = sorted({sysconfig.get_path(name, vars=bases) for name in ("purelib", "platlib")})
        installed = list(distributions(path=places))
        sizes = {normal(each.name): size_of(each) for each in installed}
        own = next(each.version for each in installed if each.name == "unrolled")
    sets["core"] = {"unrolled": own, **sets["core"]}
    rows = {}
    for name, versions in sets.items():
        beside = of_torch if name == "core" else {**of_torch, **sets["core"]}
        rows[name] = {
            package: {"version": version, "bytes": sizes[package]}
            for package, version in sorted(versions.items())
            if package not in beside
        }
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return {"machine": machine, "sets": rows}


def resolved(requirements: list[str]) -> dict[str, str]:
    """Return the names and versions that pip would install for these."""
    arguments = ["install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    report = json.loads(pip(*arguments, *requirements))
    metadata = [each["metadata"] for each in report["install"]]
    return {normal(each["name"]): each["version"] for each in metadata}


def pip(*arguments: str) -> str:
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    command = [sys.executable, "-m", "pip", *arguments, *pins]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def size_of(distribution: Distribution) -> int:
    files = [Path(str(distribution.locate_file(each))) for each in distribution.files or ()]
    return sum(file.stat().st_size for file in files)


def with_table(page: str, results: dict) -> str:
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin + end == BEGIN + END, f"the page needs the markers {BEGIN!r} and {END!r}"
    return before + begin + table(results) + end + after


def table(results: dict) -> str:
    lines = [
        f"{results['machine']}, without torch and what it brings:",
        "",
        "| what | MB | of it |",
        "|---|---:|---|",
    ]
    for name, packages in results["sets"].items():
        title = "`unrolled`" if name == "core" else f"`unrolled[{name}]`, more"
        largest = sorted(packages, key=lambda package: -packages[package]["bytes"])
        named = [
            f"{package} {megabytes(packages[package]['bytes'])}"
            for package in largest
            if packages[package]["bytes"] >= NAMED_FROM
        ]
        total = megabytes(sum(package["bytes"] for package in packages.values()))
        lines.append(f"| {title} | {total} | {', '.join(named)} |")
    return "\n".join(lines) + "\n"


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}" if count < 10**7 else f"{count / 1e6:.0f}"


if __name__ == "__main__":
    main()
