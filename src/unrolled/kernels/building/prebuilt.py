"""Kernels that were compiled ahead of time: archives of libraries for one platform.

An archive is a zip file: libraries, each named by the SHA-256 of its bytes, and `manifest.json`,
which says for each instruction set which library belongs to which C text. A library is used for
exactly that text, so that an archive of another version, or of equations that have changed since,
gives nothing rather than something else.

Wheels hold one (`PACKAGED`), others are named by $UNROLLED_KERNELS. Not here: the cache, where
libraries go once they have been proven (`cache.py`), and who compiles (`compiler.py`).
"""

import ctypes
import hashlib
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, NamedTuple

from unrolled.kernels.building.compiler import FLAGS, Compiler, KernelError, ziglang_compiler
from unrolled.kernels.building.platforms import (
    PLATFORMS,
    InstructionSet,
    Platform,
    this_platform,
)

__all__ = [
    "PACKAGED",
    "VARIABLE",
    "Archive",
    "ArchiveError",
    "find_platform",
    "open_archives",
    "write_archive",
]

VARIABLE = "UNROLLED_KERNELS"
PACKAGED = Path(__file__).parents[1] / "prebuilt" / "kernels.zip"
"""The archive of a wheel; there is none in the wheel for all platforms, nor in the repository."""

_FORMAT = 1
_MANIFEST = "manifest.json"
_PROBE = "processor"
_READING = (
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
)
_BASELINES = {"x86_64": "x86_64", "aarch64": "generic"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of all files: the same libraries give the same archive


class ArchiveError(Exception):
    """An archive cannot be used: it is damaged, or for other machines."""


class Archive(NamedTuple):
    """Libraries for this processor.

    file: Where they are. instruction_set: Which they use. libraries: The SHA-256 of each, by the
    key of its C text. digest: Changes with what the archive says.
    """

    file: Path
    instruction_set: str
    libraries: Mapping[str, str]
    digest: str

    def identity(self) -> str:
        """Return a text that changes with the libraries."""
        return f"{self.digest} {self.instruction_set}"

    def library_of(self, source: str) -> bytes | None:
        """Return the library of a C text, or None where the archive has none.

        Raises:
            ArchiveError: It is not what was written.
        """
        name = self.libraries.get(_key(source))
        if name is None:
            return None
        try:
            with zipfile.ZipFile(self.file) as archive:
                content = archive.read(name)
        except _READING as error:
            raise ArchiveError(f"{self.file} is damaged: {error}") from error
        if hashlib.sha256(content).hexdigest() != name:
            raise ArchiveError(f"{self.file} is damaged: {name} has other bytes")
        return content


def open_archives(load: Callable[[bytes], ctypes.CDLL]) -> tuple[list[Archive], str | None]:
    """Return the archives that have libraries for this processor, and what is wrong with others.

    Those that $UNROLLED_KERNELS names come first; more than one are separated as in PATH.

    Args:
        load: Loads a library.

    Raises:
        KernelError: One that the variable names cannot be used.
    """
    archives = []
    for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        try:
            archives.append(_open(Path(name).absolute(), load))
        except ArchiveError as error:
            raise KernelError(f"{VARIABLE}: {error}", f"correct or unset {VARIABLE}") from error
    problem = None
    if PACKAGED.exists():
        try:
            archives.append(_open(PACKAGED, load))
        except ArchiveError as error:
            problem = str(error)
    return archives, problem


def _open(file: Path, load: Callable[[bytes], ctypes.CDLL]) -> Archive:
    try:
        status = file.stat()
    except OSError as error:
        raise ArchiveError(f"{file}: {error.strerror}") from error
    return _read(file, load, (status.st_size, status.st_mtime_ns))


@cache
def _read(file: Path, load: Callable[[bytes], ctypes.CDLL], _status: tuple[int, int]) -> Archive:
    """Return what an archive has for this processor, once as long as the file stays as it is."""
    try:
        with file.open("rb") as opened:
            if file != PACKAGED:
                _refuse_of_others(opened, file)
            with zipfile.ZipFile(opened) as archive:
                text = archive.read(_MANIFEST)
                manifest = json.loads(text)
                if manifest["format"] != _FORMAT:
                    raise ArchiveError(f"{file} is of another version of unrolled")
                platform, here = manifest["platform"], this_platform()
                if platform != here:
                    raise ArchiveError(f"{file} is for {platform}, this is {here or 'another'}")
                sets = manifest["instruction_sets"]
                has = _processor(archive, manifest[_PROBE], load)
    except _READING as error:
        raise ArchiveError(f"{file} is damaged: {error or type(error).__name__}") from error
    for candidate in PLATFORMS[platform].instruction_sets:
        if candidate.name in sets and candidate.needs & ~has == 0:
            digest = hashlib.sha256(text).hexdigest()
            return Archive(file, candidate.name, sets[candidate.name], digest)
    built = ", ".join(sets)
    raise ArchiveError(f"{file} has kernels for {built}, which this processor does not have")


def _processor(archive: zipfile.ZipFile, name: str, load: Callable[[bytes], ctypes.CDLL]) -> int:
    """Return the bits that say what this processor has."""
    content = archive.read(name)
    if hashlib.sha256(content).hexdigest() != name:
        raise ValueError(f"{name} has other bytes")
    function = load(content).unrolled_processor
    function.restype = ctypes.c_uint64
    return int(function())


def _refuse_of_others(file: IO[bytes], path: Path) -> None:
    """Refuse a file that another user can have written: its libraries run in this process."""
    status = os.fstat(file.fileno())
    if os.name == "nt":
        return
    if status.st_uid not in (0, os.geteuid()):
        raise ArchiveError(f"{path} belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ArchiveError(f"{path} can be written by others: chmod go-w")


def _key(source: str) -> str:
    """Return what a C text is known by: with it change the arguments of the compiler."""
    parts = (str(_FORMAT), *FLAGS, source)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


# ---- Writing ------------------------------------------------------------------------------------


def find_platform(name: str) -> Platform:
    """Return the platform of a name.

    Raises:
        KernelError: There is none.
    """
    if name not in PLATFORMS:
        hint = f"platforms are {', '.join(PLATFORMS)}"
        raise KernelError(f"nothing is built for {name!r}", hint)
    return PLATFORMS[name]


def write_archive(
    file: Path,
    platform: str,
    sources: Sequence[str],
    zig_cache: Path,
    run: Callable[[Callable[["_Job"], bytes], Sequence["_Job"]], Iterable[bytes]] = map,
) -> int:
    """Compile C texts for all instruction sets of a platform, and write the archive of them.

    Args:
        file: What is written, whole or not at all.
        platform: Its name.
        sources: The texts.
        zig_cache: Where zig keeps what it builds of a platform's own libraries.
        run: Maps a function over jobs, in order: `map`, or that of an executor.

    Returns:
        The number of libraries, of which some stand for several instruction sets.

    Raises:
        KernelError: There is no such platform, or no ziglang, or it fails.
    """
    system, compiler = find_platform(platform), ziglang_compiler()
    processor, _, _ = system.target.partition("-")
    baseline = _BASELINES[processor]
    oldest = InstructionSet("baseline", baseline, 0)
    probe = Path(__file__).with_name("processor.c").read_text(encoding="utf-8")
    jobs = [_Job(probe, compiler, system, oldest, baseline, zig_cache)]
    jobs += [
        _Job(source, compiler, system, instructions, baseline, zig_cache)
        for instructions in system.instruction_sets
        for source in sources
    ]
    contents = list(run(_compile, jobs))
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    sets: dict[str, dict[str, str]] = {i.name: {} for i in system.instruction_sets}
    for job, name in zip(jobs[1:], names[1:], strict=True):
        sets[job.instructions.name][_key(job.source)] = name
    manifest = {
        "format": _FORMAT,
        "platform": platform,
        _PROBE: names[0],
        "instruction_sets": sets,
    }
    libraries = dict(sorted(zip(names, contents, strict=True)))
    with TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as own:
        draft = Path(own, file.name)
        with zipfile.ZipFile(draft, "w") as archive:
            for name, content in {_MANIFEST: _json(manifest), **libraries}.items():
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content, compresslevel=9)
        draft.replace(file)
    return len(libraries)


class _Job(NamedTuple):
    source: str
    compiler: Compiler
    platform: Platform
    instructions: InstructionSet
    baseline: str
    cache: Path


def _compile(job: _Job) -> bytes:
    platform, instructions, run = job.platform, job.instructions, job.compiler.run
    flags = [flag for flag in FLAGS if not flag.startswith(("-march", "-shared"))]
    flags += ["-target", platform.target, f"-mcpu={instructions.processor}", *instructions.flags]
    # Linked for the baseline: zig builds a system's own libraries anew for each processor.
    link = ["-target", platform.target, f"-mcpu={job.baseline}", "-shared", "-s"]
    with TemporaryDirectory(prefix="unrolled-") as own:
        folder = Path(own)
        # one name for all: a library may hold that of its file
        folder.joinpath("kernel.c").write_text(job.source, encoding="utf-8")
        run([*flags, "-w", *platform.flags, "-c", "kernel.c", "-o", "kernel.o"], folder, job.cache)
        run([*link, "kernel.o", "-o", "kernel.so", "-lm"], folder, job.cache)
        return folder.joinpath("kernel.so").read_bytes()


def _json(manifest: object) -> bytes:
    return json.dumps(manifest, indent=1, sort_keys=True).encode()
