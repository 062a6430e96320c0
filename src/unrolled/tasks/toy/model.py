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

from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.layers import RecurrentLayer, check_sizes, initialize
from unrolled.networks.sequence_layers import initialize_gates, make_layer
from unrolled.tasks.toy.options import ModelOptions

__all__ = ["ToyModel"]


class ToyModel(nn.Module):
    """An answer at every step, from the input up to that step.

        h_t, state_t = layer(x_t, state_{t-1})
        answer_t = W h_t + b

    Args:
        options: What it is made of.
        input_size: I, different symbols or features of each input step.
        output_size: O, scores or values at each step.
        reads_symbols: Whether the input is symbols, one-hot, and not values.
        max_time: The longest memory that is asked for, in steps: what "chrono" spreads over.

    Attributes:
        layer: The sequence layer, batch first.

    Raises:
        OptionError: A size below 1.

    Example:
        >>> import torch
        >>> sizes = {"input_size": 2, "output_size": 1, "reads_symbols": False, "max_time": 4}
        >>> model = ToyModel(ModelOptions(hidden_size=3), **sizes)
        >>> model(torch.rand(5, 4, 2), torch.tensor([4] * 5)).shape
        torch.Size([5, 4, 1])
    """

    def __init__(
        self,
        options: ModelOptions,
        *,
        input_size: int,
        output_size: int,
        reads_symbols: bool,
        max_time: int,
    ) -> None:
        super().__init__()
        sizes = {"input_size": input_size, "output_size": output_size, "max_time": max_time}
        check_sizes("ToyModel", sizes)
        self.options = options
        self.input_size, self.reads_symbols = input_size, reads_symbols
        self.layer = make_layer(options, input_size)
        if isinstance(self.layer, RecurrentLayer) and reads_symbols:
            initialize.one_hot_input(self.layer)
        initialize_gates(self.layer, options.initialize, max_time)
        self.answer = nn.Linear(options.hidden_size, output_size)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Answer at every step.

        Args:
            inputs: (B, T) int64 symbols, or (B, T, I) values.
            lengths: (B,), the steps of each row, at most T.

        Returns:
            (B, T, O). It means nothing beyond a row's length.
        """
        h, _ = self.layer(self.features(inputs), lengths=lengths)  # (B, T, H)
        answers: Tensor = self.answer(h)
        return answers

    def features(self, inputs: Tensor) -> Tensor:
        """Return what the layer reads, (B, T, I): symbols one-hot, values as they are."""
        if not self.reads_symbols:
            return inputs
        return F.one_hot(inputs, self.input_size).to(self.answer.weight.dtype)
