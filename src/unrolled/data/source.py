"""What a model is to read now: a file, the standard input, or what somebody has at hand.

Not for data sets with labels; each format has a reader of its own.
"""

import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from unrolled.errors import DataError

__all__ = ["Source"]

_HANDED_OVER = "the input"  # what messages call that which has no path


@dataclass(frozen=True)
class Source:
    r"""Input to predict from: lines, with a name for messages. Made by one of the class methods.

    Args:
        name: What messages call it.
        path: The file, None for what is no file.
        content: What was handed over, None for what is still to be read.

    Example:
        >>> list(Source.text("one\ntwo").lines())
        ['one', 'two']
    """

    name: str
    path: Path | None = None
    content: bytes | None = None

    @classmethod
    def file(cls, path: Path) -> Self:
        """Return the lines of a file."""
        return cls(str(path), path=path)

    @classmethod
    def stdin(cls) -> Self:
        """Return the lines of the standard input, as they come."""
        return cls("standard input")

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
            DataError: The file cannot be read, or a line is not UTF-8; it names the line.
        """
        if self.content is not None:
            yield from self._decode(io.BytesIO(self.content))
        elif self.path is None:
            yield from self._decode(sys.stdin.buffer)
        else:
            yield from self._file_lines(self.path)

    def _file_lines(self, path: Path) -> Iterator[str]:
        try:
            file = path.open("rb")
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        with file:
            try:
                yield from self._decode(file)
            except OSError as error:  # a folder opens, but does not read
                raise DataError(f"{path}: cannot be read: {error.strerror}") from None

    def _decode(self, lines: Iterable[bytes]) -> Iterator[str]:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                hint = "convert the input to UTF-8"
                raise DataError(f"{self.name}, line {number}: not UTF-8 text", hint) from None
            yield text.rstrip("\r\n")
