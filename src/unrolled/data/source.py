"""What a model is to read now: a file, the standard input, or what somebody has at hand.

Not for data sets with labels; each format has a reader of its own.
"""

import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Self

from unrolled.data.batching import Item, batches_that_come
from unrolled.data.text import check_encoding, read_text, refuse_utf8, split_lines
from unrolled.errors import DataError, field

__all__ = ["Source"]

_HANDED_OVER = "the input"  # what messages call that which has no path
_LINES_SEEN = 200


@dataclass(frozen=True)
class Source:
    r"""Input to predict from: lines, with a name for messages. Made by one of the class methods.

    Args:
        name: What messages call it.
        path: The file, None for what is no file.
        content: What was handed over, None for what is still to be read.
        encoding: Of its lines.

    Example:
        >>> list(Source.text("one\ntwo").lines())
        ['one', 'two']
    """

    name: str
    path: Path | None = None
    content: bytes | None = None
    encoding: str = "utf-8"

    @classmethod
    def file(cls, path: Path, encoding: str = "utf-8") -> Self:
        """Return the lines of a file."""
        return cls(str(path), path=path, encoding=encoding)

    @classmethod
    def stdin(cls, encoding: str = "utf-8") -> Self:
        """Return the lines of the standard input, as they come."""
        return cls("standard input", encoding=encoding)

    @classmethod
    def text(cls, text: str) -> Self:
        """Return the lines of a text."""
        return cls(_HANDED_OVER, content=text.encode("utf-8", "surrogatepass"))

    @classmethod
    def of_bytes(cls, content: bytes) -> Self:
        """Return the content of a picture or a recording."""
        return cls(_HANDED_OVER, content=content)

    @property
    def is_handed_over(self) -> bool:
        """Whether it came from somebody else, who may have made it to do harm."""
        return self.content is not None

    @property
    def is_interactive(self) -> bool:
        """Whether somebody may wait for an answer to each line."""
        return self.path is None and self.content is None

    def in_batches(self, items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
        """Yield what is read of this as it comes, so many at a time; where somebody waits, one."""
        return batches_that_come(items, 1 if self.is_interactive else batch_size)

    def head(self, num_bytes: int) -> bytes:
        """Return the first bytes of a file, or of what was handed over.

        Raises:
            OSError: The file is missing or cannot be read.
        """
        if self.content is not None:
            return self.content[:num_bytes]
        assert self.path is not None
        with self.path.open("rb") as file:
            return file.read(num_bytes)

    def for_library(self) -> Path | BinaryIO:
        """Return what libraries that decode files take: a path, or an open file of the content."""
        if self.content is not None:
            return io.BytesIO(self.content)
        assert self.path is not None
        return self.path

    def __str__(self) -> str:
        return self.name

    def lines(self) -> Iterator[str]:
        """Yield the lines as they come, without their ends.

        Raises:
            DataError: The file cannot be read, or a line is not text in the encoding, or UTF-8
                where that would take any bytes; it names the line.
            OptionError: No such encoding.
        """
        check_encoding(self.encoding)
        if self.content is not None:
            yield from self._decode(io.BytesIO(self.content))
        elif self.path is None:
            yield from self._decode(sys.stdin.buffer)
        else:
            yield from self._file_lines(self.path)

    def begun(self) -> tuple[list[str], Iterator[str]]:
        """Return the first lines, by which a format is known, and all of them.

        Of what somebody may wait for an answer to, that is one line.

        Raises:
            DataError: As `lines`, where the first line is read.
        """
        pieces = self.in_batches(self.lines(), _LINES_SEEN)
        first = next(pieces, [])
        return first, chain(first, chain.from_iterable(pieces))

    def _file_lines(self, path: Path) -> Iterator[str]:
        try:
            file = path.open("rb")
        except (OSError, ValueError) as error:  # ValueError: a name with NUL
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(f"{path}: cannot be read: {reason}") from None
        with file:
            try:
                if "\n".encode(self.encoding) != b"\n" or file.peek(2)[:2] == b"\x1f\x8b":
                    yield from split_lines(read_text([path], self.encoding))
                    return
                yield from self._decode(file)
            except OSError as error:  # a folder opens, but does not read
                raise DataError(f"{path}: cannot be read: {error.strerror}") from None

    def _decode(self, lines: Iterable[bytes]) -> Iterator[str]:
        for number, line in enumerate(lines, 1):
            where = f"{self.name}, line {number}"
            try:
                text = line.decode(self.encoding)
            except UnicodeDecodeError:
                name = "UTF-8" if self.encoding == "utf-8" else self.encoding
                hint = f"convert it to UTF-8, or name its encoding by {field('encoding')}"
                raise DataError(f"{where}: not {name} text", hint) from None
            refuse_utf8(where, line, self.encoding)
            yield text.removeprefix("\ufeff" if number == 1 else "").rstrip("\r\n")
