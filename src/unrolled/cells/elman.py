"""The vanilla recurrent cell: one layer of units that see the input and themselves.

Source: J. L. Elman (1990), "Finding structure in time", Cognitive Science 14.
One gate, `a`, which is the pre-activation itself. Two biases, b_x and b_h, as in torch.nn.RNN.
"""

from torch import Tensor, relu, tanh

from unrolled.cells.cell import Terms, cell


@cell(gates="a", source="J. L. Elman (1990), Finding structure in time")
def rnn_tanh(x: Terms, u: Terms) -> dict[str, Tensor]:
    """h_t = tanh(W_x x_t + b_x + W_h h_{t-1} + b_h)."""
    h = tanh(x.a + u.a)
    return dict(h=h)


@cell(gates="a", source="J. L. Elman (1990), Finding structure in time")
def rnn_relu(x: Terms, u: Terms) -> dict[str, Tensor]:
    """h_t = max(0, W_x x_t + b_x + W_h h_{t-1} + b_h)."""
    h = relu(x.a + u.a)
    return dict(h=h)
