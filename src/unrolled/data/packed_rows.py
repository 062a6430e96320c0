"""Rows of a table in little more memory than their file takes.

A text in Python takes 49 bytes beside its characters, and a row of them a dictionary. Here rows lie
in blocks, whose columns are one piece of memory each, and a `Row` is made where one is looked at.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, overload

from unrolled.data.memory import give_back

__all__ = ["PackedRows", "Row"]

_BLOCK = 1024  # rows
_GIVEN_BACK = 128  # blocks
_INT64 = 2**63
_SMALL = 2**16


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Args:
        line: Where it begins in the file, from 1; in Parquet the number of the row, from 1.
        values: By the name of the column: text in CSV and TSV, anything in JSON lines and Parquet.
            A value that is missing is None: null, a key that this object lacks. In CSV and TSV an
            empty field is the empty text.
    """

    line: int
    values: dict[str, Any]


class PackedRows(Sequence[Row]):
    """Rows, to which more are added at the end; those that are there never change.

    A value comes back as it was: of the same type, and equal, also NaN and halves of surrogate
    pairs. One that a row lacks is None.

    Args:
        names: Of the columns that are kept; None for all.
        block: Rows that are packed together at first, later more; those of an unfinished block
            take many times the memory.

    Example:
        >>> rows = PackedRows(["text"])
        >>> rows.add(2, {"text": "good", "stars": 5})
        >>> rows[0]
        Row(line=2, values={'text': 'good'})
    """

    def __init__(self, names: Sequence[str] | None = None, block: int = _BLOCK) -> None:
        self._block = block
        self._wanted = None if names is None else [*dict.fromkeys(names)]
        self._names: dict[str, None] = {}  # a set that keeps the order
        self._blocks: list[_Block] = []
        self._starts: list[int] = []  # the number of the first row of each
        self._num_packed = 0
        self._lines: list[int] = []
        self._values: list[dict[str, Any]] = []

    def add(self, line: int, values: dict[str, Any]) -> None:
        """Add a row.

        Args:
            line: Where it begins in the file.
            values: By the names of the columns, of which those are kept that are wanted.
        """
        self._lines.append(line)
        self._values.append(values)
        if len(self._lines) == self._block:
            self._close()

    def drop(self, name: str) -> None:
        """Take a column out."""
        self._close()
        self._names.pop(name, None)
        for block in self._blocks:
            block.columns.pop(name, None)

    def emptied(self) -> Iterator[Row]:
        """Yield the rows, and keep none: memory is free again while they are made other things."""
        self._close()
        blocks, self._blocks, self._starts = self._blocks[::-1], [], []
        self._num_packed = 0
        while blocks:
            yield from self._rows(blocks.pop())
            if len(blocks) % _GIVEN_BACK == 0:
                give_back()

    def __len__(self) -> int:
        return self._num_packed + len(self._lines)

    def __iter__(self) -> Iterator[Row]:
        self._close()
        for block in self._blocks:
            yield from self._rows(block)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        self._close()
        if not -len(self) <= index < len(self):
            raise IndexError("no such row")
        place = index % len(self)
        number = bisect_right(self._starts, place) - 1
        block, place = self._blocks[number], place - self._starts[number]
        values = {name: _value(block.columns.get(name), place) for name in self._names}
        return Row(block.lines[place], values)

    def _rows(self, block: "_Block") -> Iterator[Row]:
        names, nothing = [*self._names], [None] * len(block.lines)
        columns = (
            _unpacked(block.columns[name]) if name in block.columns else nothing for name in names
        )
        if not names:
            yield from (Row(line, {}) for line in block.lines)
            return
        for line, values in zip(block.lines, zip(*columns, strict=True), strict=True):
            yield Row(line, dict(zip(names, values, strict=True)))

    def _close(self) -> None:
        """Pack the rows that are not yet in a block."""
        if not self._lines:
            return
        if self._wanted is None:
            names = [*dict.fromkeys(name for values in self._values for name in values)]
        else:
            names = self._wanted
        self._names |= dict.fromkeys(names)
        columns = {name: _packed([values.get(name) for values in self._values]) for name in names}
        self._starts.append(self._num_packed)
        self._num_packed += len(self._lines)
        self._blocks.append(_Block(_packed_lines(self._lines), columns))
        self._lines, self._values = [], []
        self._block = min(_BLOCK, 2 * self._block)


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts in UTF-8, one after the other, and where each begins and the last one ends."""

    content: bytes
    bounds: "array[int]"


_Column = _Texts | Sequence[Any]


@dataclass(frozen=True, slots=True)
class _Block:
    lines: Sequence[int]
    columns: dict[str, _Column]


def _packed_lines(lines: list[int]) -> Sequence[int]:
    whole = range(lines[0], lines[0] + len(lines))
    return whole if lines[-1] == whole[-1] and all(b > a for a, b in pairwise(lines)) else [*lines]


def _packed(values: list[Any]) -> _Column:
    (kind, *others) = {type(value) for value in values}
    if others:
        return values
    if kind is str:
        encoded = [value.encode("utf-8", "surrogatepass") for value in values]
        bounds = [0, *accumulate(map(len, encoded))]
        return _Texts(b"".join(encoded), array("H" if bounds[-1] < _SMALL else "Q", bounds))
    if kind is float:
        return array("d", values)
    if kind is int and -_INT64 <= min(values) and max(values) < _INT64:
        return array("q", values)
    return values


def _value(column: _Column | None, place: int) -> Any:
    if column is None:
        return None
    if isinstance(column, _Texts):
        content = column.content[column.bounds[place] : column.bounds[place + 1]]
        return content.decode("utf-8", "surrogatepass")
    return column[place]


def _unpacked(column: _Column) -> Sequence[Any]:
    if not isinstance(column, _Texts):
        return column
    if column.content.isascii():
        text = column.content.decode()
        return [text[start:end] for start, end in pairwise(column.bounds)]
    return [
        column.content[start:end].decode("utf-8", "surrogatepass")
        for start, end in pairwise(column.bounds)
    ]
