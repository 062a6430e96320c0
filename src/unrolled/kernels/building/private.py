"""What belongs to this user alone: folders that no other user can change, and files in them.

Not here: what is kept in them (`cache.py`). On Windows a user's folders are private by themselves,
and have no such bits to look at.
"""

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["private_secret", "problem_with", "read_private"]

_WRITTEN_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_SECRET_BYTES = 32
_ROOT = 0


def problem_with(folder: Path) -> str | None:
    """Make `folder` where there is none, and return why it cannot hold what runs, or None.

    It has to be this user's own, and nobody but this user and root may be able to write to it, or
    to put another one in its place: the folders above it count, and where links lead. Those above
    may be open to all where they are sticky, as /tmp is: there each moves only their own.
    """
    try:
        place = folder
        for place in () if folder.is_dir() else reversed((folder, *folder.parents)):
            if not place.is_dir():
                place.mkdir(mode=0o700, exist_ok=True)
        if os.name != "nt" and (problem := _who_else(str(folder))):
            return problem
    except FileExistsError:
        return f"{place} is not a folder"
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written"


def read_private(path: Path, *, secret: bool = False) -> bytes | None:
    """Return what is in a file that this user alone can have written; None of any other.

    What is checked is the open file, whatever comes to stand at its path meanwhile.

    Args:
        path: The file; None comes back of a link, too.
        secret: Whether nobody else may be able to read it.
    """
    # a pipe is opened without waiting for somebody who writes to it
    flags = ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK")
    forbidden = 0o077 if secret else _WRITTEN_BY_OTHERS
    try:
        descriptor = os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in flags))
        with open(descriptor, "rb") as file:  # noqa: PTH123  # of what is open already
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            if os.name != "nt" and (status.st_uid != os.geteuid() or status.st_mode & forbidden):
                return None
            return file.read()
    except OSError:
        return None


def private_secret(folder: Path, name: str) -> bytes:
    """Return 32 bytes that only this user knows, from the file `name` or else made now.

    A file that others could have read or written, or that is damaged, is replaced by another
    secret. Of processes that make one at the same time, the last one's stays.

    Raises:
        OSError: It cannot be written.
    """
    path = folder / name
    secret = read_private(path, secret=True)
    if secret is None or len(secret) != _SECRET_BYTES:
        with TemporaryDirectory(prefix=f".{name}-", dir=folder) as own:
            draft = Path(own, name)
            draft.touch(mode=0o600)
            draft.write_bytes(os.urandom(_SECRET_BYTES))
            draft.replace(path)
        secret = read_private(path, secret=True)
    if secret is None or len(secret) != _SECRET_BYTES:
        raise OSError(None, "its files cannot be kept from others", str(path))
    return secret


def _who_else(folder: str) -> str | None:
    """Return who but this user and root can change what `folder` means, or None."""
    user = os.geteuid()
    ways, ends = [folder], {folder}  # with where the links on the way lead; and what is the folder
    for way in ways:
        place = way
        while True:
            status = os.lstat(place)
            above = os.path.dirname(place)  # noqa: PTH120  # a Path takes four times as long
            is_end, is_link = place in ends, stat.S_ISLNK(status.st_mode)
            if status.st_uid != user and (status.st_uid != _ROOT or (is_end and not is_link)):
                return f"{place} belongs to another user"
            if is_link:
                target = str(Path(above, Path(place).readlink()))
                if target not in ways:
                    ways.append(target)
                    ends |= {target} if is_end else set()
            elif _others_write(place, status) and (is_end or not status.st_mode & stat.S_ISVTX):
                remedy = "chmod go-w" if status.st_uid == user else "choose another folder"
                return f"{place} can be written by others: {remedy}"
            if above == place:
                break
            place = above
    return None


def _others_write(place: str, status: os.stat_result) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_own_group(place, status.st_gid)


def _is_own_group(place: str, group: int) -> bool:
    """Whether `group` is the one that many systems give each user, with nobody else in it.

    Where there is an access list, the group's bits are not the group's but the list's.
    """
    if group == _ROOT or sys.platform == "win32":
        return False
    import grp
    import pwd

    with suppress(KeyError, OSError):
        own, entry = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
        listed = hasattr(os, "listxattr") and "system.posix_acl_access" in os.listxattr(place)
        alone = own.pw_gid == group and entry.gr_name == own.pw_name
        return alone and set(entry.gr_mem) <= {own.pw_name} and not listed
    return False
