"""The vanilla recurrent cell: one layer of units that see the input and themselves.

One gate, `a`, which is the pre-activation itself. Two biases, b_x and b_h, as in torch.nn.RNN.
"""

from torch import Tensor, relu, tanh

from unrolled.cells.cell import Terms, cell
from unrolled.cells.publication import Publication

ELMAN = Publication("J. L. Elman", 1990, "Finding structure in time", "Cognitive Science 14")


@cell(gates="a", source=ELMAN)
def rnn_tanh(x: Terms, u: Terms) -> dict[str, Tensor]:
    """The units see the input and, through weights, what all of them were a step before.

    h_t = tanh(W_x x_t + b_x + W_h h_{t-1} + b_h).
    """
    h = tanh(x.a + u.a)
    return dict(h=h)


@cell(gates="a", source=ELMAN)
def rnn_relu(x: Terms, u: Terms) -> dict[str, Tensor]:
    """A plain recurrent network whose units are rectified instead of squashed.

    h_t = max(0, W_x x_t + b_x + W_h h_{t-1} + b_h).
    """
    h = relu(x.a + u.a)
    return dict(h=h)
