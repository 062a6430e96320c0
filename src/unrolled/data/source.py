"""What a model is to read now: a file, or what comes in by the standard input.

Not for data sets with labels; each format has a reader of its own.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import DataError

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """Input to predict from.

    Args:
        path: A file; None is the standard input.
    """

    path: Path | None

    @property
    def name(self) -> str:
        """What messages call it."""
        return "standard input" if self.path is None else str(self.path)

    def lines(self) -> Iterator[str]:
        """Yield the lines as they come, without their ends.

        Raises:
            DataError: The file cannot be read, or a line is not UTF-8; it names the line.
        """
        if self.path is None:
            yield from self._decode(sys.stdin.buffer)
            return
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}", "") from None
        with file:
            try:
                yield from self._decode(file)
            except OSError as error:  # a folder opens, but does not read
                raise DataError(f"{self.path}: cannot be read: {error.strerror}", "") from None

    def _decode(self, lines: Iterator[bytes]) -> Iterator[str]:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                hint = "convert the input to UTF-8"
                raise DataError(f"{self.name}, line {number}: not UTF-8 text", hint) from None
            yield text.rstrip("\r\n")
