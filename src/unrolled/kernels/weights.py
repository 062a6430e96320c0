"""The weights of one layer in one direction, as every path of a recurrence takes them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from unrolled.cells import Cell
from unrolled.errors import ShapeError

__all__ = ["Weights", "recurrent_product"]


class Weights(NamedTuple):
    """The weights of one layer in one direction, in torch.nn's layout.

    weight_ih: (F * H, I), F the number of gates that read the input; weight_hh: (R * H, P), R the
    number of recurrent gates; bias_ih: (F * H,); bias_hh: (R * H,); weight_hr: (P, H), the
    projection of LSTMs with `proj_size`; parameters: the cell's per-unit vectors, (H,) each, in the
    cell's order. P = H without a projection. With heads of K units each, weight_hh is (R * H, K):
    a unit reads the outputs of its own head.
    """

    weight_ih: Tensor
    weight_hh: Tensor | None
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    weight_hr: Tensor | None
    parameters: tuple[Tensor, ...]

    def head_size(self, cell: Cell, output_size: int) -> int:
        """Return how many outputs a unit reads: those of its own head, or all of them, P.

        Raises:
            ShapeError: The outputs are not so many heads.
        """
        size = output_size if self.weight_hh is None else self.weight_hh.shape[-1]
        if size < 1 or output_size % size:
            raise ShapeError(
                f"cell {cell.name}: {output_size} units are not heads of {size}",
                "the columns of weight_hh are the units of a head, and divide hidden_size",
            )
        return size

    @staticmethod
    def shapes(
        cell: Cell, input_size: int, hidden_size: int, head_size: int
    ) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of weight_ih, weight_hh, bias_ih and bias_hh."""
        gates, recurrent = len(cell.feedforward) * hidden_size, len(cell.recurrent) * hidden_size
        return (gates, input_size), (recurrent, head_size), (gates,), (recurrent,)

    def has_heads(self, output_size: int) -> bool:
        """Whether the recurrent weights are those of heads: of fewer than all outputs, P."""
        return self.weight_hh is not None and self.weight_hh.shape[-1] != output_size

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


def recurrent_product(vector: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return W v + b, of some gates at once.

    Args:
        vector: v, (..., P).
        weight: W, (G * H, P); or with heads (G * H, K), the blocks on the diagonals of G matrices.
        bias: b, (G * H,), or None.
    """
    head_size = weight.shape[-1]
    if vector.shape[-1] == head_size:
        return linear(vector, weight, bias)
    # block by block, for ONNX: all at once, a graph of it has the number of rows in it
    products = [
        linear(vector.narrow(-1, row % vector.shape[-1], head_size), weight[row : row + head_size])
        for row in range(0, len(weight), head_size)
    ]
    product = torch.cat(products, dim=-1)
    return product if bias is None else product + bias
