"""From bytes to a loaded library: exactly those bytes, whatever happens to files meanwhile."""

import ctypes
import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["load_bytes"]

_numbers = count(1)


def load_bytes(content: bytes, name: str, folder: Path, prefix: str) -> ctypes.CDLL:
    """Load the shared library that `content` is.

    On Linux from memory that has no name in any folder. Elsewhere, and where that is forbidden,
    from a file in a new folder of this user's alone, which is removed at once.

    Args:
        content: The library, without anything behind it.
        name: What it is called in a list of a process's memory, ASCII.
        folder: Where that new folder is made; no other user can write to it.
        prefix: What its name begins with.

    Raises:
        OSError: The system does not load it.
    """
    if hasattr(os, "memfd_create"):
        with suppress(OSError):
            return _load_from_memory(content, name)
    with TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as own:
        file = Path(own, f"{name}.so")
        file.write_bytes(content)
        return ctypes.CDLL(str(file))


def _load_from_memory(content: bytes, name: str) -> ctypes.CDLL:
    with open(os.memfd_create(name), "wb") as file:  # noqa: PTH123  # of what is open already
        file.write(content)
        file.flush()
        # A path under which a library was loaded before gives that library again, and numbers of
        # files come again: so each path is written in its own way.
        own_way = "".join("/" if digit == "0" else "./" for digit in f"{next(_numbers):b}")
        return ctypes.CDLL(f"/proc/self/fd/{own_way}{file.fileno()}")
