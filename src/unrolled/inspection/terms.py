"""What a unit's gates are made of at every step: the input's part and the recurrent part.

Gates and states are recorded as a layer computes them (`record.py`). Their pre-activations are
sums of two products that nobody keeps; here they are computed again, for one unit, in float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import OptionError, ShapeError
from unrolled.layers.recurrent import RecurrentLayer

__all__ = ["UnitTerms", "unit_terms"]


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
    suffix, cell = layer.suffixes[index], layer.cell
    weight_ih = getattr(layer, f"weight_ih_{suffix}")
    weight_hh = getattr(layer, f"weight_hh_{suffix}") if cell.recurrent else None
    if x.dim() != 2 or x.shape[1] != weight_ih.shape[1] or len(h_before) != len(x):
        raise ShapeError(
            f"{where}: x must be (T, {weight_ih.shape[1]}) and h_before (T, H), "
            f"got {tuple(x.shape)} and {tuple(h_before.shape)}"
        )

    def part(
        values: Tensor, weight: Tensor, bias: Tensor | None, gates: tuple[str, ...]
    ) -> dict[str, Tensor]:
        rows = torch.arange(len(gates), device=weight.device) * layer.hidden_size + unit
        sums = values.double() @ weight[rows].double().T
        if bias is not None:
            sums = sums + bias[rows].double()
        return dict(zip(gates, sums.unbind(1), strict=True))

    with torch.no_grad():
        biased = layer.bias
        bias_ih = getattr(layer, f"bias_ih_{suffix}") if biased else None
        from_input = part(x, weight_ih, bias_ih, cell.gates)
        if weight_hh is None:
            return UnitTerms(from_input, {})
        bias_hh = getattr(layer, f"bias_hh_{suffix}") if biased else None
        return UnitTerms(from_input, part(h_before, weight_hh, bias_hh, cell.recurrent))
