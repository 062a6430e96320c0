"""Plain text from files, exactly as it stands there, or a clear reason why not.

Turning text into numbers is the vocabulary's part, cutting it for training that of the columns.
"""

import re
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from unrolled.errors import DataError, OptionError

__all__ = ["python_library_text", "read_text", "split_lines"]

_LINE_END = re.compile("\r\n|\r|\n")


def read_text(paths: Sequence[Path], encoding: str = "utf-8") -> str:
    r"""Return the text of the files, one after the other with nothing in between.

    Line ends stay as they are (`\r\n` too). A byte order mark at the start of a file is no text and
    is left out.

    Args:
        paths: At least one file.
        encoding: Any that Python knows.

    Raises:
        DataError: A file is missing, a folder, unreadable, empty, or not text in this encoding.
        OptionError: No such encoding.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "hello.txt")
        ...     size = path.write_bytes(b"hello\r\n")
        ...     read_text([path, path])
        'hello\r\nhello\r\n'
    """
    if not paths:
        raise DataError("no text: the list of files is empty", "name at least one file")
    return "".join(_read_file(path, encoding) for path in paths)


def split_lines(text: str) -> list[str]:
    r"""Return the lines of `text` without their ends: `\n`, `\r\n` or `\r`, and nothing else.

    `str.splitlines` cuts at ten more characters, such as U+0085 and U+2028, which occur inside
    lines of real data; numbers of lines would then not be those that an editor shows.

    Example:
        >>> split_lines("one\r\n\ntwo\u2028too\n")
        ['one', '', 'two\u2028too']
    """
    lines = _LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def python_library_text() -> list[Path]:
    """Return text files that every Python installation carries: its standard library's modules.

    Those at the top level and in plain ASCII, sorted by name: about 4 MB, the same at every call.

    Raises:
        DataError: This installation has no source files (some keep them in an archive).
    """
    folder = Path(sysconfig.get_path("stdlib"))
    files = [
        path
        for path in sorted(folder.glob("*.py"))
        if (content := path.read_bytes()) and content.isascii()
    ]
    if not files:
        raise DataError(f"{folder}: no source files of the standard library", "name a text file")
    return files


def _read_file(path: Path, encoding: str) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", "check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder", "name the files inside it") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path}: cannot be read: {reason}", "check its permissions") from None
    text = _decode(path, content, encoding)
    if not text:
        raise DataError(f"{path}: the file is empty", "leave it out, or name a file with text")
    return text


def _decode(path: Path, content: bytes, encoding: str) -> str:
    hint = "is it text in another encoding, such as latin-1 or utf-16?"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(split_lines(content[: error.start].decode(encoding, "replace") + "."))
        where = f"in line {line}, at byte {error.start} of the file"
        raise DataError(f"{path}: not {encoding} text {where}", hint) from None
    except (LookupError, UnicodeError):  # none of that name, or one that decodes nothing
        raise OptionError(f"unknown encoding {encoding!r}", "utf-8 is the usual one") from None
    if (index := text.find("\0")) >= 0:
        offset = len(text[:index].encode(encoding))
        line = text.count("\n", 0, index) + 1
        message = f"{path}: binary, not {encoding} text: NUL at byte {offset} in line {line}"
        raise DataError(message, hint)
    return text.removeprefix("\ufeff")
