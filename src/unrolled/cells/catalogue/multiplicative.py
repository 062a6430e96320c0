"""Multiplicative cells. What the input and the state give is multiplied, not only added."""

from torch import Tensor, sigmoid, tanh

from unrolled.cells.cell import Terms, Values, Vector, cell
from unrolled.cells.publication import Publication

SUTSKEVER = Publication(
    "I. Sutskever, J. Martens and G. Hinton",
    2011,
    "Generating text with recurrent neural networks",
    "ICML 2011",
)
KRAUSE = Publication(
    "B. Krause, L. Lu, I. Murray and S. Renals",
    2016,
    "Multiplicative LSTM for sequence modelling",
    "arXiv 1609.07959",
)
WU = Publication(
    "Y. Wu, S. Zhang, Y. Zhang, Y. Bengio and R. Salakhutdinov",
    2016,
    "On multiplicative integration with recurrent neural networks",
    "NeurIPS 2016, arXiv 1606.06630",
)
ORORBIA = Publication(
    "A. G. Ororbia II, T. Mikolov and D. Reitter",
    2017,
    "Learning simpler language models with the differential state framework",
    "Neural Computation 29(12), arXiv 1703.08864",
)


@cell(gates="m n", applied="n", source=SUTSKEVER)
def mrnn(x: Terms, u: Terms) -> Values:
    """Each input has a recurrent matrix of its own, factored: W diag(V x) U.

    m is the paper's f, the factors.
    """
    m = x.m * u.m
    h = tanh(u.n(m) + x.n)
    return dict(h=h, m=m)


@cell(gates="m i f g o", applied="i f g o", states="h c", keeps="f", admits="i", source=KRAUSE)
def mlstm(x: Terms, u: Terms, c: Tensor) -> Values:
    """An LSTM whose gates see, instead of the state, a product of the input and the state."""
    m = x.m * u.m
    i = sigmoid(x.i + u.i(m))
    f = sigmoid(x.f + u.f(m))
    g = tanh(x.g + u.g(m))
    o = sigmoid(x.o + u.o(m))
    c = f * c + i * g
    h = tanh(c) * o
    return dict(h=h, c=c, m=m, i=i, f=f, g=g, o=o)


@cell(gates="a", source=WU)
def mi_rnn(
    x: Terms, u: Terms, *, alpha: Vector = 1.0, beta_1: Vector = 1.0, beta_2: Vector = 1.0
) -> Values:
    """W x and U h are multiplied as well as added, by weights a unit, in the place of their sum.

    The two products have biases of their own here, where the paper has one for all.
    """
    h = tanh(alpha * x.a * u.a + beta_1 * u.a + beta_2 * x.a)
    return dict(h=h)


@cell(gates="z", source=ORORBIA)
def delta_rnn(
    x: Terms,
    u: Terms,
    h: Tensor,
    *,
    alpha: Vector = 1.0,
    beta_1: Vector = 1.0,
    beta_2: Vector = 1.0,
    b_z: Vector = 0.0,
    b_r: Vector = 0.0,
) -> Values:
    """One pair of products serves the candidate and, with a bias of its own, the gate.

    The products have biases too, which the paper's have not.
    """
    z = tanh(alpha * x.z * u.z + beta_1 * u.z + beta_2 * x.z + b_z)
    r = sigmoid(x.z + b_r)
    h = tanh((1 - r) * z + r * h)
    return dict(h=h, z=z, r=r)
