"""The libraries of a wheel for Windows, run under wine: what tests/kernels/driver.c holds them to.

    python packaging/wine.py dist/unrolled-*-win_amd64.whl [--set x86-64-v3] [--cell lstm]

From the root of the repository, on Linux with wine for 64 bits (Debian: `apt-get install wine64`)
and what packaging/requirements.txt names. ziglang makes the program; the kernel that it calls is
the wheel's library, loaded by its name. Not for what torch does there, nor for Windows itself.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "kernels")]

import test_programs as programs  # noqa: E402 - tests are no package
import torch  # noqa: E402

from unrolled import cells  # noqa: E402
from unrolled.kernels import PLATFORMS  # noqa: E402
from unrolled.kernels.building.cache import zig_folder  # noqa: E402
from unrolled.kernels.building.compiler import ziglang_compiler  # noqa: E402
from unrolled.kernels.building.prebuilt import source_key  # noqa: E402

ARCHIVE = "unrolled/kernels/prebuilt/kernels.zip"
WINDOWS = PLATFORMS["windows-x86_64"]
SHIM = Path(__file__).with_name("wine")
CALLED = "forward backward packed_floats workspace_floats pack step".split()


class Wine(programs.Machine):
    """A machine whose programs call the libraries of an archive, for one instruction set."""

    def __init__(self, program: str, archive: zipfile.ZipFile, instruction_set: str) -> None:
        super().__init__(f"wine-{instruction_set}", "zig", runner=(program,))
        self._archive = archive
        manifest = json.loads(archive.read("manifest.json"))
        self._libraries = manifest["instruction_sets"][instruction_set]
        (self._set,) = (i for i in WINDOWS.instruction_sets if i.name == instruction_set)

    def build(self, cell: cells.Cell, folder: Path, weights: str = "f32") -> Path:
        """Return the program that runs a cell's library, in `folder` beside it."""
        source = programs.source_of(cell, weights)[0]
        name = f"{cell.name}-{weights}-{self._set.name}"
        library = folder / f"{name}.dll"
        library.write_bytes(self._archive.read(self._libraries[source_key(source)]))
        # Types and constants of the kernel, and in place of its functions those of the library.
        calls = (
            f'#define unrolled_{n} (*(__typeof__(&unrolled_{n}))symbol("unrolled_{n}"))'
            for n in CALLED
        )
        kernel = folder / f"{name}.c"
        kernel.write_text("\n".join([source, *calls, ""]))
        flags = [f for f in programs.FLAGS if not f.startswith(("-O", "-march", "-shared"))]
        flags += ["-target", WINDOWS.target, f"-mcpu={self._set.processor}", *self._set.flags]
        flags += ["-w", f"-I{SHIM}", "-include", "system.h", *WINDOWS.flags, f"-I{folder}"]
        flags += [f'-DKERNEL="{kernel.name}"', f'-DLIBRARY="{library.name}"']
        exe = folder / f"{name}.exe"
        # Linked for the baseline, for which zig has built what it links with.
        compiled = [*flags, "-O0", "-c", str(programs.DRIVER), "-o", f"{name}.o"]
        linked = ["-target", WINDOWS.target, "-mcpu=x86_64", f"{name}.o", "-o", exe.name]
        for arguments in (compiled, linked):
            ziglang_compiler().run(arguments, folder, zig_folder(), patient=True)
        return exe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    sets = [instructions.name for instructions in WINDOWS.instruction_sets]
    parser.add_argument("--set", dest="sets", action="append", choices=sets, help="All, if none.")
    parser.add_argument("--cell", dest="cells", action="append", help="All published, if none.")
    parser.add_argument("--problems", type=int, default=len(programs.SHORT))
    options = parser.parse_args()
    program = shutil.which("wine64") or shutil.which("wine64", path="/usr/lib/wine")
    if program is None:
        sys.exit("no wine64: apt-get install wine64")
    with zipfile.ZipFile(options.wheel) as wheel:
        archive = zipfile.ZipFile(io.BytesIO(wheel.read(ARCHIVE)))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="unrolled-wine-") as own:
        folder = Path(own)
        # A system of its own, without windows and what wine offers to install.
        os.environ |= {"WINEPREFIX": own + "/prefix", "WINEDEBUG": "-all", "DISPLAY": ""}
        os.environ["WINEDLLOVERRIDES"] = "mscoree=;mshtml="
        for instruction_set in options.sets or sets:
            machine = Wine(program, archive, instruction_set)
            for name in options.cells or list(cells.CELLS):
                failed += not _check(machine, name, options.problems, folder, instruction_set)
        subprocess.run([program, "wineboot", "--kill"], check=False, capture_output=True)
    sys.exit(failed and f"{failed} failed")


def _check(machine: Wine, name: str, count: int, folder: Path, instruction_set: str) -> bool:
    begun = time.perf_counter()
    torch.manual_seed(1)
    problems = programs.SHORT[:count]
    try:
        programs.check(
            machine,
            lambda m, c, w: m.build(c, folder, w),
            cells.CELLS[name],
            problems,
            "heap",
            folder,
        )
        result = f"{count} problems right"
    except (AssertionError, KeyError) as error:
        result = f"failed: {str(error)[:1000]}"
    print(f"{instruction_set} {name}: {result}, {time.perf_counter() - begun:.0f} s", flush=True)
    return "failed" not in result


if __name__ == "__main__":
    main()
