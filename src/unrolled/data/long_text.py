"""A text that stays in its files: read once from end to end, then in chunks from any place.

The one pass checks all of it: a fault in its last gigabyte is named before training begins. It
notes where chunks begin, which characters occur, and the SHA-256 of each file. What is kept is
that index: 40 bytes for 64 KiB of text. Each chunk that is read later comes with a look at whether
its file is still the one that the pass read.

A chunk ends at a line's end where it has one, so that no word is cut and each can be turned into
tokens by itself. Only encodings that can be read from the middle of a file are taken.
"""

import codecs
import hashlib
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeAlias

import numpy as np

from unrolled.data.text import check_encoding, likely_encoding, refuse_utf8
from unrolled.errors import DataError, OptionError, field

__all__ = ["LongText", "Text", "is_long"]

_LONG = 64_000_000  # bytes: what is learned from in memory takes many times the size of its file
_CHUNK = 2**16  # bytes; checkpoints name chunks by number: another size breaks those that there are
_BLOCK = 2**22  # bytes that the pass reads at once
_PIECE = 16_000_000  # characters of a text that is read as a whole


def is_long(paths: Sequence[Path]) -> bool:
    """Return whether texts are better left in their files: plain ones of over 64 MB together."""
    try:
        size = sum(path.stat().st_size for path in paths)
        return size > _LONG and not any(map(_is_packed, paths))
    except (OSError, ValueError):  # whoever reads them says what is wrong
        return False


@dataclass(frozen=True)
class _File:
    """A file as the pass found it."""

    path: Path
    state: tuple[int, int, int]
    digest: str

    def check(self, file: BinaryIO) -> None:
        """Raise `DataError` unless an open file is what the pass read."""
        if _state(file) != self.state:
            raise _has_changed(self.path)


class LongText:
    r"""The text of files, one after the other with nothing in between. Made by `open` and `until`.

    Attributes:
        num_characters: Code points.
        num_bytes: Bytes in UTF-8, whatever the files are encoded in.
        num_chunks: What it is read in.
        characters: Those that occur in the files, sorted.
        fingerprints: Path, size and SHA-256 of each file, as `fingerprint` gives them.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "hello.txt")
        ...     size = path.write_bytes("hello né\n".encode())
        ...     text = LongText.open([path, path])
        ...     text.num_characters, text.num_bytes, text.characters, text.read(6, 11)
        (18, 20, '\n ehlnoé', 'né\nhe')
    """

    def __init__(self, index: "_Index", encoding: str) -> None:
        self._files = index.files
        self._encoding = encoding
        self._file_of = np.frombuffer(index.file_of, dtype=np.int64)
        self._offsets = np.frombuffer(index.offsets, dtype=np.int64)
        self._sizes = np.frombuffer(index.sizes, dtype=np.int64)
        self.first_characters = _sums(index.characters)
        """The place of each chunk's first character, and of the end, (num_chunks + 1,) int64."""
        self.first_bytes = _sums(index.bytes)
        """The same in bytes of UTF-8."""
        self.characters = index.known
        self.num_characters = int(self.first_characters[-1])
        self.num_bytes = int(self.first_bytes[-1])
        self.num_chunks = len(self._offsets)
        self._left_out: dict[int, None] = {}

    @classmethod
    def open(cls, paths: Sequence[Path], encoding: str = "utf-8") -> Self:
        """Return the text of files, after one pass through all of it.

        Raises:
            DataError: A file is missing, empty, packed, or not text in this encoding; or changed
                while it was read.
            OptionError: No such encoding, or one that cannot be read from the middle of a file.
        """
        check_encoding(encoding)
        index = _Index(encoding)
        for path in paths:
            index.add(path)
        return cls(index, index.encoding)

    @property
    def fingerprints(self) -> list[dict[str, Any]]:
        """Path, size and SHA-256 of each file."""
        return [
            {"path": str(file.path.resolve()), "bytes": file.state[0], "sha256": file.digest}
            for file in self._files
        ]

    def until(self, num_characters: int) -> Self:
        """Return the beginning of this text, of at least one character."""
        part = copy(self)
        part.num_characters = min(num_characters, self.num_characters)
        last = int(np.searchsorted(self.first_characters, part.num_characters)) - 1
        part.num_chunks = last + 1
        part.num_bytes = int(self.first_bytes[last]) + len(_utf8(part.chunk(last)))
        return part

    def without(self, characters: Sequence[str]) -> Self:
        """Return this text as it is read in pieces, without some characters."""
        part = copy(self)
        part._left_out = dict.fromkeys(map(ord, characters))
        return part

    def chunk(self, number: int) -> str:
        """Return a chunk.

        Raises:
            DataError: The file has changed since the pass, is gone or cannot be read.
        """
        file = self._files[self._file_of[number]]
        try:
            with file.path.open("rb") as opened:
                opened.seek(self._offsets[number])
                content = opened.read(self._sizes[number])
                file.check(opened)
            text: str = content.decode(self._encoding)
        except OSError as error:
            message = f"{file.path}: cannot be read any more: {error.strerror}"
            raise DataError(message, "put it back as it was and go on, or begin again") from None
        except UnicodeDecodeError:
            raise _has_changed(file.path) from None
        first, end = self.first_characters[number : number + 2]
        if len(text) != end - first:
            raise _has_changed(file.path)
        return text[: self.num_characters - int(first)]

    def read(self, start: int, stop: int) -> str:
        """Return the characters from `start` up to `stop`."""
        if start >= stop:
            return ""
        first = int(np.searchsorted(self.first_characters, start, "right")) - 1
        last = int(np.searchsorted(self.first_characters, stop, "left"))
        text = "".join(map(self.chunk, range(first, min(last, self.num_chunks))))
        skipped = start - int(self.first_characters[first])
        return text[skipped : skipped + stop - start]

    def sample(self, num_bytes: int) -> str:
        """Return chunks from all over the text, about so many bytes together."""
        count = max(1, min(self.num_chunks, num_bytes // _CHUNK))
        return "".join(self.chunk(i * self.num_chunks // count) for i in range(count))

    def pieces(self) -> Iterator[str]:
        """Yield the text in pieces of equal length, at most 16 million characters."""
        count = -(-self.num_characters // _PIECE)
        places = [number * self.num_characters // count for number in range(count + 1)]
        for start, stop in pairwise(places):
            text = self.read(start, stop)
            yield text.translate(self._left_out) if self._left_out else text


class _Index:
    """What the pass through the files finds."""

    def __init__(self, encoding: str) -> None:
        name = codecs.lookup(encoding).name
        self.encoding = "utf-8" if name == "utf-8-sig" else encoding
        self.files: list[_File] = []
        self.file_of, self.offsets, self.sizes = array("q"), array("q"), array("q")
        self.characters, self.bytes = array("q"), array("q")
        self._is_utf8 = codecs.lookup(self.encoding).name == "utf-8"
        self._has_lines = "\n".encode(self.encoding) == b"\n"
        self._ascii = b""  # those that were seen
        self._seen = np.zeros(0x110000, dtype=np.bool_)
        self._as_utf8: DataError | None = None
        self._is_other = False  # than UTF-8, the file that is read

    @property
    def known(self) -> str:
        """All characters, sorted."""
        return "".join(sorted({*self._ascii.decode(), *map(chr, np.flatnonzero(self._seen))}))

    def add(self, path: Path) -> None:
        """Read a file from end to end."""
        try:
            if path.is_fifo():
                message = f"{path}: a pipe cannot be read from the middle"
                raise DataError(message, f"save it as a file, or {field('stream=False')}")
            if _is_packed(path):
                message = f"{path}: a packed text cannot be read from the middle"
                raise DataError(message, f"unpack it, or {field('stream=False')}")
            with path.open("rb") as file, ThreadPoolExecutor(1) as other:
                state, digest = _state(file), hashlib.sha256()
                self._as_utf8, self._is_other = None, False
                self._pass(path, file, other, digest)
                if _state(file) != state:
                    raise _has_changed(path, "begin again when nothing writes to it any more")
        except (DataError, OptionError):
            raise
        except FileNotFoundError:
            raise DataError(f"{path}: no such file", "check the path") from None
        except IsADirectoryError:
            raise DataError(f"{path}: is a folder", "name the files inside it") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(f"{path}: cannot be read: {reason}", "check its permissions") from None
        self.files.append(_File(path, state, digest.hexdigest()))

    def _pass(
        self, path: Path, file: BinaryIO, other: ThreadPoolExecutor, digest: "hashlib._Hash"
    ) -> None:
        """Divide a file into chunks, while another thread adds up its checksum."""
        before = len(self.offsets)
        offset, rest, hashed = 0, b"", Future[None]()
        hashed.set_result(None)
        while block := file.read(_BLOCK):
            hashed.result()
            hashed = other.submit(digest.update, block)
            start, content = 0, rest + block
            while len(content) - start >= _CHUNK:
                size = self._whole(path, offset + start, content, start)
                self._add_chunk(path, offset + start, content[start : start + size])
                start += size
            offset, rest = offset + start, content[start:]
        hashed.result()
        if rest:
            self._add_chunk(path, offset, rest)
        if self._as_utf8 is not None and not self._is_other:
            raise self._as_utf8
        if before == len(self.offsets):
            raise DataError(f"{path}: the file is empty", "leave it out, or name a file with text")

    def _whole(self, path: Path, offset: int, block: bytes, start: int) -> int:
        """Return how many bytes from `start` are whole lines, or else whole characters."""
        if self._has_lines and (end := block.rfind(b"\n", start, start + _CHUNK) + 1):
            return end - start
        content = block[start : start + _CHUNK]
        decoder = codecs.getincrementaldecoder(self.encoding)()
        fresh = decoder.getstate()[1]
        try:
            decoder.decode(content)
        except UnicodeDecodeError as error:
            raise self._not_text(path, offset, content, error) from None
        pending, state = decoder.getstate()
        if state != fresh or len(pending) == len(content):
            message = f"{self.encoding} cannot be read from the middle of a file"
            hint = "name the byte order: utf-16-le or utf-16-be; or convert it to UTF-8"
            raise OptionError(f"{path}: {message}", f"{hint}; or {field('stream=False')}")
        return len(content) - len(pending)

    def _add_chunk(self, path: Path, offset: int, content: bytes) -> None:
        has_no_nul = self._is_utf8 and b"\0" not in content
        if has_no_nul and content.isascii():
            self._append(offset, content, len(content), len(content))  # most text: not decoded
            self._note(content)
            return
        try:
            text = content.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise self._not_text(path, offset, content, error) from None
        self._suspect(path, content)
        if not has_no_nul and (index := text.find("\0")) >= 0:
            at = len(text[:index].encode(self.encoding))
            line = self._line_of(path, offset, content[:at])
            message = f"{path}: binary, not {self.encoding} text: NUL at byte {offset + at} in line"
            raise DataError(f"{message} {line}", likely_encoding(content))
        if offset == 0 and text.startswith("\ufeff"):  # a byte order mark is no text
            mark = len("\ufeff".encode(self.encoding))
            offset, content, text = mark, content[mark:], text[1:]
            if not text:
                return
        in_utf8 = content if self._is_utf8 else _utf8(text)
        self._append(offset, content, len(text), len(in_utf8))
        self._note(in_utf8)

    def _append(self, offset: int, content: bytes, num_characters: int, num_bytes: int) -> None:
        self.file_of.append(len(self.files))
        self.offsets.append(offset)
        self.sizes.append(len(content))
        self.characters.append(num_characters)
        self.bytes.append(num_bytes)

    def _suspect(self, path: Path, content: bytes) -> None:
        """Note whether a file may be UTF-8 that is read as another encoding: all of it, that is.

        One chunk with a few characters beyond ASCII may be so by chance.
        """
        if self._is_utf8 or self._is_other:
            return
        try:
            refuse_utf8(str(path), content, self.encoding)
        except DataError as error:
            self._as_utf8 = error
        else:
            self._is_other = not content.isascii() and not _is_text(content)

    def _note(self, content: bytes) -> None:
        """Note the characters of UTF-8: first drops known ASCII, which most text is made of."""
        content = content.translate(None, self._ascii)
        if not content:
            return
        rest = content.decode("utf-8", "surrogatepass")
        points = np.frombuffer(rest.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        if not (known := self._seen[points]).all():
            new = np.unique(points[~known])
            self._seen[new] = True
            self._ascii += bytes(new[new < 128].tolist())

    def _not_text(
        self, path: Path, offset: int, content: bytes, error: UnicodeDecodeError
    ) -> DataError:
        line = self._line_of(path, offset, content[: error.start])
        where = f"in line {line}, at byte {offset + error.start} of the file"
        return DataError(f"{path}: not {self.encoding} text {where}", likely_encoding(content))

    def _line_of(self, path: Path, offset: int, content: bytes) -> int:
        """Return the number of the line that ends `content`, which begins at `offset`."""
        line = 1
        with path.open("rb") as file:
            while block := file.read(min(_CHUNK, offset - file.tell())):
                line += block.decode(self.encoding, "replace").count("\n")
        return line + content.decode(self.encoding, "replace").count("\n")


def _is_text(content: bytes) -> bool:
    """Return whether bytes are UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _state(file: BinaryIO) -> tuple[int, int, int]:
    """Return what changes when a file is written to or replaced: size, time in ns, number."""
    status = Path(file.name).stat()  # of the name: another file may have taken it
    return status.st_size, status.st_mtime_ns, status.st_ino


def _has_changed(
    path: Path, hint: str = "put it back as it was and go on, or begin again"
) -> DataError:
    return DataError(f"{path}: has changed while it was read", hint)


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b" or path.suffix.lower() == ".gz"


def _sums(sizes: "array[int]") -> "np.ndarray[Any, np.dtype[np.int64]]":
    return np.concatenate([[0], np.cumsum(np.frombuffer(sizes, dtype=np.int64))]).astype(np.int64)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


Text: TypeAlias = str | LongText
"""What a language model learns from or is measured on."""
