"""The model of the toy problems: a sequence layer, and an answer at every step.

Unrolled over four steps of the adding problem, where only the last answer counts:

    answer       (...)     (...)     (...)     sum              O scores or values each
                   ^         ^         ^         ^
                 linear    linear    linear    linear
                   ^         ^         ^         ^
    state ----> [layer]-->[layer]-->[layer]-->[layer]
                   ^         ^         ^         ^
    input       0.3  0    0.9  1    0.5  0    0.2  1            or a symbol, one-hot

There is nothing else in it, so that what differs between two of them is the layer. The problems are
in problems.py.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import OptionError
from unrolled.layers.initialize import chrono, forget_bias, one_hot_input
from unrolled.layers.options import check_dropout, check_sizes
from unrolled.layers.recurrent import RecurrentLayer
from unrolled.networks.sequence_layers import check_cell, make_layer

__all__ = ["INITIALIZE", "ToyModel", "ToyModelConfig"]

INITIALIZE = ("chrono", "forget-bias")
"""The ways to initialize the gates of a recurrent layer, beside torch's own."""


@dataclass(frozen=True)
class ToyModelConfig:
    """What it takes to build a `ToyModel`, all of it plain values.

    Args:
        input_size: I, different symbols or features of each input step.
        output_size: O, scores or values at each step.
        reads_symbols: Whether the input is symbols, one-hot, and not values.
        max_time: The longest memory that is asked for, in steps: what "chrono" spreads over.
        cell: The name of the layer, one of `models.sequence_layers.CELLS`.
        hidden_size: H, units of every layer.
        num_layers: Layers one above the other.
        dropout: Probability that a value between two layers is zeroed in training.
        kernel_size: Taps of a convolution, for tcn and conv only.
        initialize: One of `INITIALIZE` (`unrolled.initialize`), for layers with such gates only;
            torch's own values if None.

    Raises:
        OptionError: A size below 1, an unknown cell, a dropout that is no probability, a kernel
            size for a cell without a kernel, no such way to initialize, or not in this cell.
    """

    input_size: int
    output_size: int
    reads_symbols: bool
    max_time: int
    cell: str = "lstm"
    hidden_size: int = 128
    num_layers: int = 1
    dropout: float = 0.0
    kernel_size: int | None = None
    initialize: str | None = None

    def __post_init__(self) -> None:
        check_cell(self.cell, self.kernel_size)
        names = ("input_size", "output_size", "max_time", "hidden_size", "num_layers")
        given = {name: getattr(self, name) for name in (*names, "kernel_size")}
        sizes = {name: size for name, size in given.items() if size is not None}
        check_sizes("ToyModelConfig", sizes)
        check_dropout("ToyModelConfig", self.dropout)
        if self.initialize not in (None, *INITIALIZE):
            expected = " or ".join(INITIALIZE)
            raise OptionError(f"initialize must be {expected}, got {self.initialize!r}")
        if self.initialize is not None and self.cell not in ("lstm", "gru", "janet"):
            message = f"initialize is for cells with gates, but the cell is {self.cell}"
            raise OptionError(message, "leave it out")


class ToyModel(nn.Module):
    """An answer at every step, from the input up to that step.

        h_t, state_t = layer(x_t, state_{t-1})
        answer_t = W h_t + b

    Args:
        config: The sizes and the cell.

    Attributes:
        layer: The sequence layer, batch first.

    Raises:
        OptionError: The cell lacks the gate that is to be initialized.

    Example:
        >>> import torch
        >>> model = ToyModel(ToyModelConfig(2, 1, reads_symbols=False, max_time=4, hidden_size=3))
        >>> model(torch.rand(5, 4, 2), torch.tensor([4] * 5)).shape
        torch.Size([5, 4, 1])
    """

    def __init__(self, config: ToyModelConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = make_layer(
            config.cell,
            config.input_size,
            config.hidden_size,
            config.num_layers,
            config.dropout,
            config.kernel_size,
        )
        if isinstance(self.layer, RecurrentLayer):
            if config.reads_symbols:
                one_hot_input(self.layer)
            if config.initialize == "chrono":
                chrono(self.layer, max(2, config.max_time))
            elif config.initialize == "forget-bias":
                forget_bias(self.layer)
        self.answer = nn.Linear(config.hidden_size, config.output_size)

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Answer at every step.

        Args:
            inputs: (B, T) int64 symbols, or (B, T, I) values.
            lengths: (B,), the steps of each row, at most T.

        Returns:
            (B, T, O). It means nothing beyond a row's length.
        """
        if self.config.reads_symbols:
            inputs = F.one_hot(inputs, self.config.input_size).to(self.answer.weight.dtype)
        h, _ = self.layer(inputs, lengths=lengths)  # (B, T, H)
        answers: Tensor = self.answer(h)
        return answers
