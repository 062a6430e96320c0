"""The tests of what depends on torch, on each version of torch that the package says it takes.

    python packaging/torch_versions.py 2.10.0 2.15.0 [--index-url URL] [--keep FOLDER] [-- TESTS]

Each gets a new environment, with torch of that version and everything else as in `.venv`. On Linux
the wheels of the index that pip has are built for CUDA, whose libraries are gigabytes and of no use
to these tests: torch is installed without them, with NVIDIA's small runtime, which finds that there
is no GPU, and with stand-ins for the others, whose functions nobody calls. `--index-url` names an
index of builds for CPUs, which need neither.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = (
    *("tests/test_torch_names.py", "tests/acceleration", "tests/layers", "tests/streaming"),
    *("tests/export/test_onnx.py", "tests/export/test_weights.py", "tests/cells"),
    *("tests/kernels/test_operator.py", "tests/kernels/test_exporting.py"),
    *("tests/kernels/test_autograd.py", "tests/kernels/test_recurrence.py"),
    *("tests/kernels/test_kernels.py", "tests/kernels/test_short_calls.py"),
    *("tests/kernels/test_step_graph.py", "tests/kernels/test_mistakes.py"),
    *("tests/kernels/test_changes_outside.py", "tests/kernels/test_what_a_cell_says.py"),
)
OF_THE_SYSTEM = re.compile(
    r"lib(pthread|m|dl|c|rt|z|quadmath|stdc\+\+|gcc_s|gomp)\.so|ld-linux|libtorch|libc10|libshm|libcaffe2"
)
LOADED_ONLY_WHERE_USED = {"libtorch_cuda_linalg.so"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("versions", nargs="+", help="Of torch.")
    parser.add_argument("--index-url", help="An index that has builds of torch for CPUs.")
    parser.add_argument("--keep", type=Path, help="Folder where environments stay.")
    own, tests = _divided(sys.argv[1:])
    options = parser.parse_args(own)
    failed = []
    for version in options.versions:
        with tempfile.TemporaryDirectory(prefix="torch-") as folder:
            place = (options.keep or Path(folder)) / version
            python, libraries = environment(place, version, options.index_url)
            if not tested(python, libraries, place, tests or TESTS):
                failed.append(version)
    if failed:
        sys.exit(f"tests failed with torch {', '.join(failed)}")


def _divided(words: list[str]) -> tuple[list[str], list[str]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def environment(place: Path, version: str, index_url: str | None) -> tuple[Path, Path | None]:
    """Return the Python of an environment with torch, and the folder of stand-ins if it has any."""
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    stand_ins, whole = place / "stand-ins", place / "whole"
    if not whole.exists():  # new, or left half-made
        venv.create(place, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        index = ["--index-url", index_url] if index_url else []
        subprocess.run([*pip, "install", "--no-deps", *index, f"torch=={version}"], check=True)
        packages = Path(_said(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
        others = sysconfig.get_path("purelib")  # behind its own: torch is found before this one's
        (packages / "zz_others.pth").write_text(f"{others}\n", encoding="utf-8")
        if (packages / "torch/lib/libtorch_cuda.so").exists():
            stand_in(packages / "torch/lib", stand_ins)
            runtime(pip, stand_ins)
        whole.touch()
    return python, stand_ins if stand_ins.exists() else None


def tested(python: Path, libraries: Path | None, place: Path, tests: Sequence[str]) -> bool:
    """Run the tests, and return whether all passed."""
    surroundings = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONHASHSEED": "0",
        "OMP_WAIT_POLICY": "passive",
        "XDG_CACHE_HOME": str(place / "cache"),
    }
    if libraries:
        surroundings["LD_LIBRARY_PATH"] = str(libraries)
    asked = "import torch; print(torch.__version__)"
    print(f"torch {_said(python, asked, surroundings)}", flush=True)
    words = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return not subprocess.run(words, cwd=ROOT, env=surroundings).returncode


def _said(python: Path, code: str, surroundings: dict[str, str] | None = None) -> str:
    return _output(python, "-c", code, env=surroundings).strip()


def _output(*words: object, env: dict[str, str] | None = None) -> str:
    return subprocess.run(
        [*map(str, words)], capture_output=True, text=True, check=True, env=env
    ).stdout


# ---- CUDA's libraries, for a machine that has no use for them ------------------------------------


def stand_in(libraries: Path, folder: Path) -> None:
    """Make what torch's libraries are linked with: each function answers 100, "no device"."""
    folder.mkdir()
    needed: set[str] = set()
    functions: dict[str, dict[str, set[str]]] = {}  # of a library, by its versions
    unversioned: set[str] = set()
    defined = _defined_by_the_system()
    for library in libraries.glob("*.so*"):
        if library.name in LOADED_ONLY_WHERE_USED:
            continue
        found = re.findall(r"NEEDED.*\[(.*)\]", _output("readelf", "-d", library))
        needed.update(name for name in found if not OF_THE_SYSTEM.match(name))
        of_version = _libraries_by_version(library)
        for name, is_there, text in _symbols(library):
            plain, _, version = name.partition("@")
            if is_there:
                defined.add(plain)
            elif version:
                file, version = of_version[text.rpartition("(")[2].rstrip(")")]
                functions.setdefault(file, {}).setdefault(version, set()).add(plain)
            else:
                unversioned.add(plain)
    rest = {n for n in unversioned - defined if not n.startswith(("Py", "_Py"))}
    for number, name in enumerate(sorted(needed)):
        of_library = functions.get(name, {})
        everything = set().union(*of_library.values(), set() if number else rest)
        _compile(folder / name, everything, of_library)


def _compile(library: Path, names: set[str], versions: dict[str, set[str]]) -> None:
    source, script = library.with_suffix(".c"), library.with_suffix(".map")
    lines = [f"int {name}(void) {{ return 100; }}\n" for name in sorted(names)]
    source.write_text("".join(lines) or "int nothing;\n", encoding="utf-8")
    blocks = (f"{v} {{ global: {'; '.join(sorted(n))}; }};\n" for v, n in versions.items())
    script.write_text("".join(blocks), encoding="utf-8")
    words = ["gcc", "-w", "-shared", "-fPIC", "-fno-builtin", f"-Wl,-soname,{library.name}"]
    words += [f"-Wl,--version-script={script}"] if versions else []
    subprocess.run([*words, "-o", library, source], check=True)


def _symbols(library: Path) -> list[tuple[str, bool, str]]:
    """Return the functions of a library: the name, whether it is there, and the whole line."""
    rows = []
    for line in _output("readelf", "-W", "--dyn-syms", library).splitlines():
        words = line.split()
        if len(words) >= 8 and words[0].endswith(":") and (words[6] != "UND" or words[4] != "WEAK"):
            rows.append((words[7], words[6] != "UND", line))
    return rows


def _libraries_by_version(library: Path) -> dict[str, tuple[str, str]]:
    """Return from which library a symbol is, and with which version, by the version's number."""
    found, file = {}, ""
    for line in _output("readelf", "-W", "-V", library).splitlines():
        if match := re.search(r"File: (\S+)", line):
            file = match[1]
        elif match := re.search(r"Name: (\S+)\s+Flags.*Version: (\d+)", line):
            found[match[2]] = file, match[1]
    return found


def _defined_by_the_system() -> set[str]:
    names = ("c.so.6", "m.so.6", "stdc++.so.6", "gcc_s.so.1", "pthread.so.0", "dl.so.2", "rt.so.1")
    files = [_output("gcc", f"-print-file-name=lib{name}").strip() for name in names]
    return {
        name.partition("@")[0] for file in files for name, there, _ in _symbols(Path(file)) if there
    }


def runtime(pip: list[str], stand_ins: Path) -> None:
    """Put NVIDIA's runtime among the stand-ins: what asks it for devices reads its answers."""
    (stand_in_file,) = stand_ins.glob("libcudart.so.*[0-9]")
    major = stand_in_file.name.rpartition(".")[2]
    name = "nvidia-cuda-runtime-cu12" if major == "12" else "nvidia-cuda-runtime"
    with tempfile.TemporaryDirectory() as folder:
        wanted = f"{name}>={major},<{int(major) + 1}"
        words = [*pip, "download", "--no-deps", "--dest", folder, wanted]
        subprocess.run(words, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            files = [f for f in archive.namelist() if re.search(r"/libcudart\.so\.\d+$", f)]
            with archive.open(files[0]) as source, stand_in_file.open("wb") as to:
                shutil.copyfileobj(source, to)


if __name__ == "__main__":
    main()
