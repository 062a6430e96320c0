"""The long short-term memory cell, with a forget gate and without peepholes.

Source: S. Hochreiter and J. Schmidhuber (1997), "Long short-term memory", Neural Computation 9;
the forget gate: F. A. Gers, J. Schmidhuber and F. Cummins (2000), Neural Computation 12.

Gates in the order of the weights' rows: i (input), f (forget), g (candidate), o (output), as in
torch.nn.LSTM. f keeps the old cell state. Two biases; a forget bias is the sum of both
(`initialize.forget_bias` sets it).
"""

from torch import Tensor, sigmoid, tanh

from unrolled.cells.cell import Terms, cell


@cell(
    gates="i f g o",
    states="h c",
    keeps="f",
    admits="i",
    source="S. Hochreiter and J. Schmidhuber (1997), Long short-term memory",
)
def lstm(x: Terms, u: Terms, c: Tensor) -> dict[str, Tensor]:
    """c_t = f * c_{t-1} + i * g and h_t = o * tanh(c_t)."""
    i = sigmoid(x.i + u.i)
    f = sigmoid(x.f + u.f)
    g = tanh(x.g + u.g)
    o = sigmoid(x.o + u.o)
    c = f * c + i * g
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, f=f, g=g, o=o)
