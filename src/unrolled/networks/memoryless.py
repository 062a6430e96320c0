"""The controls: networks without memory, which show what the memory of the others buys.

`Dense` sees the current input alone, `Conv` a short window that ends at it. Both keep the calling
convention of the recurrent layers, so that a model takes them in the same place.
"""

import torch
from torch import Tensor, nn

from unrolled.layers import (
    FiniteMemoryLayer,
    causal_conv,
    check_dropout,
    check_sizes,
    memory_span,
    observe_level,
    observes_values,
)

__all__ = ["Conv", "Dense"]


class Dense(FiniteMemoryLayer):
    """A feedforward network on the current input alone: it remembers nothing.

        y_t = relu(W_L ... relu(W_1 x_t + b_1) ... + b_L)

    Its state is the empty tuple.

    Args:
        input_size: I, features of each input step.
        hidden_size: H, units of every layer and features of each output step.
        num_layers: L, layers of units.
        dropout: Probability that a unit of any layer but the last is zeroed in training.
        batch_first: Whether input and output are (B, T, ...) instead of (T, B, ...).
        device: Where the parameters are.
        dtype: The parameters' floating point type.

    Raises:
        OptionError: A size below 1, or a dropout that is no probability.

    Example:
        >>> output, state = Dense(input_size=2, hidden_size=16)(torch.zeros(10, 4, 2))
        >>> output.shape, state
        (torch.Size([10, 4, 16]), ())
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        check_sizes("Dense", sizes)
        check_dropout("Dense", dropout)
        super().__init__(input_size, hidden_size, memory=[], batch_first=batch_first)
        self.dropout = dropout
        self.network = nn.Sequential(
            nn.Linear(input_size, hidden_size, device=device, dtype=dtype),
            nn.ReLU(),
            *_further_layers(hidden_size, num_layers - 1, dropout, device, dtype),
        )

    def _run(
        self,
        x: Tensor,
        past: tuple[Tensor, ...],  # noqa: ARG002  # empty: there is none
        lengths: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        y = self.network(x)
        if observes_values():
            observe_level(self, 0, self.receptive_field, x, y, lengths)
        return y, ()


class Conv(FiniteMemoryLayer):
    """A feedforward network on the last k inputs: one causal convolution, then dense layers.

        h_t = relu(b_1 + sum over j = 0 ... k - 1 of W_j x_{t - (k - 1 - j)})
        y_t = relu(W_L ... relu(W_2 h_t + b_2) ... + b_L)

    Its state is the tuple of the last k - 1 inputs, (k - 1, B, I).

    Args:
        input_size: I, features of each input step.
        hidden_size: H, units of every layer and features of each output step.
        num_layers: L, layers of units; the first is the convolution.
        kernel_size: k, the steps that an output sees, at least 1.
        dropout: Probability that a unit of any layer but the last is zeroed in training.
        batch_first: Whether input and output are (B, T, ...) instead of (T, B, ...).
        device: Where the parameters are.
        dtype: The parameters' floating point type.

    Raises:
        OptionError: A size below 1, or a dropout that is no probability.

    Example:
        >>> conv = Conv(input_size=2, hidden_size=16, kernel_size=5)
        >>> output, (past,) = conv(torch.zeros(10, 4, 2))
        >>> output.shape, past.shape
        (torch.Size([10, 4, 16]), torch.Size([4, 4, 2]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        kernel_size: int = 8,
        dropout: float = 0.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "kernel_size": kernel_size,
        }
        check_sizes("Conv", sizes)
        check_dropout("Conv", dropout)
        conv = nn.Conv1d(input_size, hidden_size, kernel_size, device=device, dtype=dtype)
        memory = [(memory_span(conv), input_size)]
        super().__init__(input_size, hidden_size, memory=memory, batch_first=batch_first)
        self.dropout = dropout
        self.conv = conv
        self.network = nn.Sequential(
            nn.ReLU(),
            *_further_layers(hidden_size, num_layers - 1, dropout, device, dtype),
        )

    def _run(
        self, x: Tensor, past: tuple[Tensor, ...], lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        h, new_past = causal_conv(self.conv, x.permute(1, 2, 0), past[0], lengths)
        y = self.network(h.permute(2, 0, 1))
        if observes_values():
            observe_level(self, 0, self.receptive_field, x, y, lengths)
        return y, (new_past,)


def _further_layers(
    hidden_size: int,
    num_layers: int,
    dropout: float,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(num_layers):
        linear = nn.Linear(hidden_size, hidden_size, device=device, dtype=dtype)
        layers += [nn.Dropout(dropout), linear, nn.ReLU()]
    return layers
