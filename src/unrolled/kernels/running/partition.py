"""How the rows of a batch are divided among threads, and where a kernel finds them."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["Partition", "partition_of"]

_MOST_ROWS_OF_A_PART = 1024  # a thread has pointers to its rows on its stack
_FEWEST_ROWS_OF_A_PART = 12  # two tiles or more
# stated each time, because a user may have changed torch's defaults
_INDEX: Any = {"dtype": torch.int64, "device": "cpu"}


@dataclass(frozen=True, eq=False)
class Partition:
    """A batch of rows without padding, the longest first, in parts that threads run.

    Args:
        batch_sizes: The number of rows at each step, (T,).
        starts: Where each step's rows begin among the N, (T,).
        parts: The bounds of the parts of the batch, (num_parts + 1,).
        num_rows: N, the rows of all steps.
        num_nonempty: Rows of the batch that are not of length zero.
        even: Whether these are all of one length.
    """

    batch_sizes: Tensor
    starts: Tensor
    parts: Tensor
    num_rows: int
    num_nonempty: int
    even: bool

    @cached_property
    def bounds(self) -> tuple[int, int, int, int, int]:
        """The numbers of steps and parts; the addresses of sizes, starts and parts."""
        tensors = (self.batch_sizes, self.starts, self.parts)
        counts = (self.batch_sizes.shape[0], self.parts.shape[0] - 1)
        return (*counts, *(tensor.data_ptr() for tensor in tensors))  # type: ignore[return-value]

    @cached_property
    def last(self) -> Tensor:
        """Where each row of the batch ends among the N, (num_nonempty,)."""
        lengths = _lengths(self.batch_sizes, self.num_nonempty)
        return self.starts[lengths - 1] + torch.arange(self.num_nonempty, **_INDEX)


def _lengths(batch_sizes: Tensor, num_rows: int) -> Tensor:
    """Return how many steps each row has, (num_rows,), the longest first.

    Without a matrix of rows and steps: rows that are cut may be many.
    """
    rows = torch.arange(num_rows, **_INDEX)
    return len(batch_sizes) - torch.searchsorted(batch_sizes.flip(0), rows, right=True)


@lru_cache(maxsize=64)
def partition_of(batch_sizes: tuple[int, ...], num_threads: int) -> Partition:
    """Divide a batch with `batch_sizes[t]` rows at step t into parts of equal work."""
    with torch.inference_mode(False):  # for these tensors outlive the call
        sizes = torch.tensor(batch_sizes, **_INDEX)
        starts = sizes.cumsum(0) - sizes
        num_nonempty = batch_sizes[0]
        lengths = _lengths(sizes, num_nonempty)
        work = torch.cat([torch.zeros(1, **_INDEX), lengths.cumsum(0)])
        num_rows = int(work[-1])
        num_parts = max(min(num_threads, num_nonempty), -(-num_nonempty // _MOST_ROWS_OF_A_PART))
        # several for each thread: one that another process slows down takes fewer
        num_parts = max(num_parts, min(2 * num_threads, num_nonempty // _FEWEST_ROWS_OF_A_PART))
        shares = [-(-num_rows * part // num_parts) for part in range(num_parts + 1)]
        parts = torch.searchsorted(work, torch.tensor(shares, **_INDEX))
        if int(parts.diff().max()) > 2 * _MOST_ROWS_OF_A_PART:  # many short rows in the last
            num_parts = -(-num_nonempty // _MOST_ROWS_OF_A_PART)
            parts = torch.arange(num_parts + 1, **_INDEX) * num_nonempty // num_parts
    even = batch_sizes[-1] == num_nonempty
    return Partition(sizes, starts, parts, num_rows, num_nonempty, even)
