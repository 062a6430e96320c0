"""The long short-term memory cell, with a forget gate and without peepholes.

The cell of 1997, which had no forget gate, is `lstm_1997` of the catalogue.

Gates in the order of the weights' rows: i (input), f (forget), g (candidate), o (output), as in
torch.nn.LSTM. f keeps the old cell state. Two biases; a forget bias is the sum of both
(`initialize.forget_bias` sets it).
"""

from torch import Tensor, sigmoid, tanh

from unrolled.cells.cell import Terms, cell
from unrolled.cells.publication import Publication

GERS = Publication(
    "F. A. Gers, J. Schmidhuber and F. Cummins",
    2000,
    "Learning to forget: continual prediction with LSTM",
    "Neural Computation 12(10)",
)


@cell(
    gates="i f g o",
    states="h c",
    keeps="f",
    admits="i",
    source=GERS,
)
def lstm(x: Terms, u: Terms, c: Tensor) -> dict[str, Tensor]:
    """A state that gates add to, show and, with the forget gate that was new here, let go.

    c_t = f * c_{t-1} + i * g and h_t = o * tanh(c_t).
    """
    i = sigmoid(x.i + u.i)
    f = sigmoid(x.f + u.f)
    g = tanh(x.g + u.g)
    o = sigmoid(x.o + u.o)
    c = f * c + i * g
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, f=f, g=g, o=o)
