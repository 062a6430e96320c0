"""Cells with tied weights. What is multiplied with is made of the matrix that is learned.

A layer over such a cell has torch's parametrisation of `weight_hh_l0`: what is learned is called
`parametrizations.weight_hh_l0.original`, and `weight_hh_l0` is what is made of it.
"""

import torch
from torch import Tensor, abs, cumsum, ones_like, relu, sigmoid, sign, tanh, where

from unrolled.cells.cell import Terms, Values, Vector, cell
from unrolled.cells.publication import Publication

KOUTNIK = Publication(
    "J. Koutník, K. Greff, F. Gomez and J. Schmidhuber",
    2014,
    "A clockwork RNN",
    "ICML 2014, arXiv 1402.3511",
    "equations 1 and 2, figure 2",
)
CHANG = Publication(
    "B. Chang, M. Chen, E. Haber and E. H. Chi",
    2019,
    "AntisymmetricRNN: a dynamical system view on recurrent neural networks",
    "ICLR 2019, arXiv 1902.09689",
    "section 3",
)
LEZCANO = Publication(
    "M. Lezcano-Casado and D. Martínez-Rubio",
    2019,
    "Cheap orthogonal constraints in neural networks: a simple parametrization of the orthogonal "
    "and unitary group",
    "ICML 2019, arXiv 1901.08428",
    "section 4",
)
ERICHSON = Publication(
    "N. B. Erichson, O. Azencot, A. Queiruga, L. Hodgkinson and M. W. Mahoney",
    2021,
    "Lipschitz recurrent neural networks",
    "ICLR 2021, arXiv 2006.12070",
    "equations 1 and 2",
)


def slower_to_faster(w: Tensor) -> Tensor:
    """Each of four groups of units reads itself and those with longer periods."""
    unit = torch.arange(len(w), device=w.device)
    group = 4 * unit // len(w)
    return w * (group[:, None] <= group)


@cell(gates="a", states="h n", ties={"a": slower_to_faster}, source=KOUTNIK)
def clockwork(x: Terms, u: Terms, h: Tensor, n: Tensor) -> Values:
    """Groups of units have clocks of their own: one is written at every step, others more rarely.

    Four groups, as equal as can be, with periods of 1, 2, 4 and 8 steps. n counts the steps before,
    j the units up to each, N all of them, and T is the period.
    """
    j = cumsum(ones_like(h), -1) - 1
    N = ones_like(h).sum(-1, keepdim=True)
    T = 1 + (4 * j >= N) * 1.0 + (4 * j >= 2 * N) * 2.0 + (4 * j >= 3 * N) * 4.0
    h = where((n / T).frac() > 0, h, tanh(x.a + u.a))
    n = n + 1
    return dict(h=h, n=n)


EPSILON, GAMMA = 0.1, 0.01  # the step, and the diffusion


def antisymmetric_matrix(w: Tensor) -> Tensor:
    """W - W^T - GAMMA I, whose eigenvalues have GAMMA below 0 as their real part."""
    return w - w.T - GAMMA * torch.eye(len(w), dtype=w.dtype, device=w.device)


@cell(gates="n", ties={"n": antisymmetric_matrix}, source=CHANG)
def antisymmetric(x: Terms, u: Terms, h: Tensor) -> Values:
    """A step of a differential equation with an antisymmetric matrix, which neither grows nor dies.

    The paper chooses both numbers for each data set.
    """
    h = h + EPSILON * tanh(x.n + u.n)
    return dict(h=h)


@cell(gates="z n", recurrent="n", ties={"n": antisymmetric_matrix}, source=CHANG)
def gated_antisymmetric(x: Terms, u: Terms, h: Tensor) -> Values:
    """The antisymmetric network with a gate, which reads the state through the same matrix.

    Gate and candidate share the bias of that product, too, beside one each of the input.
    """
    z = sigmoid(x.z + u.n)
    n = tanh(x.n + u.n)
    h = h + EPSILON * z * n
    return dict(h=h, z=z, n=n)


def exponential(w: Tensor) -> Tensor:
    """exp(A), orthogonal, of the skew-symmetric A whose upper triangle is that of W."""
    upper = w.triu(1)
    return torch.matrix_exp(upper - upper.T)


@cell(gates="a", ties={"a": exponential}, source=LEZCANO)
def exp_rnn(x: Terms, u: Terms, *, b: Vector = (-0.01, 0.01)) -> Values:
    """The recurrent matrix is orthogonal at every update: the exponential of a skew-symmetric one.

    With the paper's modReLU. The matrix starts near the identity, where the paper starts with
    rotations by large angles, and is learned at the rate of all weights, there at a tenth.
    """
    a = x.a + u.a
    h = sign(a) * relu(abs(a) + b)
    return dict(h=h)


STEP, BETA, SHIFT = 0.03, 0.75, 0.001


def relaxed(w: Tensor) -> Tensor:
    """(1 - BETA) (W + W^T) + BETA (W - W^T) - SHIFT I: from symmetric to antisymmetric."""
    unit = torch.eye(len(w), dtype=w.dtype, device=w.device)
    return (1 - BETA) * (w + w.T) + BETA * (w - w.T) - SHIFT * unit


@cell(
    gates="a n",
    feedforward="n",
    recurrent="a n",
    ties={"a": relaxed, "n": relaxed},
    source=ERICHSON,
)
def lipschitz(x: Terms, u: Terms, h: Tensor) -> Values:
    """A linear part and a squashed one, whose matrices are between symmetric and antisymmetric.

    One step of the forward Euler scheme, of 0.03. The paper chooses the numbers for each data set.
    The linear product has a bias here.
    """
    n = tanh(x.n + u.n)
    h = h + STEP * (u.a + n)
    return dict(h=h, n=n)
