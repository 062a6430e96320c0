"""From C text to a loaded library: taken from an archive or compiled, kept in the user's cache.

The cache belongs to one user. Each entry ends in a seal that only this user can make: its secret
lies apart from the cache, so that what was written while others could write there is not loaded
afterwards. Nothing is kept in a folder that others can write to now, and what is loaded are the
bytes that were checked (`loading.py`).

Not here: the C text (`emitting`), what was compiled ahead of time (`prebuilt.py`), the compiler
(`compiler.py`), who else can write (`private.py`), and what happens without a kernel (`running`).
"""

import atexit
import ctypes
import hashlib
import hmac
import os
import platform
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile, mkdtemp
from typing import NamedTuple

import torch
from platformdirs import user_cache_path, user_state_path

from unrolled.kernels.building.compiler import (
    COMPILER_HINT,
    FLAGS,
    Compiler,
    KernelError,
    find_compiler,
)
from unrolled.kernels.building.loading import load_bytes
from unrolled.kernels.building.platforms import PLATFORMS, this_platform
from unrolled.kernels.building.prebuilt import Archive, ArchiveError, open_archives
from unrolled.kernels.building.private import private_secret, problem_with, read_private

__all__ = [
    "CacheEntry",
    "CacheFolder",
    "cache_entries",
    "cache_folder",
    "clear_cache",
    "load_defined",
    "load_library",
    "prebuilt_archives",
    "prebuilt_problem",
    "zig_folder",
]

MAX_ENTRIES = 384  # every published cell, in every format of weights and mixed
MAX_BYTES = 80 * 2**20  # without zig's libc, if there is no other compiler: 50 MB, once

_FORMAT = 2  # of an entry: a shared library, then its seal
_SEAL_BYTES = 32
_SECRET = "kernels.secret"
_ROOM = 4 << 20  # bytes that a compilation may take
_ENTRY = re.compile(r"(\w+)-[0-9a-f]{32}\.so", re.ASCII)
_BUILD_PREFIX = ".unrolled-build-"
_ZIG_CACHE = "zig"
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


class _Store(NamedTuple):
    """Where kernels are kept, what they are sealed with, and why it is a temporary place.

    apart: The folder for what has no seal: the secret itself, and zig's cache.
    """

    folder: Path
    apart: Path
    secret: bytes
    problem: str | None


_without_room: dict[Path, str] = {}  # folders in which nothing could be written, and why
_prebuilt_problems: list[str] = []  # why a kernel that was compiled ahead of time was not used


def load_library(
    source: str, name: str, prove: Callable[[ctypes.CDLL], None] | None = None
) -> ctypes.CDLL:
    """Return the library that `source` compiles to, from the cache or else compiled now.

    Args:
        source: C, gnu11.
        name: What to call it in the cache.
        prove: As `load_defined`.

    Raises:
        KernelError: There is neither a prebuilt library nor a compiler, or it fails, or the library
            cannot be loaded.
    """
    return load_defined(source, lambda: source, name, prove)


def load_defined(
    definition: str,
    write: Callable[[], str],
    name: str,
    prove: Callable[[ctypes.CDLL], None] | None = None,
) -> ctypes.CDLL:
    """Return the library of the source that `write` returns, which is not called if it is cached.

    Args:
        definition: All that the source depends on.
        write: Returns the source, C, gnu11.
        name: What to call it in the cache.
        prove: Is given a library that is new here, before it is kept, in a thread without the
            caller's modes; raises a KernelError if it is wrong.

    Raises:
        KernelError: As `load_library`; or `prove` raises it.
    """
    compiler, (archives, problem) = find_compiler(), prebuilt_archives()
    if compiler is None and not archives:
        raise _no_compiler(problem)
    try:
        label = re.sub(r"\W", "_", name, flags=re.ASCII)[:64] or "_"
        makers: list[Archive | Compiler] = [*archives, *([compiler] if compiler else [])]
        file_names = [f"{label}-{_key(definition, maker)}.so" for maker in makers]
        store = _store()
        for file_name in file_names:
            if content := _sealed_content(store, file_name):
                with suppress(OSError):
                    os.utime(store.folder / file_name)
                return load_bytes(content, label, store.folder, _BUILD_PREFIX)
        store = _store_with_room()
        source = write()
        for maker, file_name in zip(makers, file_names, strict=True):
            try:
                content = _made_by(maker, source, store, file_name)
                if content is None:
                    continue
                with ThreadPoolExecutor(1) as thread:
                    library = thread.submit(_load_new, content, label, store.folder, prove).result()
            except (ArchiveError, KernelError, OSError) as error:
                if isinstance(maker, Compiler):
                    raise
                problem = str(error)
                continue
            if isinstance(maker, Compiler) and problem:
                _prebuilt_problems.append(problem)
            try:
                _keep(content, source, store, file_name)
            except OSError as error:  # it is here all the same
                _without_room[store.folder] = f"{store.folder}: {error.strerror}"
            return library
        none = f"holds no kernel for these equations with torch {torch.__version__}"
        raise _no_compiler(problem or f"{archives[0].file} {none}")
    except OSError as error:
        hint = "UNROLLED_CACHE can name another folder, private and with room"
        raise KernelError(f"{name}: its kernel cannot be loaded: {error}", hint) from error


def _no_compiler(problem: str | None) -> KernelError:
    hint = 'install gcc or clang, or: pip install "unrolled[compiler]"'
    # without an archive the same words for every kernel, so that they are said once
    return KernelError("there is no C compiler" + (f", and {problem}" if problem else ""), hint)


def prebuilt_archives() -> tuple[list[Archive], str | None]:
    """Return the archives of kernels for this processor, and why the package's is not among them.

    There are no archives where CC names the compiler to use.

    Raises:
        KernelError: One that $UNROLLED_KERNELS names cannot be used.
    """
    return ([], None) if os.environ.get("CC", "").split() else open_archives(_load_probe)


def prebuilt_problem() -> str | None:
    """Return why a kernel was compiled that the package holds ready, or None."""
    return _prebuilt_problems[0] if _prebuilt_problems else None


def zig_folder() -> Path:
    """Return where zig keeps what it has built of the libraries of systems."""
    return _store().apart / _ZIG_CACHE


def _load_probe(content: bytes) -> ctypes.CDLL:
    return load_bytes(content, "processor", _store().folder, _BUILD_PREFIX)


def _made_by(maker: Archive | Compiler, source: str, store: _Store, file_name: str) -> bytes | None:
    """Return the library of `source`; None of an archive that has none."""
    if isinstance(maker, Archive):
        return maker.library_of(source)
    return _compile(source, maker, store, file_name)


def cache_folder() -> CacheFolder:
    """Return the folder of compiled kernels; it is made if need be.

    $UNROLLED_CACHE, else where the system keeps a user's caches: on Linux $XDG_CACHE_HOME/unrolled,
    else ~/.cache/unrolled. Where that cannot be written, or others can write to it or to what is
    above it, or there is no place for the secret of its seals: a temporary folder, for this
    process alone.

    Raises:
        KernelError: There is no place for a temporary folder either.
    """
    store = _store()
    return CacheFolder(store.folder, store.problem)


def cache_entries() -> list[CacheEntry]:
    """Return what is in the cache, the last used first."""
    return _entries(cache_folder().path)


def clear_cache() -> int:
    """Remove everything from the cache, and return the number of entries there were."""
    store = _store()
    entries = _entries(store.folder)
    for entry in entries:
        _remove(entry)
    shutil.rmtree(store.apart / _ZIG_CACHE, ignore_errors=True)
    return len(entries)


def _store() -> _Store:
    own = os.environ.get("UNROLLED_CACHE")
    try:
        folder = Path(own).absolute() if own else user_cache_path("unrolled", appauthor=False)
        apart = user_state_path("unrolled", appauthor=False)
    except RuntimeError:  # nobody knows who the user is
        return _temporary_store("the user has no home folder")
    if problem := _without_room.get(folder) or problem_with(folder):
        return _temporary_store(problem)
    if problem := problem_with(apart):
        return _temporary_store(f"its secret has no place: {problem}")
    try:
        return _Store(folder, apart, private_secret(apart, _SECRET), None)
    except OSError as error:
        return _temporary_store(f"its secret has no place: {apart}: {error.strerror}")


def _store_with_room() -> _Store:
    """Return where kernels are kept, if there is room for a compilation, else a temporary place."""
    store = _store()
    try:
        with TemporaryFile(dir=store.folder) as file:
            file.write(bytes(_ROOM))
    except OSError as error:
        _without_room[store.folder] = f"{store.folder}: {error.strerror}"
    return _store()


def _temporary_store(problem: str) -> _Store:
    folder, secret = _temporary_folder()
    return _Store(folder, folder, secret, problem)


@cache
def _temporary_folder() -> tuple[Path, bytes]:
    """Return a folder of this process and its forks, and the secret of its seals."""
    hint = "TMPDIR can name another folder for temporary files"
    try:
        folder, owner = Path(mkdtemp(prefix="unrolled-")), os.getpid()
    except OSError as error:
        raise KernelError(f"there is no place for kernels: {error}", hint) from error

    def remove() -> None:
        if os.getpid() == owner:  # and not a fork of it
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    if problem := problem_with(folder):
        raise KernelError(f"there is no place for kernels: {problem}", hint)
    return folder, os.urandom(32)


def _key(definition: str, maker: Archive | Compiler) -> str:
    machine = (*FLAGS, _processor()) if isinstance(maker, Compiler) else ()
    parts = (str(_FORMAT), definition, maker.identity(), *machine)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _processor() -> str:
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        first_core = takewhile(str.strip, lines)
        if fields := [line for line in first_core if line.startswith(_PROCESSOR_FIELDS)]:
            return "".join(fields)
    return str(platform.uname())  # with the machine's name: its home may be on several machines


def _seal(secret: bytes, file_name: str, library: bytes) -> bytes:
    """Return what follows `library` in its file: proof that this user made it, under this name."""
    return hmac.digest(secret, file_name.encode() + b"\0" + library, "sha256")


def _sealed_content(store: _Store, file_name: str) -> bytes | None:
    """Return the library that was kept under a name, or None without one of this user's making."""
    content = read_private(store.folder / file_name)
    if content is None:
        return None
    library, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    is_own = hmac.compare_digest(seal, _seal(store.secret, file_name, library))
    return library if is_own else None


def _compile(source: str, compiler: Compiler, store: _Store, file_name: str) -> bytes:
    """Return the library that `source` compiles to, in a new folder."""
    with TemporaryDirectory(prefix=_BUILD_PREFIX, dir=store.folder) as own:
        text = Path(own, file_name).with_suffix(".c")
        text.write_text(source, encoding="utf-8")
        zig_cache, here = store.apart / _ZIG_CACHE, this_platform()
        flags = PLATFORMS[here].flags if here else ()
        return compiler.compile(text, zig_cache, flags).read_bytes()


def _load_new(
    content: bytes, label: str, folder: Path, prove: Callable[[ctypes.CDLL], None] | None
) -> ctypes.CDLL:
    """Load a library that was never used, and hold it to what every library must do.

    In a thread that ends with it: what loading does to a thread's arithmetic ends there, too.
    """
    torch.set_flush_denormal(False)  # the caller may flush them, and pass that on
    before = _arithmetic()
    library = load_bytes(content, label, folder, _BUILD_PREFIX)
    if _arithmetic() != before:
        raise KernelError(
            f"{label}: its new kernel is not used, because loading it changes the arithmetic of "
            "the process, as -ffast-math does",
            COMPILER_HINT,
        )
    if prove is not None:
        prove(library)
    return library


def _arithmetic() -> tuple[float, ...]:
    """Return what shows how this thread rounds, and whether it takes denormals for zero."""
    one, denormal = float("1"), float("1e-310")  # read now, not when Python compiles this
    return (one / 3, 2 * one / 3, float(denormal * one != 0))


def _keep(content: bytes, source: str, store: _Store, file_name: str) -> None:
    """Write an entry. Processes that do so at the same time do not meet: the last one's stays.

    No fsync: a file that a power failure has cut has no seal, and is built again.
    """
    path = store.folder / file_name
    with TemporaryDirectory(prefix=_BUILD_PREFIX, dir=store.folder) as own:
        library, text = Path(own, file_name), Path(own, "text")
        library.touch(mode=0o600)  # whatever the umask
        library.write_bytes(content + _seal(store.secret, file_name, content))
        text.write_text(source, encoding="utf-8")
        library.replace(path)
        text.replace(path.with_suffix(".c"))  # last, and removed first: it is never there alone
    _trim(store.folder)


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
