"""The weights of one layer in one direction, as every path of a recurrence takes them."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from unrolled.cells import Cell
from unrolled.errors import ShapeError

__all__ = ["Weights"]


class Weights(NamedTuple):
    """The weights of one layer in one direction, in torch.nn's layout.

    weight_ih: (F * H, I), F the number of gates that read the input; weight_hh: (R * H, P), R the
    number of recurrent gates; bias_ih: (F * H,); bias_hh: (R * H,); weight_hr: (P, H), the
    projection of LSTMs with `proj_size`; parameters: the cell's per-unit vectors, (H,) each, in the
    cell's order. P = H without a projection.
    """

    weight_ih: Tensor
    weight_hh: Tensor | None
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    weight_hr: Tensor | None
    parameters: tuple[Tensor, ...]

    @classmethod
    def of(
        cls, cell: Cell, tensors: Sequence[Tensor], *, biased: bool, projected: bool = False
    ) -> "Weights":
        """Return the weights that `tensors` are, as `tensors()` lists them.

        Raises:
            ShapeError: There are more of them, or fewer.
        """
        recurrent, rest = bool(cell.recurrent), iter(tensors)
        present = (recurrent, biased, biased and recurrent, projected)
        count = 1 + sum(present) + len(cell.parameters)
        if len(tensors) != count:
            raise ShapeError(f"cell {cell.name}: has {count} weights, got {len(tensors)}")
        weight_ih = next(rest)
        weight_hh, bias_ih, bias_hh, weight_hr = (next(rest) if p else None for p in present)
        return cls(weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, tuple(rest))

    def tensors(self) -> list[Tensor]:
        """Return the tensors that are there, in order."""
        return [*(weight for weight in self[:5] if weight is not None), *self.parameters]
