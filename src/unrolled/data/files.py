"""Files that are written whole or not at all, and known again.

The one way in which this package writes a file that it will read again. Formats are the caller's.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["fingerprint", "write_atomically"]


@contextmanager
def write_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the `with` block ends, and not before.

    Whoever opens `path` finds the old content or the new one, never a part: also when the process
    is killed or the power fails. If the block raises, `path` is as it was.

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
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # the same folder: rename is atomic
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


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
