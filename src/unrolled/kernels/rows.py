"""How packed rows lie in memory, and which thread has which."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["Rows", "lay_out"]

_MOST_ROWS_OF_A_PART = 1024  # a thread has pointers to its rows on its stack
_FEWEST_ROWS_OF_A_PART = 12  # two tiles or more
# said each time, because a user may have changed torch's defaults
_INDEX: Any = {"dtype": torch.int64, "device": "cpu"}


@dataclass(frozen=True, eq=False)
class Rows:
    """A batch of packed rows, the longest first.

    Args:
        batch_sizes: The number of rows at each step, (T,).
        starts: The first packed row of each step, (T,).
        parts: The bounds of the parts of the batch, whose rows threads run, (num_parts + 1,).
        num_rows: Packed rows, N.
        num_begun: Rows of the batch that are not of length zero.
        even: Whether these are all of one length.
    """

    batch_sizes: Tensor
    starts: Tensor
    parts: Tensor
    num_rows: int
    num_begun: int
    even: bool

    @cached_property
    def last(self) -> Tensor:
        """The packed row where each row of the batch ends, (num_begun,)."""
        rows = torch.arange(self.num_begun, **_INDEX)
        lengths = (self.batch_sizes[:, None] > rows).sum(0)
        return self.starts[lengths - 1] + rows


@lru_cache(maxsize=64)
def lay_out(batch_sizes: tuple[int, ...], num_threads: int) -> Rows:
    """Return the layout of rows, `batch_sizes[t]` at step t, in parts of equal work."""
    with torch.inference_mode(False):  # for these are kept
        sizes = torch.tensor(batch_sizes, **_INDEX)
        starts = sizes.cumsum(0) - sizes
        begun = batch_sizes[0]
        lengths = (sizes[:, None] > torch.arange(begun, **_INDEX)).sum(0)
        work = torch.cat([torch.zeros(1, **_INDEX), lengths.cumsum(0)])
        num_rows = int(work[-1])
        num_parts = max(min(num_threads, begun), -(-begun // _MOST_ROWS_OF_A_PART))
        # several for each thread: one that another process slows down takes fewer
        num_parts = max(num_parts, min(2 * num_threads, begun // _FEWEST_ROWS_OF_A_PART))
        shares = [-(-num_rows * part // num_parts) for part in range(num_parts + 1)]
        parts = torch.searchsorted(work, torch.tensor(shares, **_INDEX))
        if int(parts.diff().max()) > 2 * _MOST_ROWS_OF_A_PART:  # many short rows in the last
            num_parts = -(-begun // _MOST_ROWS_OF_A_PART)
            parts = torch.arange(num_parts + 1, **_INDEX) * begun // num_parts
    return Rows(sizes, starts, parts, num_rows, begun, batch_sizes[-1] == begun)
