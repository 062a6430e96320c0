"""JANET, "just another network": an LSTM with nothing but its forget gate.

beta = 1 is the paper's: the input enters by a gate that is a little more closed than the forget
gate is open.

Gates in the order of the weights' rows: f (forget), g (candidate). f keeps the old state.
The only state is h, which the paper calls c.
"""

from torch import Tensor, sigmoid, tanh

from unrolled.cells.cell import Terms, cell
from unrolled.cells.publication import Publication

WESTHUIZEN = Publication(
    "J. van der Westhuizen and J. Lasenby",
    2018,
    "The unreasonable effectiveness of the forget gate",
    "arXiv 1804.04849",
    "equations 7-8",
)

BETA = 1.0


@cell(
    gates="f g",
    keeps="f",
    source=WESTHUIZEN,
)
def janet(x: Terms, u: Terms, h: Tensor) -> dict[str, Tensor]:
    """An LSTM with nothing but its forget gate: what it keeps decides what it lets in.

    h_t = s(f) * h_{t-1} + (1 - s(f - beta)) * g, with g = tanh(x.g + u.g) and beta = 1.
    """
    a = x.f + u.f
    f = sigmoid(a)
    g = tanh(x.g + u.g)
    h = f * h + (1 - sigmoid(a - BETA)) * g
    return dict(h=h, f=f, g=g)
