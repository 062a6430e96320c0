"""Batches whose rows end at different steps, or are cut: how they become rows without padding.

Not for splitting or sorting data sets; that is the readers' business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import ShapeError
from unrolled.kernels.memory import check_memory

__all__ = [
    "PaddedRows",
    "Pieces",
    "RaggedRows",
    "check_lengths",
    "exchanged",
    "keeps_padding",
    "lengths_tensor",
    "steps_and_rows",
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
        return lengths.to(device, torch.int64)
    check_memory(f"{where}: lengths", lengths)
    if batch_size and not 0 <= lengths.min() <= lengths.max() <= num_steps:
        raise ShapeError(
            f"{where}: lengths must lie in 0..{num_steps}, "
            f"got {int(lengths.min())}..{int(lengths.max())}",
            "a row cannot be longer than the input",
        )
    return lengths.to(device, torch.int64)


def valid_steps(lengths: Tensor, num_steps: int) -> Tensor:
    """Return which steps lie before each row's end, (T, B) boolean."""
    return torch.arange(num_steps, device=lengths.device)[:, None] < lengths


def steps_and_rows(batch_sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Return of which step each row of a batch without padding is, and which one of it, (N,) each.

    Args:
        batch_sizes: The number of rows at each step, (T,).
    """
    step = torch.arange(len(batch_sizes), device=batch_sizes.device).repeat_interleave(batch_sizes)
    starts = batch_sizes.cumsum(0) - batch_sizes
    return step, torch.arange(len(step), device=batch_sizes.device) - starts[step]


@dataclass(frozen=True)
class Pieces:
    """The P pieces into which `resets=` cuts the rows of a batch, row after row, in their order.

    Args:
        row: The row of the batch that each is of, (P,).
        first: Its first step there, (P,).
        length: Its steps, (P,); zero only for a row of length zero.
        continues: Whether it goes on from the state that its row is given, (P,) of bool; the others
            begin from zeros.
        is_last: Whether its end is that of its row, (P,) of bool.
    """

    row: Tensor
    first: Tensor
    length: Tensor
    continues: Tensor
    is_last: Tensor

    @classmethod
    def of(cls, lengths: Tensor | None, resets: Tensor) -> "Pieces | None":
        """Return the pieces of a batch; None where no mark counts.

        Args:
            lengths: Of the rows, checked, (B,); None: T each.
            resets: Before which steps a row's state starts anew, (T, B) of bool. Those past a row's
                end do not count.
        """
        num_steps, batch_size = resets.shape
        if lengths is None:
            lengths = torch.full((batch_size,), num_steps, device=resets.device)
        cuts = resets & valid_steps(lengths, num_steps)
        if not bool(cuts.any()):
            return None
        begins = cuts.clone()
        begins[0] = True
        row, first = begins.T.nonzero(as_tuple=True)
        is_last = torch.ones_like(row, dtype=torch.bool)
        is_last[:-1] = row[1:] != row[:-1]
        end = torch.where(is_last, lengths[row], first.roll(-1))
        return cls(row, first, end - first, ~cuts[first, row], is_last)


@dataclass(frozen=True)
class RaggedRows:
    """How a padded batch (T, B, ...) lies without its padding, (N, ...), the longest row first.

    All rows of the first step come first, then all rows that reach the second step, and so on, as
    in a PackedSequence. Where rows are cut, each piece lies there as a row does, and has a state of
    its own: P of them for the B rows.

    Args:
        batch_sizes: The number of rows at each step, never growing; their sum is N.
        num_steps: T, of the padded batch.
        batch_size: B.
        order: The rows of the batch, longest first, (B,); None where they are in order already. Of
            pieces the row that each is of, (P,).
        index: For each of the N rows its place in the padded batch, flattened to (T * B,); None
            where nothing is padded.
        places: The inverse of `index`, (T * B,), where pieces fill the batch.
        begins: Of pieces, the numbers of those that go on from their rows' states; None: all rows.
        firsts: Of pieces, the number of the first one of each row, (B,).
        ends: Of pieces, the number of the last one of each row, (B,).
    """

    batch_sizes: tuple[int, ...]
    num_steps: int
    batch_size: int
    order: Tensor | None = None
    index: Tensor | None = None
    places: Tensor | None = None
    begins: Tensor | None = None
    firsts: Tensor | None = None
    ends: Tensor | None = None

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

    @classmethod
    def of_pieces(cls, pieces: Pieces, num_steps: int, batch_size: int) -> "RaggedRows":
        """Return the layout of a batch whose rows are cut into `pieces`."""
        length, order = pieces.length.sort(descending=True, stable=True)
        row, first = pieces.row[order], pieces.first[order]
        # without a matrix of all pieces and steps, which may be far larger than the batch
        sizes = len(length) - length.bincount().cumsum(0)[:-1]
        step, piece = steps_and_rows(sizes)
        index = (first[piece] + step) * batch_size + row[piece]
        places = None
        if len(index) == num_steps * batch_size:
            places = torch.empty_like(index)
            places[index] = torch.arange(len(index), device=row.device)
        begins = pieces.continues[order].nonzero()[:, 0]
        number_of = torch.empty_like(order)
        number_of[order] = torch.arange(len(order), device=row.device)
        firsts, ends = number_of[pieces.is_last.roll(1)], number_of[pieces.is_last]
        batch_sizes = tuple(sizes.tolist())
        return cls(batch_sizes, num_steps, batch_size, row, index, places, begins, firsts, ends)

    def drop_padding(self, padded: Tensor) -> Tensor:
        """Return the rows of `padded` (T, B, F) that are not padding, (N, F)."""
        if self.index is not None or not padded.is_contiguous():
            check_memory("input", padded)  # for torch reads it here
        rows = padded.reshape(self.num_steps * self.batch_size, padded.shape[-1])
        if self.places is not None:
            return exchanged(rows, self.index, self.places)
        return rows if self.index is None else rows.index_select(0, self.index)

    def rows_of(self, padded: Tensor) -> Tensor:
        """Return what `drop_padding` does, also for rows that came packed."""
        if self.index is not None or self.batch_sizes == (self.batch_size,) * self.num_steps:
            return self.drop_padding(padded)
        step, row = steps_and_rows(torch.tensor(self.batch_sizes))
        order = torch.arange(self.batch_size) if self.order is None else self.order.cpu()
        return padded[step, order[row]]

    def restore_padding(self, rows: Tensor) -> Tensor:
        """Return `rows` (N, F) as (T, B, F), zero where a row has ended."""
        if self.places is not None:
            rows = exchanged(rows, self.places, self.index)
        elif self.index is not None:
            padded = rows.new_zeros(self.num_steps * self.batch_size, rows.shape[-1])
            rows = padded.index_copy(0, self.index, rows)
        return rows.view(self.num_steps, self.batch_size, rows.shape[-1])

    def sort(self, state: Tensor, anew: Tensor | None = None) -> Tensor:
        """Return `state` (..., B, H) with the longest row first; of pieces that of each.

        `anew`: what pieces begin with that do not go on from their rows', laid out as `state`;
        None: zeros.
        """
        if self.order is None:
            return state
        check_memory("state", state)
        if self.begins is None:
            return state.index_select(-2, self.order)
        known = state.index_select(-2, self.order[self.begins])
        if anew is None:
            others = state.new_zeros(*state.shape[:-2], len(self.order), state.shape[-1])
        else:
            others = anew.index_select(-2, self.order)
        return others.index_copy(-2, self.begins, known)

    def starts(self, state: Tensor) -> Tensor:
        """Return that before the first step of each row of what `sort` has returned."""
        return self.unsort(state) if self.firsts is None else state.index_select(-2, self.firsts)

    def unsort(self, state: Tensor) -> Tensor:
        """Undo `sort`; of pieces, return the state of the last one of each row."""
        if self.order is None:
            return state
        return state.index_select(-2, self.order.argsort() if self.ends is None else self.ends)


def exchanged(rows: Tensor, index: Any, back: Any) -> Tensor:
    """Return `rows` (N, F) in another order, `rows[index]`.

    The gradient of `index_select` adds up row by row, for a row may be taken twice; this one's is
    `d[back]`, many times as fast.

    Args:
        rows: (N, F).
        index: (K,), which row comes to each place.
        back: (N,), to which place each row has come. Gradients of other places that take it must
            be zero, and so that of the place which stands for a row that comes to none.
    """
    if not rows.requires_grad or not torch.is_grad_enabled():
        return rows.index_select(0, index)
    differentiable: Any = _Exchange.apply
    result: Tensor = differentiable(rows, index, back)
    return result


class _Exchange(torch.autograd.Function):
    """The gradient of `exchanged`: the way back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, index: Tensor, back: Tensor) -> Tensor:  # noqa: ARG004
        return rows.index_select(0, index)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, d_exchanged: Tensor) -> Any:
        index, back = ctx.saved_tensors
        return exchanged(d_exchanged, back, index), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return exchanged(tangent, *ctx.saved_tensors)


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

    def sort(self, state: Tensor, anew: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return `state`."""
        return state

    unsort = restore_padding = sort
