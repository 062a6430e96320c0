"""Examples in little more memory than their file takes: each is made where one is looked at.

Not here: how a task's examples are packed. Rows of tables are in `packed_rows.py`.
"""

from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import eq
from typing import Any, TypeVar, overload

__all__ = ["Items", "Joined", "PackedExamples", "PackedPieces", "ReadOnce", "Selected", "Texts"]

Item = TypeVar("Item")

_BLOCK = 2**20  # bytes: one that grew with a file would be copied, and twice there meanwhile


class Items(Sequence[Item]):
    """A sequence whose items are made where they are looked at; it equals a list of equal ones."""

    @abstractmethod
    def item(self, place: int) -> Item:
        """Return the item at a place from 0, which is there."""

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return Selected(self, range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError("no such item")
        return self.item(index % len(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as of a list


class PackedPieces:
    """Pieces of bytes under whole numbers; one that is there never changes.

    Example:
        >>> pieces = PackedPieces()
        >>> pieces.put(1, b"second")
        >>> pieces.get(1), pieces.get(0), pieces.get(7)
        (b'second', None, None)
    """

    def __init__(self) -> None:
        self._blocks = [bytearray()]
        self._block_of = array("i")  # of each number; -1: there is no piece
        self._begins = array("I")
        self._sizes = array("I")

    def __len__(self) -> int:
        """One more than the greatest number that has a piece."""
        return len(self._sizes)

    def put(self, number: int, piece: bytes) -> None:
        """Keep a piece under a number that has none."""
        if (missing := number + 1 - len(self)) > 0:
            self._block_of.extend([-1] * missing)
            self._begins.extend([0] * missing)
            self._sizes.extend([0] * missing)
        if len(self._blocks[-1]) > _BLOCK:
            self._blocks.append(bytearray())
        self._block_of[number] = len(self._blocks) - 1
        self._begins[number] = len(self._blocks[-1])
        self._sizes[number] = len(piece)
        self._blocks[-1] += piece

    def get(self, number: int) -> bytes | None:
        """Return the piece of a number, None where there is none."""
        if number >= len(self) or self._block_of[number] < 0:
            return None
        begin = self._begins[number]
        return bytes(self._blocks[self._block_of[number]][begin : begin + self._sizes[number]])


class Texts(Items[str]):
    """Texts, to which more are added at the end."""

    def __init__(self) -> None:
        self._pieces = PackedPieces()

    def append(self, text: str) -> None:
        """Add a text; it may have halves of surrogate pairs."""
        self._pieces.put(len(self._pieces), text.encode("utf-8", "surrogatepass"))

    def __len__(self) -> int:
        return len(self._pieces)

    def item(self, place: int) -> str:
        """Return a text."""
        piece = self._pieces.get(place)
        assert piece is not None
        return piece.decode("utf-8", "surrogatepass")


class Selected(Items[Item]):
    """Some of a sequence's items, which stay there.

    Args:
        items: All of them.
        numbers: Those that are meant.

    Example:
        >>> [*Selected("abcd", [3, 0])]
        ['d', 'a']
    """

    def __init__(self, items: Sequence[Item], numbers: Sequence[int]) -> None:
        self._items = items
        self._numbers = numbers if isinstance(numbers, range) else array("q", numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def item(self, place: int) -> Item:
        """Return the item of a number."""
        return self._items[self._numbers[place]]


class Joined(Items[Item]):
    """Sequences, one after the other.

    Example:
        >>> both = Joined(["ab", "c"])
        >>> both[2], [*both[1:]]
        ('c', ['b', 'c'])
    """

    def __init__(self, parts: Sequence[Sequence[Item]]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._ends = [*accumulate(map(len, self._parts))]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def item(self, place: int) -> Item:
        """Return an item of a part."""
        number = bisect_right(self._ends, place)
        return self._parts[number][place - self._ends[number]]  # from the end


class ReadOnce:
    """An example of which what a task makes is kept, and not made again in each pass."""

    __slots__ = ("_kept",)
    _kept: Any

    def as_read_by(self, reader: object, read: Callable[[], Any]) -> Any:
        """Return `read()`: at the first time, and when another reader has come between."""
        kept = getattr(self, "_kept", None)
        if isinstance(kept, _Place):
            return kept.examples.as_read_by(kept.number, reader, read)
        if kept is None or kept[0] is not reader:
            kept = (reader, read())
            object.__setattr__(self, "_kept", kept)  # of what is frozen
        return kept[1]


Example = TypeVar("Example", bound=ReadOnce)


class PackedExamples(Items[Example]):
    """Examples, to which more are added at the end, and what the last reader made of each."""

    def __init__(self) -> None:
        self._reader: object = None
        self._readings = PackedPieces()

    @abstractmethod
    def append(self, example: Example) -> None:
        """Add an example."""

    @abstractmethod
    def example(self, number: int) -> Example:
        """Return an example that is equal to one that was added."""

    def item(self, place: int) -> Example:
        """Return an example that knows where it is."""
        example = self.example(place)
        object.__setattr__(example, "_kept", _Place(self, place))
        return example

    def as_read_by(self, number: int, reader: object, read: Callable[[], bytes]) -> bytes:
        """Return `read()` of an example, as `ReadOnce` does."""
        if self._reader is not reader:
            self._reader, self._readings = reader, PackedPieces()
        reading = self._readings.get(number)
        if reading is None:
            reading = read()
            self._readings.put(number, reading)
        return reading


class _Place:
    __slots__ = ("examples", "number")

    def __init__(self, examples: PackedExamples[Any], number: int) -> None:
        self.examples = examples
        self.number = number
