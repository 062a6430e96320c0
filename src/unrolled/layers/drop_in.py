"""RNN, LSTM and GRU: layers that take the place of torch.nn's, with the same weights.

Constructors, calls, defaults, names and layout of the weights are torch's; the additions are
`lengths=`, named states, `GRU(reset=...)` and `stream()`. What is not as in torch: they are no
`torch.nn.RNNBase`, so what looks for that class passes them by; see docs/conventions.md.
"""

from typing import Literal

import torch

from unrolled.cells import gru_reset_after, gru_reset_before, lstm, rnn_relu, rnn_tanh
from unrolled.errors import OptionError
from unrolled.layers.recurrent_layer import RecurrentLayer

__all__ = ["GRU", "LSTM", "RNN"]


class RNN(RecurrentLayer):
    """The vanilla recurrent layer of Elman (1990), a drop-in for torch.nn.RNN.

    h_t = tanh(W_x x_t + b_x + W_h h_{t-1} + b_h), or with relu in place of tanh.

    Args:
        input_size: I, at least 1.
        hidden_size: H, at least 1.
        num_layers: How many layers, each reading the output of the one before.
        nonlinearity: "tanh" or "relu".
        bias: Whether there are biases.
        batch_first: Whether input and output are (B, T, ...) rather than (T, B, ...).
        dropout: The probability with which each output of a layer but the last is dropped.
        bidirectional: Whether a second set of weights reads backwards, its output appended.
        device: Where the weights are.
        dtype: The type of the weights.

    Raises:
        OptionError: An argument outside its range.

    Example:
        >>> import torch, unrolled
        >>> output, h = unrolled.RNN(3, 4)(torch.zeros(5, 2, 3), lengths=[5, 2])
        >>> output.shape, h.shape
        (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        cells = {"tanh": rnn_tanh, "relu": rnn_relu}
        if nonlinearity not in cells:
            raise OptionError(f"RNN: nonlinearity must be tanh or relu, got {nonlinearity!r}")
        super().__init__(
            cells[nonlinearity],
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
        self.nonlinearity = nonlinearity
        self.mode = f"RNN_{nonlinearity.upper()}"


class LSTM(RecurrentLayer):
    """The long short-term memory layer, a drop-in for torch.nn.LSTM.

    i, f, o = s(x.i + u.i), s(x.f + u.f), s(x.o + u.o), g = tanh(x.g + u.g),
    c_t = f * c_{t-1} + i * g, h_t = o * tanh(c_t), with x = W_x x_t + b_x, u = W_h h_{t-1} + b_h.
    The state is a named tuple (h, c). Source: Hochreiter and Schmidhuber (1997); Gers,
    Schmidhuber and Cummins (2000); the projection: Sak, Senior and Beaufays (2014).

    Args:
        input_size: I, at least 1.
        hidden_size: H, at least 1.
        num_layers: How many layers, each reading the output of the one before.
        bias: Whether the gates have biases.
        batch_first: Whether input and output are (B, T, ...) rather than (T, B, ...).
        dropout: The probability with which each output of a layer but the last is dropped.
        bidirectional: Whether a second set of weights reads backwards, its output appended.
        proj_size: P < H: the output and the recurrent input are W_hr h_t, (P,); 0 for none.
        device: Where the weights are.
        dtype: The type of the weights.

    Raises:
        OptionError: An argument outside its range.

    Example:
        >>> import torch, unrolled
        >>> layer = unrolled.LSTM(3, 4)
        >>> output, state = layer(torch.zeros(5, 2, 3))
        >>> h, c = state
        >>> output.shape, state.c.shape
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
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            lstm,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )
        self.mode = "LSTM"


class GRU(RecurrentLayer):
    """The gated recurrent unit, a drop-in for torch.nn.GRU, in both its forms.

    r, z = s(x.r + u.r), s(x.z + u.z), h_t = (1 - z) * n + z * h_{t-1}, with
    n = tanh(x.n + r * u.n) (`reset="after"`, torch's and cuDNN's form) or
    n = tanh(x.n + U_n (r * h_{t-1})) (`reset="before"`, Cho et al. 2014, equations 5-8).

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
        reset: Whether the reset gate acts after or before the recurrent product. The weights of
            one form do not fit the other.

    Raises:
        OptionError: An argument outside its range.

    Example:
        >>> import torch, unrolled
        >>> output, h = unrolled.GRU(3, 4, reset="before")(torch.zeros(5, 2, 3))
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
        *,
        reset: Literal["after", "before"] = "after",
    ) -> None:
        cells = {"after": gru_reset_after, "before": gru_reset_before}
        if reset not in cells:
            raise OptionError(f"GRU: reset must be after or before, got {reset!r}")
        super().__init__(
            cells[reset],
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
        self.reset = reset
        self.mode = "GRU" if reset == "after" else "GRU_RESET_BEFORE"
