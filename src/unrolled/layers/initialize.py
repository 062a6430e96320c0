"""Initial values for recurrent layers, by functions rather than by flags.

The layers start with torch's uniform values; these functions change them in place.
"""

import torch
from torch import Tensor

from unrolled.cells import Cell, gru_reset_after, gru_reset_before
from unrolled.errors import OptionError
from unrolled.layers.recurrent import RecurrentLayer

__all__ = ["chrono", "forget_bias", "keep_gate", "one_hot_input"]


def keep_gate(cell: Cell) -> str | None:
    """Return the name of the gate that keeps the old state: a GRU's `z`, else `f`; None without."""
    name = "z" if cell in (gru_reset_after, gru_reset_before) else "f"
    return name if name in cell.gates else None


def forget_bias(layer: RecurrentLayer, value: float = 1.0) -> None:
    """Set the bias of every forget gate `f` of `layer` to `value`, the sum of its two biases.

    Source: F. A. Gers, J. Schmidhuber and F. Cummins (2000); R. Jozefowicz, W. Zaremba and
    I. Sutskever (2015), "An empirical exploration of recurrent network architectures".

    Raises:
        OptionError: the layer has no forget gate, or no biases.
    """
    _need_gates("forget_bias", layer, "f")
    for suffix in layer.suffixes:
        _set_bias(layer, suffix, "f", torch.full((layer.hidden_size,), value))


def chrono(layer: RecurrentLayer, max_time: int, generator: torch.Generator | None = None) -> None:
    """Spread the memory of `layer`'s units over time spans of 1 to `max_time` steps.

    b_f = log(u), u uniform in [1, max_time - 1], and b_i = -b_f where the cell has an input gate.
    For a GRU, whose z keeps the old state, b_z = log(u).

    Source: C. Tallec and Y. Ollivier (2018), "Can recurrent neural networks warp time?",
    section 2; for JANET, van der Westhuizen and Lasenby (2018), section 3.

    Args:
        layer: An LSTM, GRU or JANET, or a layer over a cell of one's own whose gate `f` keeps.
        max_time: The longest dependency expected, in steps, at least 2.
        generator: Where the random numbers come from; torch's own unless given.

    Raises:
        OptionError: the layer has no such gate, or no biases; `max_time` is too small.
    """
    if max_time < 2:
        raise OptionError(f"chrono: max_time must be at least 2 steps, got {max_time}")
    keep = keep_gate(layer.cell) or "f"
    _need_gates("chrono", layer, keep)
    for suffix in layer.suffixes:
        spans = torch.empty(layer.hidden_size).uniform_(1.0, max_time - 1.0, generator=generator)
        _set_bias(layer, suffix, keep, spans.log())
        if keep == "f" and "i" in layer.cell.gates:
            _set_bias(layer, suffix, "i", -spans.log())


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


def _need_gates(where: str, layer: RecurrentLayer, gate: str) -> None:
    if gate not in layer.cell.gates:
        raise OptionError(
            f"{where}: cell {layer.cell.name} has no gate '{gate}', "
            f"only {' '.join(layer.cell.gates)}"
        )
    if not layer.bias:
        raise OptionError(f"{where}: the layer has bias=False", "make it with bias=True")


@torch.no_grad()
def _set_bias(layer: RecurrentLayer, suffix: str, gate: str, value: Tensor) -> None:
    """Make the two biases of `gate` sum to `value`, (H,): all of it on the input side."""
    size = layer.hidden_size
    start = size * layer.cell.gates.index(gate)
    layer.get_parameter(f"bias_ih_{suffix}")[start : start + size] = value
    if gate in layer.cell.recurrent:
        start = size * layer.cell.recurrent.index(gate)
        layer.get_parameter(f"bias_hh_{suffix}")[start : start + size] = 0.0
