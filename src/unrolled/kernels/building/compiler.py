"""The C compiler that kernels are built with: which one this machine has, and how it is called.

Not here: where its output is kept (`cache.py`).
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, NamedTuple

from unrolled.errors import UnrolledError
from unrolled.kernels.building.warning import warn_once

__all__ = ["COMPILER_HINT", "FLAGS", "Compiler", "KernelError", "find_compiler", "ziglang_compiler"]

# Never -ffast-math: it breaks rounding tricks, infinities and NaN, and older gcc then makes the
# whole process flush denormals. A compiler that is a script may bring it: the first three undo it.
# gnu11, because c11 would turn the contraction to FMA off.
FLAGS = (
    "-fno-fast-math",
    "-fno-unsafe-math-optimizations",
    "-fno-finite-math-only",
    "-O2",
    "-march=native",
    "-std=gnu11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-shared",
    "-fPIC",
)

# Arguments of compilers that make the same C compute other numbers, of gcc, clang and icx.
_OTHER_ARITHMETIC = re.compile(
    r"""
    -Ofast | -fast | -ftz | -fp-model.* | -fimf-.* | -mdaz-ftz | -mrecip.* | -mpc\d+ | -mfpmath=.*
    | -mlow-precision-.* | -menable-(no-nans|no-infs|unsafe-fp-math)
    | -f(fast-math|unsafe-math-optimizations|associative-math|reciprocal-math|finite-math-only)
    | -f(no-signed-zeros|no-honor-nans|no-honor-infinities|approx-func|single-precision-constant)
    | -f(fp-model|fp-contract|fp-eval-method|excess-precision|denormal-fp-math)(-f32)?=.*
    """,
    re.VERBOSE,
)

_LONGEST_SECONDS = 60.0  # a kernel takes one, where there is a processor for it
_MOST_SECONDS = 300.0  # that a compiler is waited for, whatever the machine's load
_SILENT_SECONDS = 20.0  # of waiting, after which a user is told
_LINES_SHOWN = 3  # of a compiler's complaint: it opens with the place and the first error
_MOST_READ = 1 << 16  # bytes of what it says
COMPILER_HINT = "set CC to a recent gcc or clang"

# Those that were given up, which are not waited for again, and after how many seconds.
_hung: dict["Compiler", float] = {}


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
        try:
            with TemporaryDirectory() as folder:
                return self.run(["--version"], Path(folder), Path(folder)).partition("\n")[0]
        except OSError as error:
            hint = "TMPDIR can name another folder for temporary files"
            raise KernelError(f"{' '.join(self.argv)} cannot be run: {error}", hint) from error

    def compile(self, source: Path, zig_cache: Path, more: Sequence[str] = ()) -> Path:
        """Compile a C file to a shared library beside it, and return that.

        Args:
            source: The file. Its folder is for this one call.
            zig_cache: A folder where zig, which has no libc at hand, keeps the one that it builds.
            more: Arguments after those that kernels are compiled with.

        Raises:
            KernelError: The compiler cannot be run, or fails.
        """
        library = source.with_suffix(".so")
        # Names without folders: the same source gives the same library wherever it is compiled.
        arguments = [*FLAGS, *more, source.name, "-o", library.name, "-lm"]
        self.run(arguments, source.parent, zig_cache)
        if not library.exists():
            raise KernelError(f"{' '.join(self.argv)} made no library", COMPILER_HINT)
        return library

    def run(
        self, arguments: list[str], folder: Path, zig_cache: Path, *, patient: bool = False
    ) -> str:
        """Run the compiler in `folder`, also its place for temporary files; return what it says.

        Args:
            arguments: What follows the program.
            folder: Where it runs.
            zig_cache: As for `compile`.
            patient: Whether to wait for as long as it uses a processor, however rarely it gets
                one: for many libraries ahead of time, where nobody waits for the first.

        Raises:
            KernelError: It cannot be run, or fails.
        """
        environment = os.environ | {
            "TMPDIR": str(folder),  # nobody else may put another file there between two passes
            "ZIG_GLOBAL_CACHE_DIR": str(zig_cache),
            "ZIG_LOCAL_CACHE_DIR": str(folder),
        }
        if self in _hung:
            raise self._is_late()
        # Files and not pipes: who reads a pipe waits for all that a compiler has started.
        with TemporaryFile(dir=folder) as output, TemporaryFile(dir=folder) as errors:
            try:
                process = subprocess.Popen(
                    [*self.argv, *arguments],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    process_group=None if os.name == "nt" else 0,
                )
            except OSError as error:
                raise KernelError(f"{self.argv[0]}: {error.strerror}", COMPILER_HINT) from error
            try:
                self._wait(process, patient)
            finally:
                _end(process)
            text, complained = map(_text_of, (output, errors))
        if process.returncode:
            lines = complained.strip().splitlines() or ["it printed nothing"]
            complaint = "; ".join(line.strip() for line in lines[:_LINES_SHOWN])
            command = f"{' '.join(self.argv)} failed with status {process.returncode}"
            raise KernelError(f"{command}: {complaint}", COMPILER_HINT)
        return text

    def _wait(self, process: "subprocess.Popen[bytes]", patient: bool) -> None:
        """Wait for the compiler, longer where as many others wait for each processor.

        Raises:
            KernelError: It was not done in time.
        """
        begun = since = time.monotonic()  # since: when it was last seen to have worked
        worked = 0
        while True:
            now = time.monotonic()
            if (left := self._longest() - (now - since)) <= 0:
                before, worked = worked, _work_of(process) if patient else 0
                if worked == before:
                    break
                since = now
                continue
            silent = _SILENT_SECONDS - (now - begun)
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(left, silent) if silent > 0 else left)
                return
            if silent > 0 and time.monotonic() - begun >= _SILENT_SECONDS:
                self._say_that_it_is_waited_for(patient)
        _hung[self] = now - begun
        raise self._is_late()

    def _longest(self) -> float:
        """Return for how many seconds from its start this compiler is waited for."""
        if "ziglang" in self.argv:  # at its first use it compiles a libc
            return _MOST_SECONDS
        return min(_LONGEST_SECONDS * _turns(), _MOST_SECONDS)

    def _say_that_it_is_waited_for(self, patient: bool) -> None:
        longest = f"{_MOST_SECONDS:.0f} s"
        until = f"until it does nothing for {longest}" if patient else f"up to {longest} in all"
        warn_once(
            f"the compiler {' '.join(self.argv)} is not done after {_SILENT_SECONDS:.0f} s: still "
            f"waiting, {until}"
        )

    def _is_late(self) -> KernelError:
        message = f"{' '.join(self.argv)} was not done after {_hung[self]:.0f} s, and was stopped"
        return KernelError(message, COMPILER_HINT)


def _turns() -> float:
    """Return how many processes want each processor, at least 1; 1 where no system says it."""
    if not hasattr(os, "getloadavg"):
        return 1.0
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _work_of(process: "subprocess.Popen[bytes]") -> int:
    """Return what a compiler and all that it started have had of processors; 0 if unknown.

    In ticks of the system's clock, and comparable with another look at the same compiler alone:
    the work of a process that nobody waited for is lost at its end.
    """
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # it has ended, or is another kind of /proc
            _, _, text = file.read_text(errors="replace").rpartition(")")  # behind its name
            fields = text.split()
            if int(fields[2]) == process.pid:  # of its process group
                ticks += sum(map(int, fields[11:15]))  # itself and its children, user and system
    return ticks


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a compiler that still runs, with what it has started."""
    if process.poll() is not None:
        return
    if os.name == "nt":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # one that waits for a disk cannot be killed
        process.wait(1)


def _text_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_MOST_READ).decode(errors="replace")


def find_compiler() -> Compiler | None:
    """Return the C compiler to use, or None where there is none. Runs nothing.

    The environment's CC, which may hold arguments too; else `cc`, `gcc` or `clang` on PATH; else
    the package ziglang, which the extra `unrolled[compiler]` installs.

    Raises:
        KernelError: CC names a program that does not exist, or holds an argument that makes C
            compute other numbers.
    """
    if words := os.environ.get("CC", "").split():
        for word in words[1:]:
            if any(map(_OTHER_ARITHMETIC.fullmatch, word.split(","))):  # -Wp,-ffast-math, too
                raise KernelError(f"CC: {word} changes what kernels compute", "leave it out of CC")
        if compiler := _find(*words):
            return compiler
        raise KernelError(f"CC: there is no program {words[0]!r}", "correct or unset CC")
    for name in ("cc", "gcc", "clang"):
        if compiler := _find(name):
            return compiler
    return _find_ziglang()


def ziglang_compiler() -> Compiler:
    """Return the compiler that compiles for any platform, the package ziglang.

    Raises:
        KernelError: It is not installed.
    """
    compiler = _find_ziglang()
    if compiler is None:
        hint = 'pip install "unrolled[compiler]"'
        raise KernelError("the compiler for other platforms, ziglang, is not installed", hint)
    return compiler


def _find_ziglang() -> Compiler | None:
    ziglang = find_spec("ziglang")
    if ziglang is None or ziglang.origin is None:
        return None
    return Compiler((sys.executable, "-P", "-m", "ziglang", "cc"), Path(ziglang.origin))


def _find(name: str, *arguments: str) -> Compiler | None:
    path = shutil.which(name)
    if path is None:
        return None
    program = Path(path).absolute()  # not resolved: a compiler may be a link to ccache
    return Compiler((str(program), *arguments), program)
