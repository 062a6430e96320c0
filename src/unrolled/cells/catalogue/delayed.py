"""Cells that reach further back. They read former states, or units that change slowly.

How far back is a number here, where a paper chooses it for each data set.
"""

from torch import Tensor, sigmoid, tanh

from unrolled.cells.cell import Terms, Values, cell
from unrolled.cells.publication import Publication

MIKOLOV = Publication(
    "T. Mikolov, A. Joulin, S. Chopra, M. Mathieu and M. Ranzato",
    2014,
    "Learning longer memory in recurrent neural networks",
    "arXiv 1412.7753",
    "equations 4 to 6",
)
SOLTANI = Publication(
    "R. Soltani and H. Jiang",
    2016,
    "Higher order recurrent neural networks",
    "arXiv 1605.00064",
)
CHANG = Publication(
    "S. Chang et al.",
    2017,
    "Dilated recurrent neural networks",
    "NeurIPS 2017, arXiv 1710.02224",
)
ERICHSON = Publication(
    "N. B. Erichson, S. H. Lim and M. W. Mahoney",
    2022,
    "Gated recurrent neural networks with weighted time-delay feedback",
    "arXiv 2212.00228",
)


SCRN_ALPHA = 0.95


@cell(
    gates="s k p y v",
    feedforward="s k",
    recurrent="k p y v",
    applied="k p y v",
    states="h k s",
    source=MIKOLOV,
)
def scrn(x: Terms, u: Terms, k: Tensor, s: Tensor) -> Values:
    """Beside the hidden units are slow ones, which only average the input: a longer memory.

    s are the slow units, as many as hidden ones, and k the hidden ones, which are the paper's h. h
    is U k + V s, which its output layer squashes.
    """
    s = (1 - SCRN_ALPHA) * x.s + SCRN_ALPHA * s
    k = sigmoid(u.p(s) + x.k + u.k(k))
    h = u.y(k) + u.v(s)
    return dict(h=h, k=k, s=s)


@cell(gates="a b d", feedforward="a", applied="b d", delays="h:3", source=SOLTANI)
def hornn(x: Terms, u: Terms, h_2: Tensor, h_3: Tensor) -> Values:
    """Several former states feed back, each by a matrix of its own, as the taps of a filter do.

    Of order 3, with tanh.
    """
    h = tanh(x.a + u.a + u.b(h_2) + u.d(h_3))
    return dict(h=h)


@cell(gates="a", applied="a", delays="h:4", source=CHANG)
def dilated_rnn(x: Terms, u: Terms, h_4: Tensor) -> Values:
    """The state is not that of the step before but one further back, so that gradients skip steps.

    4 steps in all layers, where the paper's dilation grows from layer to layer.
    """
    h = tanh(x.a + u.a(h_4))
    return dict(h=h)


@cell(gates="r a g z", applied="z", delays="h:11", admits="g", source=ERICHSON)
def tau_gru(x: Terms, u: Terms, h: Tensor, h_11: Tensor) -> Values:
    """A gate lets in a second candidate, which sees the state of some time ago: delayed feedback.

    The delay is 10 steps from the state before, h_11. a is what the paper's u computes, r its a.
    """
    a = tanh(x.a + u.a)
    z = tanh(x.z + u.z(h_11))
    g = sigmoid(x.g + u.g)
    r = sigmoid(x.r + u.r)
    h = (1 - g) * h + g * (a + r * z)
    return dict(h=h, a=a, z=z, g=g, r=r)
