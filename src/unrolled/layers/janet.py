"""JANET: a layer in the manner of torch.nn's, over a cell that torch does not have."""

import torch

from unrolled.cells import janet
from unrolled.layers.recurrent_layer import RecurrentLayer

__all__ = ["JANET"]


class JANET(RecurrentLayer):
    """The layer of van der Westhuizen and Lasenby (2018): an LSTM with only its forget gate.

    f = x.f + u.f, g = tanh(x.g + u.g), h_t = s(f) * h_{t-1} + (1 - s(f - 1)) * g.

    Args:
        input_size: I, at least 1.
        hidden_size: H, at least 1.
        num_layers: How many layers, each reading the output of the one before.
        bias: Whether the gates have biases.
        batch_first: Whether input and output are (B, T, ...) rather than (T, B, ...).
        dropout: The probability with which each output of a layer but the last is dropped.
        bidirectional: Whether a second set of weights reads backwards, its output appended.
        device: Where the weights are.
        dtype: The type of the weights.

    Raises:
        OptionError: An argument outside its range.

    Example:
        >>> import torch, unrolled
        >>> layer = unrolled.JANET(3, 4)
        >>> unrolled.initialize.chrono(layer, max_time=100)
        >>> output, h = layer(torch.zeros(5, 2, 3))
        >>> output.shape, h.shape
        (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            janet,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
