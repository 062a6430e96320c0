"""What a unit's gates are made of at every step: the input's part and the recurrent part.

Gates and states are recorded as a layer computes them (`record.py`). Their pre-activations are
sums of two products that nobody keeps; here they are computed again, of one unit in float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.cells import Cell
from unrolled.errors import OptionError, ShapeError
from unrolled.kernels import Weights
from unrolled.layers.recurrent import RecurrentLayer

__all__ = ["UnitTerms", "gate_products", "unit_terms"]


@dataclass(frozen=True)
class UnitTerms:
    """The two parts of one unit's pre-activations, by the names of the gates.

    Args:
        x: The input's part, (W_x x_t + b_x) of this unit, (T,) float64 each.
        u: The recurrent part, (W_h h_{t-1} + b_h) of this unit, (T,) float64 each; the gates
            with a recurrent part only.
    """

    x: dict[str, Tensor]
    u: dict[str, Tensor]


def gate_products(
    cell: Cell, weights: Weights, x: Tensor, before: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return W_x x_t + b_x of every gate, and W_h h_{t-1} + b_h of the recurrent ones, by name.

    Args:
        cell: Whose gates.
        weights: Its weights, or those of some of its units.
        x: (..., I).
        before: h_{t-1}, (..., H), projected with `proj_size`.
    """
    parts = F.linear(x, weights.weight_ih, weights.bias_ih).chunk(len(cell.gates), dim=-1)
    from_input = dict(zip(cell.gates, parts, strict=True))
    if weights.weight_hh is None:
        return from_input, {}
    parts = F.linear(before, weights.weight_hh, weights.bias_hh).chunk(len(cell.recurrent), dim=-1)
    return from_input, dict(zip(cell.recurrent, parts, strict=True))


def unit_terms(
    layer: RecurrentLayer, index: int, x: Tensor, h_before: Tensor, unit: int
) -> UnitTerms:
    """Return what the pre-activations of one unit consist of while a layer reads forwards.

    Args:
        layer: The stack that ran.
        index: Which layer of it, from 0.
        x: What that layer read, (T, I).
        h_before: Its output state before each step, (T, H).
        unit: In 0 ... H - 1.

    Returns:
        The terms of every gate: the gate itself is the cell's function of `x + u`.

    Raises:
        OptionError: There is no such layer or unit; the layer is bidirectional; or a gate's
            recurrent product is with a vector that the equations compute.
        ShapeError: `x` and `h_before` are not what this layer reads.

    Example:
        >>> import torch, unrolled
        >>> layer = unrolled.LSTM(3, 4)
        >>> x = torch.randn(5, 3)
        >>> h = unrolled.trace(layer, x)[0].values["h"][:, 0]
        >>> before = torch.cat([torch.zeros(1, 4), h[:-1]])
        >>> sorted(unit_terms(layer, 0, x, before, unit=2).u)
        ['f', 'g', 'i', 'o']
    """
    where = f"unit_terms of {type(layer).__name__}"
    if layer.bidirectional or layer.cell.applied:
        what = "reads both ways" if layer.bidirectional else "applies a gate inside a product"
        raise OptionError(f"{where}: it {what}", "only layers with plain products can be split")
    if not 0 <= index < layer.num_layers:
        raise OptionError(f"{where}: layer must be in 0..{layer.num_layers - 1}, got {index}")
    if not 0 <= unit < layer.hidden_size:
        raise OptionError(f"{where}: unit must be in 0..{layer.hidden_size - 1}, got {unit}")
    cell, weights = layer.cell, layer.weights_of(layer.suffixes[index])
    num_inputs = weights.weight_ih.shape[1]
    if x.dim() != 2 or x.shape[1] != num_inputs or len(h_before) != len(x):
        raise ShapeError(
            f"{where}: x must be (T, {num_inputs}) and h_before (T, H), "
            f"got {tuple(x.shape)} and {tuple(h_before.shape)}"
        )

    rows = slice(unit, None, layer.hidden_size)  # gate lies upon gate, H rows each

    def of_unit(stacked: Tensor | None) -> Tensor | None:
        return None if stacked is None else stacked[rows].double()

    with torch.no_grad():
        mine = Weights(
            weights.weight_ih[rows].double(),
            of_unit(weights.weight_hh),
            of_unit(weights.bias_ih),
            of_unit(weights.bias_hh),
            weight_hr=None,
            parameters=(),
        )
        x_parts, u_parts = gate_products(cell, mine, x.double(), h_before.double())
    return UnitTerms(
        {name: part[:, 0] for name, part in x_parts.items()},
        {name: part[:, 0] for name, part in u_parts.items()},
    )
