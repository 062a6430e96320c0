"""Which streams of a pool there are: the numbers that they are known by, and where each is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.errors import OptionError

__all__ = ["Rows", "StreamNumbers"]

Rows = int | Sequence[int] | Tensor | NDArray[np.integer[Any]]


class StreamNumbers:
    """The streams of a pool by their numbers, none of which is used again.

    Args:
        where: Of whom errors speak.
        capacity: The most streams at a time.

    Attributes:
        by_slot: The number of the stream in each slot, (capacity,) of int64; -1: none. Kernels
            read it where it is.
    """

    def __init__(self, where: str, capacity: int) -> None:
        self._where, self.capacity = where, capacity
        with torch.inference_mode(False):
            self.by_slot = torch.full((capacity,), -1, dtype=torch.int64, device="cpu")
        self._next = list(range(capacity))  # the number of the next stream in each slot
        self._free = list(range(capacity))[::-1]
        self._joined: dict[int, None] = {}  # in order
        self._share()

    def _share(self) -> None:
        self._numbers: NDArray[np.int64] = self.by_slot.numpy()
        self._all: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return how many streams there are."""
        return len(self._joined)

    def __contains__(self, number: object) -> bool:
        """Return whether there is a stream of this number."""
        return number in self._joined

    def listed(self) -> list[int]:
        """Return the numbers of the streams, in the order in which they joined."""
        return list(self._joined)

    def free_slot(self) -> int:
        """Return the slot that `join` takes next.

        Raises:
            OptionError: There are `capacity` streams.
        """
        if not self._free:
            raise OptionError(
                f"{self._where}: all {self.capacity} streams are in use",
                "leave(row) frees one; streams(capacity) says how many there can be",
            )
        return self._free[-1]

    def join(self) -> int:
        """Return the number of a stream that begins, in `free_slot`."""
        slot = self._free.pop()
        number = self._next[slot]
        self._next[slot] += self.capacity
        self._numbers[slot] = number
        self._joined[number] = None
        self._all = None
        return number

    def leave(self, numbers: NDArray[np.int64]) -> None:
        """Free the slots of streams.

        Raises:
            OptionError: As of `slots_of`.
        """
        for slot in self.slots_of(numbers).tolist():
            del self._joined[int(self._numbers[slot])]
            self._numbers[slot] = -1
            self._free.append(slot)
        self._all = None

    def all(self) -> NDArray[np.int64]:
        """Return the numbers of all streams, in the order in which they joined."""
        if self._all is None:
            self._all = np.array(list(self._joined), np.int64)
        return self._all

    def numbers_of(self, rows: Any) -> NDArray[np.int64]:
        """Return the numbers of streams that `rows` names, all of them if it is None.

        Raises:
            OptionError: They are no numbers.
        """
        return self.all() if rows is None else self.named(rows)

    def named(self, rows: Any) -> NDArray[np.int64]:
        """Return the numbers that `rows` names, which is not None.

        Raises:
            OptionError: They are no numbers.
        """
        values = rows.cpu().numpy() if isinstance(rows, Tensor) else rows
        numbers = np.atleast_1d(np.asarray(values))
        if not numbers.size:
            numbers = numbers.astype(np.int64)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise OptionError(
                f"{self._where}: rows must be numbers that join() returned, got {rows!r}"
            )
        return np.ascontiguousarray(numbers, np.int64)

    def slots_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the streams of these numbers are.

        Raises:
            OptionError: There is no stream of a number, or it is named twice.
        """
        slots = numbers % self.capacity
        gone = (self._numbers[slots] != numbers) | (numbers < 0)
        if gone.any():
            number = int(numbers[gone.argmax()])
            known = 0 <= number < self._next[number % self.capacity]
            raise OptionError(
                f"{self._where}: stream {number} {'has left' if known else 'never joined'}",
                "join() opens a stream and returns its number",
            )
        values, counts = np.unique(numbers, return_counts=True)
        if len(values) < len(numbers):
            raise OptionError(
                f"{self._where}: stream {values[counts.argmax()]} is named twice in one call",
                "push() takes several steps of a stream",
            )
        return slots

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds, which shares nothing with this one."""
        state = {name: v for name, v in self.__dict__.items() if name not in ("_numbers", "_all")}
        state["by_slot"] = self.by_slot.clone()
        for name in ("_next", "_free", "_joined"):
            state[name] = state[name].copy()
        return state

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__ |= kept
        self._share()
