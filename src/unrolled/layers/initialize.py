"""Initial values for recurrent layers, by functions rather than by flags.

The layers start with torch's uniform values; these functions change them in place.
"""

import torch
from torch import Tensor

from unrolled.errors import OptionError
from unrolled.layers.recurrent_layer import RecurrentLayer

__all__ = ["chrono", "forget_bias", "one_hot_input"]


def forget_bias(layer: RecurrentLayer, value: float = 1.0) -> None:
    """Set the bias of the gate that keeps the old state to `value`, the sum of its two biases.

    That is an LSTM's or JANET's forget gate f, a GRU's z, and what `@cell(keeps=...)` names.

    Source: F. A. Gers, J. Schmidhuber and F. Cummins (2000); R. Jozefowicz, W. Zaremba and
    I. Sutskever (2015), "An empirical exploration of recurrent network architectures".

    Raises:
        OptionError: the cell declares no such gate, or the layer has no biases.
    """
    keeps = _keep_gate("forget_bias", layer)
    for suffix in layer.suffixes:
        _set_bias(layer, suffix, keeps, torch.full((layer.hidden_size,), value))


def chrono(layer: RecurrentLayer, max_time: int, generator: torch.Generator | None = None) -> None:
    """Spread the memory of `layer`'s units over time spans of 1 to `max_time` steps.

    b_k = log(u), u uniform in [1, max_time - 1], for the gate k that keeps the old state, and
    b_a = -b_k where another gate a admits the new: in an LSTM f and i.

    Source: C. Tallec and Y. Ollivier (2018), "Can recurrent neural networks warp time?",
    section 2; for JANET, van der Westhuizen and Lasenby (2018), section 3.

    Args:
        layer: An LSTM, GRU or JANET, or a layer over any cell that declares what keeps.
        max_time: The longest dependency expected, in steps, at least 2.
        generator: Where the random numbers come from; torch's own unless given.

    Raises:
        OptionError: the cell declares no such gate, or the layer has no biases; `max_time` is too
            small.
    """
    if max_time < 2:
        raise OptionError(f"chrono: max_time must be at least 2 steps, got {max_time}")
    keeps = _keep_gate("chrono", layer)
    for suffix in layer.suffixes:
        spans = torch.empty(layer.hidden_size).uniform_(1.0, max_time - 1.0, generator=generator)
        _set_bias(layer, suffix, keeps, spans.log())
        if layer.cell.admits is not None:
            _set_bias(layer, suffix, layer.cell.admits, -spans.log())


@torch.no_grad()
def one_hot_input(layer: RecurrentLayer, bound: float = 1.0) -> None:
    """Draw the weights by which the first layer of `layer` reads its input from U(-bound, bound).

    For one-hot input. torch's bound of 1/sqrt(H) counts on a sum over many features; of a one-hot
    input a single one is not zero, and a token starts as hardly more than a whisper in the state.
    The default is 1/sqrt(fan-in) with that fan-in of one.

    Raises:
        OptionError: `bound` is not above 0.
    """
    if not bound > 0:
        raise OptionError(f"one_hot_input: bound must be above 0, got {bound}")
    for suffix in layer.suffixes[: 1 + layer.bidirectional]:
        layer.get_parameter(f"weight_ih_{suffix}").uniform_(-bound, bound)


def _keep_gate(where: str, layer: RecurrentLayer) -> str:
    """Return the gate of `layer` that keeps the old state, whose biases can be set."""
    cell = layer.cell
    if cell.keeps is None:
        gates = " ".join(cell.gates)
        message = f"{where}: cell {cell.name} declares no gate that keeps the old state"
        raise OptionError(f"{message}, only gates {gates}", '@cell(..., keeps="f") declares it')
    if not layer.bias:
        raise OptionError(f"{where}: the layer has bias=False", "make it with bias=True")
    return cell.keeps


@torch.no_grad()
def _set_bias(layer: RecurrentLayer, suffix: str, gate: str, value: Tensor) -> None:
    """Make the two biases of `gate` sum to `value`, (H,): all of it on the input side."""
    size = layer.hidden_size
    start = size * layer.cell.gates.index(gate)
    layer.get_parameter(f"bias_ih_{suffix}")[start : start + size] = value
    if gate in layer.cell.recurrent:
        start = size * layer.cell.recurrent.index(gate)
        layer.get_parameter(f"bias_hh_{suffix}")[start : start + size] = 0.0
