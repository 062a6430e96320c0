"""Kernels that were compiled ahead of time: archives of libraries for one platform.

An archive is a zip file: libraries, each named by the SHA-256 of its bytes, and `manifest.json`,
which says for each instruction set which library belongs to which C text. A library is used for
exactly that text, so that an archive of another version, or of equations that have changed since,
gives nothing rather than something else.

Wheels hold one (`PACKAGED`), others are named by $UNROLLED_KERNELS. Not here: the cache, where
libraries go once they have been proven (`cache.py`), and who writes an archive (`archiving.py`).
"""

import ctypes
import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple

from unrolled.kernels.building.compiler import FLAGS, KernelError
from unrolled.kernels.building.platforms import PLATFORMS, this_platform

__all__ = [
    "FORMAT",
    "MANIFEST",
    "PACKAGED",
    "PROBE",
    "VARIABLE",
    "Archive",
    "ArchiveError",
    "open_archives",
    "source_key",
]

VARIABLE = "UNROLLED_KERNELS"
PACKAGED = Path(__file__).parents[1] / "prebuilt" / "kernels.zip"
"""The archive of a wheel; there is none in the wheel for all platforms, nor in the repository."""

FORMAT = 1
"""Of an archive."""

MANIFEST = "manifest.json"
PROBE = "processor"
"""In the manifest: the library that knows the processor, of processor.c."""


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
        name = self.libraries.get(source_key(source))
        if name is None:
            return None
        with _reading(self.file), zipfile.ZipFile(self.file) as archive:
            return _library(archive, name)


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
    try:
        archives.append(_open(PACKAGED, load))
    except ArchiveError as error:
        if not isinstance(error.__cause__, FileNotFoundError):  # most packages have none
            problem = str(error)
    return archives, problem


def _open(file: Path, load: Callable[[bytes], ctypes.CDLL]) -> Archive:
    with _reading(file):
        status = file.stat()
    return _read(file, load, (status.st_size, status.st_mtime_ns))


@cache
def _read(file: Path, load: Callable[[bytes], ctypes.CDLL], _status: tuple[int, int]) -> Archive:
    """Return what an archive has for this processor, once as long as the file stays as it is."""
    with _reading(file), file.open("rb") as opened:
        if file != PACKAGED:
            _refuse_of_others(opened, file)
        with zipfile.ZipFile(opened) as archive:
            text = archive.read(MANIFEST)
            manifest = json.loads(text)
            if manifest["format"] != FORMAT:
                got = f"it has format {manifest['format']!r}, and this one reads {FORMAT}"
                raise ArchiveError(f"{file} is of another version of unrolled: {got}")
            platform, here = manifest["platform"], this_platform()
            if platform != here:
                raise ArchiveError(f"{file} is for {platform}, this is {here or 'another'}")
            sets = {name: dict(known) for name, known in manifest["instruction_sets"].items()}
            probe = _library(archive, manifest[PROBE])
    has = _processor(file, probe, load)
    for candidate in PLATFORMS[platform].instruction_sets:
        if candidate.name in sets and candidate.needs & ~has == 0:
            digest = hashlib.sha256(text).hexdigest()
            return Archive(file, candidate.name, sets[candidate.name], digest)
    built = ", ".join(sets)
    raise ArchiveError(f"{file} has kernels for {built}, which this processor does not have")


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn whatever goes wrong while an archive is read into an ArchiveError."""
    try:
        yield
    except ArchiveError:
        raise
    except OSError as error:
        raise ArchiveError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # of a damaged file, zipfile and json raise a dozen kinds
        raise ArchiveError(f"{file} is damaged: {error or type(error).__name__}") from error


def _library(archive: zipfile.ZipFile, name: str) -> bytes:
    content = archive.read(name)
    if hashlib.sha256(content).hexdigest() != name:
        raise ValueError(f"{name} has other bytes")
    return content


def _processor(file: Path, probe: bytes, load: Callable[[bytes], ctypes.CDLL]) -> int:
    """Return the bits that say what this processor has."""
    try:
        function = load(probe).unrolled_processor
    except (OSError, AttributeError) as error:
        raise ArchiveError(f"{file}: its libraries cannot be loaded: {error}") from error
    function.restype = ctypes.c_uint64
    return int(function())


def _refuse_of_others(file: IO[bytes], path: Path) -> None:
    """Refuse a file that another user can have written: its libraries run in this process."""
    status = os.fstat(file.fileno())
    if os.name == "nt":
        return
    if status.st_uid not in (0, os.geteuid()):
        raise ArchiveError(f"{path} belongs to another user: use a copy of your own")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ArchiveError(f"{path} can be written by others: chmod go-w")


def source_key(source: str) -> str:
    """Return what a C text is known by: with it change the arguments of the compiler."""
    parts = (str(FORMAT), *FLAGS, source)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
