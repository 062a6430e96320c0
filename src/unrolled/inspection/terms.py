"""What a unit's gates are made of at every step: the input's part and the recurrent part.

Gates and states are recorded as a layer computes them (`record.py`). Their pre-activations are
sums of two products that nobody keeps; here they are computed again, of one unit in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.errors import OptionError
from unrolled.inspection.record import gate_products, states_before, step_inputs, weights_of
from unrolled.kernels import Weights, recurrent_product
from unrolled.layers import Record, RecurrentLayer

__all__ = ["UnitTerms", "terms_of_units", "unit_terms"]


@dataclass(frozen=True)
class UnitTerms:
    """The two parts of one unit's pre-activations, by the names of the gates.

    Args:
        x: The input's part, (W_x x_t + b_x) of this unit, (T,) float64 each.
        u: The recurrent part, (W_h h_{t-1} + b_h) of this unit, (T,) float64 each; of a gate that
            the equations apply to a vector v of their own, (W_h v + b_h). The gates with a
            recurrent part only.
    """

    x: dict[str, Tensor]
    u: dict[str, Tensor]


@torch.no_grad()
def unit_terms(record: Record, unit: int, row: int = 0) -> UnitTerms:
    """Return what the pre-activations of one unit consist of while a layer reads.

    Args:
        record: Of a recurrent layer.
        unit: In 0 ... H - 1.
        row: Of the batch.

    Raises:
        OptionError: There is no such unit, or the record is of no recurrent layer.

    Example:
        >>> import torch, unrolled
        >>> (record,) = unrolled.trace(unrolled.LSTM(3, 4), torch.randn(5, 1, 3))
        >>> sorted(unit_terms(record, unit=2).u)
        ['f', 'g', 'i', 'o']
    """
    layer = record.module
    if not isinstance(layer, RecurrentLayer):
        name = type(layer).__name__
        raise OptionError(f"unit_terms: {name} has no gates", "trace a recurrent layer")
    if not 0 <= unit < layer.hidden_size:
        raise OptionError(f"unit_terms: unit must be in 0..{layer.hidden_size - 1}, got {unit}")
    terms = terms_of_units(record, row)
    return UnitTerms(
        {name: part[:, unit] for name, part in terms.x.items()},
        {name: part[:, unit] for name, part in terms.u.items()},
    )


@torch.no_grad()
def terms_of_units(record: Record, row: int = 0) -> UnitTerms:
    """Return the same for all units of a recurrent layer, (T, H) each."""
    layer = record.module
    assert isinstance(layer, RecurrentLayer)
    cell, weights = layer.cell, _double(weights_of(record))
    before = {name: states_before(record, name)[:, row].double() for name in cell.states}
    x, u = gate_products(cell, weights, record.input[:, row].double(), before[cell.states[0]])
    if cell.applied:
        inputs = {name: part[:, row].double() for name, part in step_inputs(record).items()}
        u |= _applied_products(cell, weights, x, u, before, inputs)
    return UnitTerms(x, u)


def _applied_products(
    cell: Cell,
    weights: Weights,
    x: dict[str, Tensor],
    u: dict[str, Tensor],
    before: dict[str, Tensor],
    inputs: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Return the products that the equations ask for themselves, by running them once more."""
    assert weights.weight_hh is not None
    products: dict[str, Tensor] = {}
    index = cell.recurrent.index
    stacked = weights.weight_hh.chunk(len(cell.recurrent))
    biases: tuple[Tensor | None, ...] = (None,) * len(cell.recurrent)
    if weights.bias_hh is not None:
        biases = weights.bias_hh.chunk(len(cell.recurrent))

    def apply(name: str, vector: Tensor) -> Tensor:
        products[name] = recurrent_product(vector, stacked[index(name)], biases[index(name)])
        return products[name]

    parts: dict[str, Tensor | Callable[[Tensor], Tensor]] = dict(u)
    parts |= {name: partial(apply, name) for name in cell.applied}
    cell(x, parts, before, dict(zip(cell.parameters, weights.parameters, strict=True)), inputs)
    return products


def _double(weights: Weights) -> Weights:
    def double(weight: Tensor | None) -> Tensor | None:
        return None if weight is None else weight.double()

    return Weights(
        weights.weight_ih.double(),
        double(weights.weight_hh),
        double(weights.bias_ih),
        double(weights.bias_hh),
        double(weights.weight_hr),
        tuple(vector.double() for vector in weights.parameters),
    )
