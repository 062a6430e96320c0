"""The sequence layers by the names that the command line and the runs' configurations use.

Not for the layers themselves: those are in layers/ and baselines.py.
"""

import difflib
from collections.abc import Callable
from typing import cast

from torch import nn

from unrolled.errors import OptionError
from unrolled.layers import GRU, JANET, LSTM, RNN, TCN
from unrolled.layers.options import check_dropout
from unrolled.layers.state import SequenceLayer
from unrolled.networks.both_directions import BothDirections
from unrolled.networks.memoryless import Conv, Dense

__all__ = ["CELLS", "check_cell", "default_num_layers", "make_layer"]

_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "rnn": RNN,
    "lstm": LSTM,
    "gru": GRU,
    "janet": JANET,
    "tcn": TCN,
    "dense": Dense,
    "conv": Conv,
}
_RECURRENT = ("rnn", "lstm", "gru", "janet")  # can be bidirectional by themselves
_KERNEL_SIZES = {"tcn": 3, "conv": 8}

CELLS: tuple[str, ...] = tuple(_LAYERS)


def check_cell(cell: str, kernel_size: int | None) -> None:
    """Raise `OptionError` unless `cell` is one of `CELLS` and may have this `kernel_size`."""
    if cell not in CELLS:
        near = difflib.get_close_matches(cell.lower(), CELLS, n=1)
        hint = f"did you mean {near[0]}?" if near else ""
        raise OptionError(f"cell must be one of {', '.join(CELLS)}, got {cell!r}", hint)
    if kernel_size is not None and cell not in _KERNEL_SIZES:
        raise OptionError(
            f"kernel_size is for {' and '.join(_KERNEL_SIZES)}, but the cell is {cell}",
            "leave it out",
        )


def default_num_layers(cell: str) -> int:
    """Return how many layers a model has if nobody says: 4 in a TCN, to see 61 steps, else 1."""
    return 4 if cell == "tcn" else 1


def make_layer(
    cell: str,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    dropout: float = 0.0,
    kernel_size: int | None = None,
    bidirectional: bool = False,
) -> nn.Module:
    """Return the layer called `cell`, (B, T, input_size) -> (B, T, output_size).

    Args:
        cell: One of `CELLS`.
        input_size: Features of each input step.
        hidden_size: Units of every layer and features of each output step.
        num_layers: Layers one above the other.
        dropout: Probability that a value between two layers is zeroed in training; in a TCN,
            a value after each convolution.
        kernel_size: Taps of a convolution, for tcn and conv only.
        bidirectional: Whether each row is also read from its end; the output then has
            2 * hidden_size features.

    Returns:
        A `SequenceLayer`: `output, state = layer(x, state)`.

    Raises:
        OptionError: An unknown cell, a size below 1, a dropout that is no probability, a kernel
            size for a cell without a kernel.
    """
    check_cell(cell, kernel_size)
    check_dropout("make_layer", dropout)
    if num_layers == 1 and cell != "tcn":
        dropout = 0.0  # nothing lies between two layers; torch's constructor would warn
    options = {"dropout": dropout, "batch_first": True}
    if cell in _KERNEL_SIZES:
        options["kernel_size"] = _KERNEL_SIZES[cell] if kernel_size is None else kernel_size
    if bidirectional and cell in _RECURRENT:
        options["bidirectional"] = True

    def make() -> nn.Module:
        return _LAYERS[cell](input_size, hidden_size, num_layers, **options)

    if bidirectional and cell not in _RECURRENT:
        return BothDirections(cast(SequenceLayer, make()), cast(SequenceLayer, make()))
    return make()
