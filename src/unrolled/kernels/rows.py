"""Batches whose rows end at different steps: how `lengths=` becomes rows without padding.

Not for splitting or sorting data sets; that is the readers' business.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import ShapeError
from unrolled.kernels.memory import check_memory

__all__ = [
    "PaddedRows",
    "RaggedRows",
    "check_lengths",
    "keeps_padding",
    "lengths_tensor",
    "valid_steps",
]


def lengths_tensor(lengths: Tensor | Sequence[int]) -> Tensor:
    """Return `lengths` as a tensor, of a type with which torch can calculate."""
    if torch.compiler.is_compiling() and isinstance(lengths, (list, tuple)) and lengths:
        # numbers that a graph may hold as unknown: as_tensor would have a new graph for each list
        return torch.stack([torch.full((), length, dtype=torch.int64) for length in lengths])
    tensor = torch.as_tensor(lengths)
    if tensor.shape == (0,) or tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return tensor.long()  # an empty list has no type of its own
    return tensor


def check_lengths(
    where: str,
    lengths: Tensor | Sequence[int],
    num_steps: int,
    batch_size: int,
    device: torch.device,
) -> Tensor:
    """Return `lengths` as an int64 tensor (B,) on `device`.

    Raises:
        ShapeError: Not (B,), not whole numbers, or a length outside 0..num_steps.
    """
    lengths = lengths_tensor(lengths)
    if lengths.dtype == torch.bool or lengths.is_floating_point() or lengths.is_complex():
        raise ShapeError(f"{where}: lengths must be whole numbers, got {lengths.dtype}")
    if lengths.shape != (batch_size,):
        raise ShapeError(
            f"{where}: lengths must be ({batch_size},), got {tuple(lengths.shape)}",
            "one length for each row of the batch",
        )
    if torch.compiler.is_compiling():  # the values are known when the graph runs, not yet here
        possible = (lengths >= 0) & (lengths <= num_steps)
        torch._assert_async(possible.all(), f"{where}: lengths must lie in 0..T")
    elif batch_size and not 0 <= lengths.min() <= lengths.max() <= num_steps:
        raise ShapeError(
            f"{where}: lengths must lie in 0..{num_steps}, "
            f"got {int(lengths.min())}..{int(lengths.max())}",
            "a row cannot be longer than the input",
        )
    return lengths.to(device, torch.int64)


def valid_steps(lengths: Tensor, num_steps: int) -> Tensor:
    """Return which steps lie before each row's end, (T, B) boolean."""
    return torch.arange(num_steps, device=lengths.device)[:, None] < lengths


@dataclass(frozen=True)
class RaggedRows:
    """How a padded batch (T, B, ...) lies without its padding, (N, ...), the longest row first.

    All rows of the first step come first, then all rows that reach the second step, and so on, as
    in a PackedSequence.

    Args:
        batch_sizes: The number of rows at each step, never growing; their sum is N.
        num_steps: T, of the padded batch.
        batch_size: B.
        order: The rows of the batch, longest first, (B,); None where they are in order already.
        index: For each of the N rows its place in the padded batch, flattened to (T * B,); None
            where nothing is padded.
    """

    batch_sizes: tuple[int, ...]
    num_steps: int
    batch_size: int
    order: Tensor | None = None
    index: Tensor | None = None

    @classmethod
    def even(cls, num_steps: int, batch_size: int) -> "RaggedRows":
        """Return the layout of a batch without padding."""
        return cls((batch_size,) * num_steps, num_steps, batch_size)

    @classmethod
    def of(cls, lengths: Tensor, num_steps: int) -> "RaggedRows":
        """Return the layout of a batch whose rows have `lengths`, checked, (B,)."""
        batch_size = len(lengths)
        if bool((lengths == num_steps).all()):
            return cls.even(num_steps, batch_size)
        sorted_lengths, order = lengths.sort(descending=True, stable=True)
        valid = valid_steps(sorted_lengths, num_steps)
        batch_sizes = valid.sum(1)
        step, row = valid.nonzero(as_tuple=True)
        reached = tuple(size for size in batch_sizes.tolist() if size)
        return cls(reached, num_steps, batch_size, order, step * batch_size + order[row])

    def drop_padding(self, padded: Tensor) -> Tensor:
        """Return the rows of `padded` (T, B, F) that are not padding, (N, F)."""
        if self.index is not None or not padded.is_contiguous():
            check_memory("input", padded)  # for torch reads it here
        rows = padded.reshape(self.num_steps * self.batch_size, padded.shape[-1])
        return rows if self.index is None else rows.index_select(0, self.index)

    def restore_padding(self, rows: Tensor) -> Tensor:
        """Return `rows` (N, F) as (T, B, F), zero where a row has ended."""
        if self.index is not None:
            padded = rows.new_zeros(self.num_steps * self.batch_size, rows.shape[-1])
            rows = padded.index_copy(0, self.index, rows)
        return rows.view(self.num_steps, self.batch_size, rows.shape[-1])

    def sort(self, state: Tensor) -> Tensor:
        """Return `state` (..., B, H) with the longest row first."""
        if self.order is None:
            return state
        check_memory("state", state)
        return state.index_select(-2, self.order)

    def unsort(self, state: Tensor) -> Tensor:
        """Undo `sort`."""
        return state if self.order is None else state.index_select(-2, self.order.argsort())


def keeps_padding() -> bool:
    """Whether a tracer is at work, whose graph is to hold a recurrence as one operator."""
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


@dataclass(frozen=True)
class PaddedRows:
    """Stands for `RaggedRows` while torch traces a layer, which cannot follow lengths.

    The batch stays as it is, (T, B, ...): the operator that the trace holds drops the padding when
    it runs.

    Args:
        lengths: (B,), to be checked then; None where nothing is padded.
        batch_size: B.
    """

    lengths: Tensor | None
    batch_size: int

    def sort(self, state: Tensor) -> Tensor:
        """Return `state`."""
        return state

    unsort = restore_padding = sort
