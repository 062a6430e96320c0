"""From C text to a loaded library: compiled once, kept in the user's cache, checked when loaded.

The cache belongs to one user: nothing is loaded from a folder that others can write to. Not here:
the C text (`emitting`), the compiler (`compiler.py`), and what happens without one (`running`).
"""

import atexit
import ctypes
import hashlib
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import NamedTuple

from platformdirs import user_cache_path

from unrolled.kernels.building.compiler import FLAGS, Compiler, KernelError, find_compiler

__all__ = [
    "CacheEntry",
    "CacheFolder",
    "cache_entries",
    "cache_folder",
    "clear_cache",
    "load_defined",
    "load_library",
]

MAX_ENTRIES = 64
MAX_BYTES = 64 * 2**20  # without zig's libc, if there is no other compiler: 50 MB, once

_FORMAT = 1  # of an entry: a shared library, then its seal
_SEAL_BYTES = 32
_ENTRY = re.compile(r"(\w+)-[0-9a-f]{32}\.so", re.ASCII)
_BUILD_PREFIX = ".unrolled-build-"
_ZIG_CACHE = ".unrolled-zig"
_ABANDONED_SECONDS = 3600  # a compilation that is older was killed

# What `-march=native` looks at, on x86, Arm and RISC-V.
_PROCESSOR_FIELDS = ("vendor_id", "cpu family", "model", "flags", "CPU ", "Features", "isa")


class CacheFolder(NamedTuple):
    """The folder of compiled kernels. `problem`: why it is a temporary one, None if it is not."""

    path: Path
    problem: str | None


class CacheEntry(NamedTuple):
    """A kernel in the cache: its name, library, size in bytes, and time of last use (Unix)."""

    name: str
    path: Path
    size: int
    last_used: float


def load_library(source: str, name: str) -> ctypes.CDLL:
    """Return the library that `source` compiles to, from the cache or else compiled now.

    Args:
        source: C, gnu11.
        name: What to call it in the cache.

    Raises:
        KernelError: There is no compiler, or it fails, or the library cannot be stored or loaded.
    """
    return load_defined(source, lambda: source, name)


def load_defined(definition: str, write: Callable[[], str], name: str) -> ctypes.CDLL:
    """Return the library of the source that `write` returns, which is not called if it is cached.

    Args:
        definition: All that the source depends on.
        write: Returns the source, C, gnu11.
        name: What to call it in the cache.

    Raises:
        KernelError: As `load_library`.
    """
    compiler = find_compiler()
    if compiler is None:
        hint = 'install gcc or clang, or: pip install "unrolled[compiler]"'
        raise KernelError("there is no C compiler", hint)  # the same words for every kernel
    try:
        file_name = re.sub(r"\W", "_", name, flags=re.ASCII)[:64] or "_"
        path = cache_folder().path / f"{file_name}-{_key(definition, compiler)}.so"
        if library := _sound_library(path):
            return library
        _build(write(), compiler, path)
        library = ctypes.CDLL(str(path))
        _trim(path.parent)
        return library
    except OSError as error:
        hint = "UNROLLED_CACHE can name another folder, private and with room"
        raise KernelError(f"{name}: its kernel cannot be loaded: {error}", hint) from error


def cache_folder() -> CacheFolder:
    """Return the folder of compiled kernels; it is made if need be.

    $UNROLLED_CACHE, else where the system keeps a user's caches: on Linux $XDG_CACHE_HOME/unrolled,
    else ~/.cache/unrolled. Where that cannot be written, or others can write to it: a temporary
    folder, for this process alone.
    """
    own = os.environ.get("UNROLLED_CACHE")
    try:
        folder = Path(own).absolute() if own else user_cache_path("unrolled", appauthor=False)
    except RuntimeError:  # nobody knows who the user is
        return CacheFolder(_temporary_folder(), "the user has no home folder")
    problem = _problem_with(folder)
    return CacheFolder(_temporary_folder(), problem) if problem else CacheFolder(folder, None)


def cache_entries() -> list[CacheEntry]:
    """Return what is in the cache, the last used first."""
    return _entries(cache_folder().path)


def clear_cache() -> int:
    """Remove everything from the cache, and return the number of entries there were."""
    folder = cache_folder().path
    entries = _entries(folder)
    for entry in entries:
        _remove(entry)
    shutil.rmtree(folder / _ZIG_CACHE, ignore_errors=True)
    return len(entries)


def _problem_with(folder: Path) -> str | None:
    """Make `folder` and return why it cannot serve, or None."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        return f"{folder}: {error.strerror}"
    if os.name != "nt":  # a user's folders are private there, and have no such bits
        if status.st_uid != os.geteuid():
            return f"{folder} belongs to another user"
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"{folder} can be written by others: chmod go-w"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written"


@cache
def _temporary_folder() -> Path:
    folder, owner = Path(mkdtemp(prefix="unrolled-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # and not a fork of it
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _key(definition: str, compiler: Compiler) -> str:
    parts = (str(_FORMAT), definition, compiler.identity(), *FLAGS, _processor())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _processor() -> str:
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        first_core = takewhile(str.strip, lines)
        if fields := [line for line in first_core if line.startswith(_PROCESSOR_FIELDS)]:
            return "".join(fields)
    return str(platform.uname())  # with the machine's name: its home may be on several machines


def _seal(path: Path, library: bytes) -> bytes:
    """Return what follows `library` in its file: proof that it is whole, and under its own name."""
    return hashlib.sha256(path.name.encode() + library).digest()


def _sound_library(path: Path) -> ctypes.CDLL | None:
    """Return the library at `path`; None without one, or where another process removes it now."""
    if not _is_sound(path):
        return None
    try:
        os.utime(path)
        return ctypes.CDLL(str(path))
    except OSError:
        if path.exists():
            raise
        return None


def _is_sound(path: Path) -> bool:
    """Whether `path` holds what `_build` wrote there."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return content[-_SEAL_BYTES:] == _seal(path, content[:-_SEAL_BYTES])


def _build(source: str, compiler: Compiler, path: Path) -> None:
    """Compile to `path`. Processes that do so at the same time do not meet: the last one's stays.

    No fsync: a file that a power failure has cut is not sound, and is built again.
    """
    with TemporaryDirectory(prefix=_BUILD_PREFIX, dir=path.parent) as folder:
        text = Path(folder, path.name).with_suffix(".c")
        text.write_text(source, encoding="utf-8")
        library = compiler.compile(text, zig_cache=path.parent / _ZIG_CACHE)
        content = library.read_bytes()
        library.write_bytes(content + _seal(path, content))
        library.chmod(0o600)  # whatever the umask
        library.replace(path)
        text.replace(path.with_suffix(".c"))  # last, and removed first: it is never there alone


def _entries(folder: Path) -> list[CacheEntry]:
    entries = []
    for path in folder.iterdir():
        if match := _ENTRY.fullmatch(path.name):
            with suppress(FileNotFoundError):  # removed by another process
                status = path.stat()
                text = path.with_suffix(".c")
                size = status.st_size + (text.stat().st_size if text.exists() else 0)
                entries.append(CacheEntry(match[1], path, size, status.st_mtime))
    return sorted(entries, key=lambda entry: entry.last_used, reverse=True)


def _trim(folder: Path) -> None:
    """Remove the entries, oldest use first, that exceed the bounds, and abandoned compilations."""
    total = 0
    for rank, entry in enumerate(_entries(folder)):
        total += entry.size
        if rank >= MAX_ENTRIES or total > MAX_BYTES:
            _remove(entry)
    for build in folder.glob(f"{_BUILD_PREFIX}*"):
        with suppress(FileNotFoundError):
            if time.time() - build.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(build, ignore_errors=True)


def _remove(entry: CacheEntry) -> None:
    entry.path.with_suffix(".c").unlink(missing_ok=True)
    entry.path.unlink(missing_ok=True)
