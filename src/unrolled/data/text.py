"""Plain text from files, exactly as it stands there, or a clear reason why not.

Turning text into numbers is the vocabulary's part, cutting it for training that of the columns.
"""

import codecs
import gzip
import io
import os
import re
import sysconfig
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from unrolled.errors import DataError, OptionError, field

__all__ = [
    "check_encoding",
    "likely_encoding",
    "lines_of",
    "lines_of_file",
    "pieces_of_file",
    "python_library_text",
    "read_text",
    "refuse_utf8",
    "split_lines",
]

_LINE_END = re.compile("\r\n|\r|\n")
# Quotes, dashes and dots of Windows-1252, beside a word: in latin-1 they are control characters
_OF_WINDOWS = re.compile(rb"[A-Za-z ,.][\x80\x85\x91-\x97\x99][A-Za-z ,.\r\n]")
_GZIP = b"\x1f\x8b"
_PAIRS = [bytes(pair) for pair in ((0xC3, 0x80), (0xC3, 0xA9), (0xB0, 0xA1))]
_EASTERN = ("cp932", "euc_jp", "gb18030", "big5", "cp949")  # they take few bytes that are others'
_WESTERN = ("cp1252", "cp1251", "latin-1")
_ASCII = bytes(range(128))
_SEEN = 1_000_000  # bytes, by which an encoding is guessed
_PIECE = 2**18  # bytes of a file that are text at once
_NO_TEXT = {  # what begins so, whatever it is called
    b"PK\x03\x04": "a ZIP archive or a workbook, such as .xlsx",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a document or workbook of an old Office, such as .xls",
    b"%PDF-": "a PDF document",
    b"BZh91AY&SY": "packed by bzip2",
    b"\xfd7zXZ\x00": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"PAR1\x15": "a table in Parquet",  # a text may begin with PAR1
    b"ARROW1\x00\x00": "a table in Arrow",
    b"SQLite format 3\x00": "an SQLite database",
}
_MANY = 8
_MOST_UNPACKED = 2**28


def read_text(paths: Sequence[Path], encoding: str = "utf-8") -> str:
    r"""Return the text of the files, one after the other with nothing in between.

    Line ends stay as they are (`\r\n` too). A byte order mark at the start of a file is no text and
    is left out.

    Args:
        paths: At least one file.
        encoding: Any that Python knows.

    Raises:
        DataError: A file is missing, a folder, unreadable, empty, larger than the memory, or not
            text in this encoding; or it is UTF-8, and the encoding one that takes any bytes.
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


def lines_of(text: str) -> Iterator[str]:
    r"""Yield what `split_lines` returns, of which a long text has too many to be all in memory.

    Example:
        >>> [*lines_of("one\r\n\ntwo\n")]
        ['one', '', 'two']
    """
    start = 0
    for end in _LINE_END.finditer(text):
        yield text[start : end.start()]
        start = end.end()
    if start < len(text):
        yield text[start:]


def pieces_of_file(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Yield what `read_text` returns of one file in pieces, cut where a line ends.

    A file of UTF-8 is never in memory as a whole, unless it is one line, or packed. Of another
    encoding it is: only all of it says whether it is UTF-8 after all.

    Args:
        path: The file.
        encoding: Any that Python knows.

    Raises:
        DataError: As `read_text`, once the piece is reached that cannot be read.
        OptionError: No such encoding.
    """
    check_encoding(encoding)
    rest: list[str] = []
    for block in _blocks(path, encoding):
        if rest and rest[-1].endswith("\r"):
            block = rest.pop() + block
        # an \r at the end of a block may be half of \r\n
        end = max(block.rfind("\n"), block.rfind("\r", 0, -1)) + 1
        if end:
            yield "".join([*rest, block[:end]])
            rest = []
        rest.append(block[end:])
    if any(rest):
        yield "".join(rest)


def lines_of_file(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Yield the lines of a file as `lines_of` does, read as by `pieces_of_file`."""
    for piece in pieces_of_file(path, encoding):
        yield from lines_of(piece)


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


def _blocks(path: Path, encoding: str) -> Iterator[str]:
    """Yield the text of a file, of UTF-8 in blocks of `_PIECE` bytes.

    Where something is wrong, `_read_file` says what: it sees all of the file.
    """
    try:
        is_long = path.is_file() and path.stat().st_size > _PIECE
        is_long = is_long and path.suffix.lower() != ".gz"
    except (OSError, ValueError):
        is_long = False
    if not is_long or codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        yield _read_file(path, encoding)
        return
    decoder = codecs.getincrementaldecoder("utf-8-sig")()  # which leaves a byte order mark out
    begun = False
    try:
        with path.open("rb") as file:
            while content := file.read(_PIECE):
                if b"\0" in content or (not begun and content.startswith((_GZIP, *_NO_TEXT))):
                    break
                begun = True
                yield decoder.decode(content)
            else:
                decoder.decode(b"", final=True)
                return
    except (OSError, UnicodeDecodeError):
        pass
    text = _read_file(path, encoding)
    if begun:
        raise DataError(f"{path}: has changed while it was read", "begin again")
    yield text


def _read_file(path: Path, encoding: str) -> str:
    check_encoding(encoding)
    try:
        if path.stat().st_size > physical_memory():
            raise _too_large(path)
        content = path.read_bytes()
        if content[:2] == _GZIP or path.suffix.lower() == ".gz":
            content = _unpacked(path, content)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", "check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder", "name the files inside it") from None
    except (MemoryError, OverflowError):
        raise _too_large(path) from None
    except (OSError, ValueError) as error:  # ValueError: a name with NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read: {reason}", "check its permissions") from None
    for begin, kind in _NO_TEXT.items():
        if content.startswith(begin):
            raise DataError(f"{path}: {kind}, not text", "save what is in it as text")
    text = _decode(path, content, encoding)
    if not text:
        raise DataError(f"{path}: the file is empty", "leave it out, or name a file with text")
    return text


def _decode(path: Path, content: bytes, encoding: str) -> str:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(split_lines(content[: error.start].decode(encoding, "replace") + "."))
        where = f"in line {line}, at byte {error.start} of the file"
        raise DataError(f"{path}: not {encoding} text {where}", likely_encoding(content)) from None
    except MemoryError:
        raise _too_large(path) from None
    refuse_utf8(str(path), content, encoding)
    if (index := text.find("\0")) >= 0:
        offset = len(text[:index].encode(encoding))
        line = text.count("\n", 0, index) + 1
        message = f"{path}: binary, not {encoding} text: NUL at byte {offset} in line {line}"
        raise DataError(message, likely_encoding(content))
    return text.removeprefix("\ufeff")


def check_encoding(encoding: str) -> None:
    """Raise `OptionError` unless Python knows an encoding of text by that name."""
    try:
        "".encode(encoding)
        b"a".decode(encoding, "replace")
    except (
        LookupError,
        UnicodeError,
        ValueError,
    ):  # none of that name, or one that decodes nothing
        raise OptionError(f"unknown encoding {encoding!r}", "utf-8 is the usual one") from None


def refuse_utf8(where: str, content: bytes, encoding: str) -> None:
    """Raise `DataError` if bytes that are to be read in another encoding are UTF-8.

    Many encodings take any bytes: a UTF-8 file would become text that nobody wrote. That bytes
    beyond ASCII are UTF-8 by chance hardly occurs; in encodings with two bytes for a character, a
    few of them may be.

    Args:
        where: What a message begins with.
        content: The bytes, from the begin of a line to the end of one.
        encoding: What they are to be read by.
    """
    name = codecs.lookup(encoding).name
    is_wide = name.startswith(("utf-16", "utf-32"))  # text in them has NUL in every line end
    if is_wide:
        may_be_utf8 = b"\0" not in content
    else:
        may_be_utf8 = not content.isascii() and not name.startswith("utf")
    if not may_be_utf8:
        return
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return
    has_pairs = not is_wide and any(len(pair.decode(encoding, "replace")) < 2 for pair in _PAIRS)
    if has_pairs and len(text) - len(text.encode("ascii", "ignore")) < _MANY:
        return
    hint = f"{field('encoding')} utf-8"
    raise DataError(f"{where}: is UTF-8 text, and would be read as {encoding}", hint)


def likely_encoding(content: bytes) -> str:
    """Return a hint at the encoding in which bytes that are not UTF-8 may be text."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:200]:
        return f"is it text in another encoding? {field('encoding')} utf-16, if it is text"
    seen = content if len(content) <= _SEEN else content[: content.rfind(b"\n", 0, _SEEN) + 1]
    fitting = [name for name in (*_EASTERN, *_WESTERN) if _is_text(seen, name)]
    if "cp1252" in fitting and _OF_WINDOWS.search(seen):
        return f"it looks like text of Windows: {field('encoding')} cp1252"
    if 2 * len(seen.translate(None, _ASCII)) < len(seen):  # those of a few accents
        fitting.sort(key=_EASTERN.__contains__)
    *names, last = fitting
    listed = f"{', '.join(names)} or {last}" if names else last
    return f"is it text in another encoding, such as {field('encoding')} {listed}?"


def _is_text(content: bytes, encoding: str) -> bool:
    """Return whether all bytes are characters in an encoding."""
    try:
        return bool(content.decode(encoding)) or not content
    except UnicodeDecodeError:
        return False


def physical_memory() -> int:
    """Return how many bytes of memory this machine has; 2^40 where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has none of this
        return 2**40


def _too_large(path: Path) -> DataError:
    return DataError(f"{path}: larger than the memory that there is", "cut it into smaller files")


def _unpacked(path: Path, content: bytes) -> bytes:
    """Return what a gzip file holds, if that is not more than the memory may have."""
    if content and content[:2] != _GZIP:  # as browsers leave what they unpacked
        hint = "take .gz off its name if it is text, or get the file again"
        raise DataError(f"{path}: called .gz, and not packed by gzip", hint)
    most = max(_MOST_UNPACKED, 200 * len(content))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file: {error}", "get the file again") from None
    if len(unpacked) > most:
        raise DataError(f"{path}: unpacks to more than {most / 1e6:,.0f} MB", "unpack it yourself")
    return unpacked
