"""A batch with its padding, as a traced graph holds it: what the operators are given."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from unrolled.cells.registry import find_cell
from unrolled.errors import ShapeError
from unrolled.kernels.rows import RaggedRows, check_lengths
from unrolled.kernels.running.problem import Problem, Signature, split
from unrolled.kernels.running.recurrence import recurrence

__all__ = ["PaddedBatch", "padded"]


class PaddedBatch(NamedTuple):
    """The arguments with which every operator begins: one layer in one direction, padded.

    x: (T, B, I). lengths: (B,), not yet checked; None for T. states, weights: as in `Problem`, the
    rows in the order of `x`. cell: Its key. biased, projected, reverse: as in `Signature`.
    """

    x: Tensor
    lengths: Tensor | None
    states: Sequence[Tensor]
    weights: Sequence[Tensor]
    cell: str
    biased: bool
    projected: bool
    reverse: bool

    def tensors(self) -> list[Tensor]:
        """Return x, the states and the weights."""
        return [self.x, *self.states, *self.weights]

    def with_tensors(self, tensors: Sequence[Tensor]) -> "PaddedBatch":
        """Return the same batch of other `tensors()`."""
        x, states, weights = split(tensors, len(self.states))
        return self._replace(x=x, states=states, weights=weights)

    def flattened(self) -> tuple[RaggedRows, Problem]:
        """Return how the rows lie without padding, the longest first, and the problem so laid out.

        Raises:
            ShapeError: Impossible lengths, or another number of tensors, dims or rows than the cell
                and x ask for.
        """
        cell, where = find_cell(self.cell), f"cell {find_cell(self.cell).name}"
        if self.x.dim() != 3 or len(self.states) != len(cell.states):
            raise ShapeError(
                f"{where}: needs x (T, B, I) and {len(cell.states)} states, got x "
                f"{tuple(self.x.shape)} and {len(self.states)} states"
            )
        num_steps, batch_size, _ = self.x.shape
        for name, state in zip(cell.states, self.states, strict=True):
            if state.dim() != 2 or state.shape[0] != batch_size:
                shape = tuple(state.shape)
                raise ShapeError(f"{where}: state {name} must be ({batch_size}, H), got {shape}")
        rows = RaggedRows.even(num_steps, batch_size)
        if self.lengths is not None:
            device = self.x.device
            lengths = check_lengths(where, self.lengths, num_steps, batch_size, device)
            rows = RaggedRows.of(lengths, num_steps)
        states = (rows.sort(state) for state in self.states)
        signature = Signature(cell, self.biased, self.projected, self.reverse)
        tensors = [rows.drop_padding(self.x), *states, *self.weights]
        return rows, signature.problem(tensors, rows.batch_sizes)

    def solved(self) -> list[Tensor]:
        """Return the results of `unrolled::recurrence`, which may share memory."""
        rows, (cell, x, _, weights, states, reverse) = self.flattened()
        output, after = recurrence(cell, x, rows, weights, states, reverse=reverse)
        return padded(rows, (output, *after))


def padded(rows: RaggedRows, results: Sequence[Tensor]) -> list[Tensor]:
    """Return the output and the states of a problem as those of the padded batch."""
    output, *after = results
    return [rows.restore_padding(output), *map(rows.unsort, after)]
