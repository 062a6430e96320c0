"""Every gate and state of a layer or model while it reads, by the names in the equations."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cells import RAW_INPUT, Cell
from unrolled.errors import OptionError
from unrolled.kernels import Weights, recurrent_product
from unrolled.layers import Record, RecurrentLayer, observing_values, valid_steps

__all__ = [
    "gate_products",
    "pre_activations",
    "states_before",
    "step_inputs",
    "trace",
    "weights_of",
]


def trace(module: nn.Module, *inputs: Any, **options: Any) -> list[Record]:
    """Run a layer or a model and return what happens inside its layers over time.

    The values come from the same code that trains and predicts. No gradients are kept.

    Args:
        module: A recurrent layer, or any module with such layers in it.
        inputs: What it is called with.
        options: What it is called with by name, such as `lengths`.

    Returns:
        A `Record` for each layer and direction that ran, in the order in which they did: what the
        cell returned by name, if it has a value for each row and unit; for each level of a
        convolutional network its output "y", with the steps that it sees.

    Raises:
        OptionError: No such layer ran, or only compiled ones.

    Example:
        >>> import torch, unrolled
        >>> layer = unrolled.LSTM(3, 4, bidirectional=True)
        >>> forwards, backwards = unrolled.trace(layer, torch.randn(5, 2, 3))
        >>> sorted(forwards.values)
        ['c', 'f', 'g', 'h', 'i', 'o']
        >>> forwards.values["f"].shape
        torch.Size([5, 2, 4])
    """
    with observing_values() as records:
        module(*inputs, **options)
    if not records:
        raise OptionError(
            f"trace: no layer of this package ran in {type(module).__name__}",
            "what torch.compile has compiled cannot be looked into: trace the module itself",
        )
    return records


def states_before(record: Record, name: str) -> Tensor:
    """Return the state `name` before each step, (T, B, H); zero where a row has ended.

    With `proj_size`, of h the projected one, (T, B, P).

    Raises:
        OptionError: The record has no such state.
    """
    if name not in record.initial:
        states = ", ".join(record.initial) or "none"
        raise OptionError(f"states_before: no state '{name}'; there are: {states}")
    after, initial = record.values[name], record.initial[name]
    if isinstance(record.module, RecurrentLayer) and name == record.module.cell.states[0]:
        weight = weights_of(record).weight_hr
        after = after if weight is None else F.linear(after, weight).detach()
    valid = valid_steps(record.lengths, len(after))[:, :, None]
    resets, anew = record.resets, record.anew.get(name, torch.zeros_like(initial))
    cuts = torch.zeros_like(valid) if resets is None else resets[:, :, None]
    if not record.reverse:
        return torch.cat([initial[None], after[:-1]]).where(~cuts, anew).where(valid, 0.0)
    later = torch.cat([after[1:], initial[None]])
    # before which, read backwards, a row or a piece of it begins: its own end
    ends = ~valid_steps(record.lengths - 1, len(after))[:, :, None]
    ends |= torch.cat([cuts[1:], cuts[:1]])
    begin = initial.where(cuts.cumsum(0) == 0, anew)  # what is given is for the first piece
    return begin.where(ends, later).where(valid, 0.0)


def pre_activations(record: Record) -> dict[str, Tensor]:
    """Return the two parts of each gate before it is squashed, as the equations name them.

    "x.f" is the input's part W_x x_t + b_x, "u.f" the recurrent one W_h h_{t-1} + b_h, (T, B, H)
    each. A recurrent part that the equations themselves ask for (`applied`) is not among them.

    Raises:
        OptionError: The record is of no recurrent layer.

    Example:
        >>> import torch, unrolled
        >>> (record,) = unrolled.trace(unrolled.JANET(3, 4), torch.randn(5, 2, 3))
        >>> list(pre_activations(record))
        ['x.f', 'x.g', 'u.f', 'u.g']
    """
    layer = record.module
    if not isinstance(layer, RecurrentLayer):
        name = type(layer).__name__
        raise OptionError(f"pre_activations: {name} has no gates", "trace a recurrent layer")
    cell, weights = layer.cell, weights_of(record)
    before = states_before(record, cell.states[0])
    with torch.no_grad():
        x, u = gate_products(cell, weights, record.input, before)
    parts = {f"x.{name}": part for name, part in x.items()}
    parts |= {f"u.{name}": part for name, part in u.items() if name not in cell.applied}
    valid = valid_steps(record.lengths, len(record.input))[:, :, None]
    return {name: part.where(valid, 0.0) for name, part in parts.items()}


def gate_products(
    cell: Cell, weights: Weights, x: Tensor, before: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return W_x x_t + b_x and W_h h_{t-1} + b_h of the gates that have them, by name.

    Args:
        cell: Whose gates.
        weights: Its weights.
        x: (..., I).
        before: h_{t-1}, (..., H), projected with `proj_size`.
    """
    parts = F.linear(x, weights.weight_ih, weights.bias_ih).chunk(len(cell.feedforward), dim=-1)
    from_input = dict(zip(cell.feedforward, parts, strict=True))
    if weights.weight_hh is None:
        return from_input, {}
    products = recurrent_product(before, weights.weight_hh, weights.bias_hh)
    parts = products.chunk(len(cell.recurrent), dim=-1)
    return from_input, dict(zip(cell.recurrent, parts, strict=True))


def step_inputs(record: Record) -> dict[str, Tensor]:
    """Return what a recurrent layer's equations read of a step beside its gates, (T, B, H) each."""
    assert isinstance(record.module, RecurrentLayer)
    raw = {RAW_INPUT: record.input} if record.module.cell.reads_raw_input else {}
    return {**record.inputs, **raw}


def weights_of(record: Record) -> Weights:
    """Return the weights of the layer and direction that a record is of."""
    layer = record.module
    assert isinstance(layer, RecurrentLayer)
    index = record.layer * (1 + layer.bidirectional) + record.reverse
    return layer.weights_of(layer.suffixes[index])
