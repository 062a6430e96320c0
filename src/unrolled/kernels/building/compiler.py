"""The C compiler that kernels are built with: which one this machine has, and how it is called.

Not here: where its output is kept (`cache.py`).
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from unrolled.errors import UnrolledError

__all__ = ["FLAGS", "Compiler", "KernelError", "find_compiler"]

# Never -ffast-math: it breaks rounding tricks, infinities and NaN, and older gcc then makes the
# whole process flush denormals. gnu11, because c11 would turn the contraction to FMA off.
FLAGS = (
    "-O2",
    "-march=native",
    "-std=gnu11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-shared",
    "-fPIC",
)

_LINES_SHOWN = 3  # of a compiler's complaint: it opens with the place and the first error
_HINT = "set CC to a recent gcc or clang"


class KernelError(UnrolledError):
    """No kernel: there is no compiler, or compiling or loading failed."""


class Compiler(NamedTuple):
    """A C compiler.

    argv: How to call it: program and first arguments. file: What changes when it is updated.
    """

    argv: tuple[str, ...]
    file: Path

    def identity(self) -> str:
        """Return a text that changes with the compiler, without running it."""
        status = self.file.stat()
        return f"{self.argv} {status.st_size} {status.st_mtime_ns}"

    def version(self) -> str:
        """Return the first line that the compiler says about itself. Runs it.

        Raises:
            KernelError: It cannot be run, or fails.
        """
        with TemporaryDirectory() as folder:
            return self._run(["--version"], Path(folder), Path(folder)).partition("\n")[0]

    def compile(self, source: Path, zig_cache: Path) -> Path:
        """Compile a C file to a shared library beside it, and return that.

        Args:
            source: The file. Its folder is for this one call.
            zig_cache: A folder where zig, which has no libc at hand, keeps the one that it builds.

        Raises:
            KernelError: The compiler cannot be run, or fails.
        """
        library = source.with_suffix(".so")
        # Names without folders: the same source gives the same library wherever it is compiled.
        arguments = [*FLAGS, source.name, "-o", library.name, "-lm"]
        self._run(arguments, source.parent, zig_cache)
        if not library.exists():
            raise KernelError(f"{' '.join(self.argv)} made no library", _HINT)
        return library

    def _run(self, arguments: list[str], folder: Path, zig_cache: Path) -> str:
        zig = {"ZIG_GLOBAL_CACHE_DIR": str(zig_cache), "ZIG_LOCAL_CACHE_DIR": str(folder)}
        try:
            process = subprocess.run(
                [*self.argv, *arguments],
                cwd=folder,
                env=os.environ | zig,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise KernelError(f"{self.argv[0]}: {error.strerror}", _HINT) from error
        if process.returncode:
            lines = process.stderr.strip().splitlines() or ["it printed nothing"]
            complaint = "; ".join(line.strip() for line in lines[:_LINES_SHOWN])
            command = f"{' '.join(self.argv)} failed with status {process.returncode}"
            raise KernelError(f"{command}: {complaint}", _HINT)
        return process.stdout


def find_compiler() -> Compiler | None:
    """Return the C compiler to use, or None where there is none. Runs nothing.

    The environment's CC, which may hold arguments too; else `cc`, `gcc` or `clang` on PATH; else
    the package ziglang, which the extra `unrolled[compiler]` installs.

    Raises:
        KernelError: CC names a program that does not exist.
    """
    if words := os.environ.get("CC", "").split():
        if compiler := _find(*words):
            return compiler
        raise KernelError(f"CC: there is no program {words[0]!r}", "correct or unset CC")
    for name in ("cc", "gcc", "clang"):
        if compiler := _find(name):
            return compiler
    ziglang = find_spec("ziglang")
    if ziglang is None or ziglang.origin is None:
        return None
    return Compiler((sys.executable, "-m", "ziglang", "cc"), Path(ziglang.origin))


def _find(name: str, *arguments: str) -> Compiler | None:
    path = shutil.which(name)
    if path is None:
        return None
    program = Path(path).absolute()  # not resolved: a compiler may be a link to ccache
    return Compiler((str(program), *arguments), program)
