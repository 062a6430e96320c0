"""Smaller GRUs. Gates r (reset), z (update), n (candidate), by the letters of each paper.

Papers differ in what an update gate of 1 means: in most of these it lets the new state in. Those
cells name it as `admits`, and none as `keeps`.
"""

from torch import Tensor, relu, sigmoid, tanh

from unrolled.cells.cell import Terms, Values, Vector, cell
from unrolled.cells.publication import Publication

DEY = Publication(
    "R. Dey and F. M. Salem",
    2017,
    "Gate-variants of gated recurrent unit (GRU) neural networks",
    "MWSCAS 2017, arXiv 1701.05923",
)
ZHOU = Publication(
    "G.-B. Zhou, J. Wu, C.-L. Zhang and Z.-H. Zhou",
    2016,
    "Minimal gated unit for recurrent neural networks",
    "International Journal of Automation and Computing 13(3), arXiv 1603.09420",
)
HECK = Publication(
    "J. C. Heck and F. M. Salem",
    2017,
    "Simplified minimal gated unit variations for recurrent neural networks",
    "MWSCAS 2017, arXiv 1701.03452",
)
JOZEFOWICZ = Publication(
    "R. Jozefowicz, W. Zaremba and I. Sutskever",
    2015,
    "An empirical exploration of recurrent network architectures",
    "ICML 2015",
)
RAVANELLI = Publication(
    "M. Ravanelli, P. Brakel, M. Omologo and Y. Bengio",
    2018,
    "Light gated recurrent units for speech recognition",
    "IEEE Transactions on Emerging Topics in Computational Intelligence 2(2), arXiv 1803.10225",
)
GAO = Publication(
    "F. Gao, L. Wu, L. Zhao, T. Qin, X. Cheng and T.-Y. Liu",
    2018,
    "Efficient sequence learning with group recurrent networks",
    "NAACL-HLT 2018",
)
YE = Publication(
    "H. Ye, Y. Zhang, H. Liu, X. Li, J. Chang and H. Zheng",
    2024,
    "Light recurrent unit: towards an interpretable recurrent neural network for modeling "
    "long-range dependency",
    "Electronics 13(16), 3204",
)
ZYARAH = Publication(
    "A. M. Zyarah and D. Kudithipudi",
    2025,
    "Minion gated recurrent unit for continual learning",
    "arXiv 2503.06175",
)


@cell(gates="r z n", feedforward="n", applied="n", admits="z", source=DEY)
def gru1(u: Terms, x: Terms, h: Tensor) -> Values:
    """The gates see the state before and a bias, and not the input: the paper's GRU1."""
    r = sigmoid(u.r)
    z = sigmoid(u.z)
    n = tanh(x.n + u.n(r * h))
    h = (1 - z) * h + z * n
    return dict(h=h, r=r, z=z, n=n)


@cell(gates="n", applied="n", source=DEY)
def gru3(x: Terms, u: Terms, h: Tensor, *, b_r: Vector = 0.0, b_z: Vector = 0.0) -> Values:
    """The gates are learned constants, one number a unit: the paper's GRU3."""
    r = sigmoid(b_r)
    z = sigmoid(b_z)
    n = tanh(x.n + u.n(r * h))
    h = (1 - z) * h + z * n
    return dict(h=h, n=n)


@cell(gates="f n", applied="n", admits="f", source=ZHOU)
def mgu(x: Terms, u: Terms, h: Tensor) -> Values:
    """One gate does the work of both of a GRU: what is forgotten is also left out of the candidate.

    The paper calls it a forget gate; at 1 it replaces the state.
    """
    f = sigmoid(x.f + u.f)
    n = tanh(x.n + u.n(f * h))
    h = (1 - f) * h + f * n
    return dict(h=h, f=f, n=n)


@cell(gates="f n", feedforward="n", applied="n", admits="f", source=HECK)
def mgu1(x: Terms, u: Terms, h: Tensor) -> Values:
    """An MGU whose gate sees the state before and a bias, and not the input: the paper's MGU1."""
    f = sigmoid(u.f)
    n = tanh(x.n + u.n(f * h))
    h = (1 - f) * h + f * n
    return dict(h=h, f=f, n=n)


@cell(gates="n", applied="n", source=HECK)
def mgu3(x: Terms, u: Terms, h: Tensor, *, b_f: Vector = 0.0) -> Values:
    """An MGU whose gate is a learned constant, one number a unit: the paper's MGU3."""
    f = sigmoid(b_f)
    n = tanh(x.n + u.n(f * h))
    h = (1 - f) * h + f * n
    return dict(h=h, n=n)


@cell(gates="z r n", recurrent="r n", applied="n", admits="z", source=JOZEFOWICZ)
def mut1(x: Terms, u: Terms, h: Tensor) -> Values:
    """Found by a search that mutated cells: the update gate sees the input alone.

    The paper writes tanh(x_t), which has to have H features; here the input has a matrix there.
    """
    z = sigmoid(x.z)
    r = sigmoid(x.r + u.r)
    n = tanh(u.n(r * h) + tanh(x.n))
    h = n * z + h * (1 - z)
    return dict(h=h, z=z, r=r, n=n)


@cell(gates="z r n", applied="n", admits="z", source=JOZEFOWICZ)
def mut2(x: Terms, u: Terms, h: Tensor) -> Values:
    """Found by a search that mutated cells: the reset gate sees the input without a matrix.

    The paper writes x_t there, which has to have H features; here the input has a matrix, by which
    the cell is a GRU with a reset before the product.
    """
    z = sigmoid(x.z + u.z)
    r = sigmoid(x.r + u.r)
    n = tanh(u.n(r * h) + x.n)
    h = n * z + h * (1 - z)
    return dict(h=h, z=z, r=r, n=n)


@cell(gates="r z n", applied="z n", admits="z", source=JOZEFOWICZ)
def mut3(x: Terms, u: Terms, h: Tensor) -> Values:
    """Found by a search that mutated cells: the update gate sees the squashed state."""
    z = sigmoid(x.z + u.z(tanh(h)))
    r = sigmoid(x.r + u.r)
    n = tanh(u.n(r * h) + x.n)
    h = n * z + h * (1 - z)
    return dict(h=h, z=z, r=r, n=n)


@cell(gates="f n", recurrent="f", admits="f", source=YE)
def light_ru(x: Terms, u: Terms, h: Tensor) -> Values:
    """One gate, and a candidate that sees the input alone.

    The paper calls it LRU. At 1 its forget gate f replaces the state.
    """
    f = sigmoid(x.f + u.f)
    n = tanh(x.n)
    h = (1 - f) * h + f * n
    return dict(h=h, f=f, n=n)


@cell(gates="z n", keeps="z", source=RAVANELLI)
def li_gru(x: Terms, u: Terms, h: Tensor) -> Values:
    """No reset gate, and a candidate that is not squashed but rectified.

    The paper normalises W_x x over each batch, which is what keeps the rectified state in range;
    here nothing does.
    """
    z = sigmoid(x.z + u.z)
    n = relu(x.n + u.n)
    h = z * h + (1 - z) * n
    return dict(h=h, z=z, n=n)


MIRU_BETA, MIRU_LAMBDA = 0.5, 0.5  # in the place of the reset gate, and of the update gate


@cell(gates="r n", applied="n", source=ZYARAH)
def miru1(x: Terms, u: Terms, h: Tensor) -> Values:
    """A GRU whose update gate is a number, the same for all units and steps: the paper's MiRU-1."""
    r = sigmoid(x.r + u.r)
    n = tanh(x.n + u.n(r * h))
    h = MIRU_LAMBDA * h + (1 - MIRU_LAMBDA) * n
    return dict(h=h, r=r, n=n)


@cell(gates="n", applied="n", source=ZYARAH)
def miru2(x: Terms, u: Terms, h: Tensor) -> Values:
    """A GRU with numbers for both gates, the same for all units and steps: the paper's MiRU-2."""
    n = tanh(x.n + u.n(MIRU_BETA * h))
    h = MIRU_LAMBDA * h + (1 - MIRU_LAMBDA) * n
    return dict(h=h, n=n)


@cell(gates="r z n", applied="n", admits="z", heads=4, source=GAO)
def group_gru(x: Terms, u: Terms, h: Tensor) -> Values:
    """The units are in groups that read their own states alone: a recurrent matrix a group.

    Four unless the layer is told another number of `heads`. The paper's input weights are in groups
    too, and layers exchange features between them; here each group reads the whole input.
    """
    r = sigmoid(x.r + u.r)
    z = sigmoid(x.z + u.z)
    n = tanh(x.n + u.n(r * h))
    h = (1 - z) * h + z * n
    return dict(h=h, r=r, z=z, n=n)
