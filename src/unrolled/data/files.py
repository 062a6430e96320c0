"""Files that are found, written whole or not at all, read without following links, known again.

The one way in which this package writes a file that it will read again. Formats are the caller's.
"""

import errno
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from unrolled.errors import DataError

__all__ = [
    "files_below",
    "fingerprint",
    "open_plain",
    "parse_json",
    "read_json",
    "read_plain",
    "to_json",
    "write_atomically",
    "write_first",
]

# Windows has none of the first three, and opens files as text without the last.
_CAREFULLY = 0
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _CAREFULLY |= getattr(os, _flag, 0)


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and those below it, in order; none that is hidden.

    Raises:
        DataError: There is none.
    """
    below = (path for path in sorted(folder.rglob("*")) if path.is_file())
    files = [
        path
        for path in below
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not files:
        raise DataError(f"{folder}: no files in it", "put an example in each file")
    return files


@contextmanager
def write_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the `with` block ends, and not before.

    Whoever opens `path` finds the old content or the new one, never a part: also when the process
    is killed or the power fails. If the block raises, `path` is as it was. A link at `path` is
    replaced; what it leads to stays as it is.

    Args:
        path: What to write. Its folder exists.

    Yields:
        A binary file, open for writing.

    Raises:
        OSError: The folder is missing or not writable, or the disk is full.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with write_atomically(Path(folder, "notes.txt")) as file:
        ...         written = file.write(b"whole")
        ...     Path(folder, "notes.txt").read_text()
        'whole'
    """
    temporary = _name_beside(path)
    try:
        with _synced(temporary) as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_first(path: Path, content: bytes) -> bool:
    """Write a file that is not there yet, whole; return whether it was this call that did.

    Of several processes that begin at once, on several computers too, one alone writes. What
    another one wrote is left as it is.

    Args:
        path: What to write. Its folder exists.
        content: Of the file.

    Raises:
        OSError: The folder is missing or not writable, or the disk is full.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "notes.txt")
        ...     write_first(path, b"mine"), write_first(path, b"yours"), path.read_text()
        (True, False, 'mine')
    """
    temporary = _name_beside(path)
    try:
        with _synced(temporary) as file:
            file.write(content)
        try:
            path.hardlink_to(temporary)  # refuses to take a place, as no rename does everywhere
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            try:
                file = path.open("xb")
            except FileExistsError:
                return False
            try:
                with file:  # who reads it now may find a part of it
                    file.write(content)
            except OSError:
                path.unlink(missing_ok=True)
                raise
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def _name_beside(path: Path) -> Path:
    """Return a name in the same folder, from which a rename is atomic, and which nobody else has.

    A process's number would not do: another computer that sees the folder has one of that number.
    """
    return path.with_name(f".{path.name}.{secrets.randbits(64)}")


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    """Open a new file, which the disk has when the `with` block ends."""
    with path.open("xb") as file:  # "x": no link of that name is followed
        yield file
        file.flush()
        os.fsync(file.fileno())


def open_plain(path: Path, flags: int = os.O_RDONLY) -> BinaryIO:
    """Open a file in a folder that somebody else may have made.

    Only a plain file is opened: a link could lead anywhere, a pipe could wait for ever.

    Args:
        path: The file. Links in the names of the folders above it are followed.
        flags: Those of `os.open`: to read, or with `O_APPEND` to write at the end.

    Raises:
        OSError: It cannot be opened, or is not a plain file; `strerror` says which.
    """
    if not flags & os.O_CREAT or os.path.lexists(path):
        _require_plain(path, path.lstat())  # before: to open a device may do something
    descriptor = os.open(path, flags | _CAREFULLY, 0o666)
    try:
        _require_plain(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "ab" if flags & os.O_APPEND else "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_plain(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "it is a link, which is not followed", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))


def read_plain(path: Path) -> bytes:
    """Return the content of a file that `open_plain` opens.

    Raises:
        OSError: It cannot be read, is not a plain file, or is larger than the memory.
    """
    with open_plain(path) as file:
        try:
            return file.read()
        except (MemoryError, OverflowError):
            reason = "it is larger than the memory"
            raise OSError(errno.ENOMEM, reason, str(path)) from None


def read_json(path: Path) -> Any:
    """Return the content of a JSON file that `open_plain` opens.

    Raises:
        OSError: As of `read_plain`.
        ValueError: As of `parse_json`.
    """
    return parse_json(read_plain(path))


def parse_json(text: bytes) -> Any:
    """Return what a text in JSON says.

    Raises:
        ValueError: It is not JSON, or nested deeper than any that this package writes.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def to_json(content: Any, indent: int | None = None) -> bytes:
    """Return `content` as JSON in UTF-8.

    The names of files that are not UTF-8 are strings with halves of surrogate pairs in Python. They
    are written as JSON's escapes, and come back as they were.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def fingerprint(path: Path) -> dict[str, Any]:
    """Return what tells a file from another: its path, size and SHA-256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path.resolve()), "bytes": path.stat().st_size, "sha256": digest}


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` last through a power failure."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
