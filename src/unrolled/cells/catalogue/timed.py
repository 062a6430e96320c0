"""Cells that read time. Each takes the time since its last step, 1 where none is given.

It is an input of every step beside x: layers and streams take `dt=`. In a task a step is 1.
"""

from torch import Tensor, exp, floor, relu, sigmoid, tanh, where

from unrolled.cells.cell import Terms, Values, Vector, cell
from unrolled.cells.publication import Publication

NEIL = Publication(
    "D. Neil, M. Pfeiffer and S.-C. Liu",
    2016,
    "Phased LSTM: accelerating recurrent network training for long or event-based sequences",
    "NeurIPS 2016, arXiv 1610.09513",
    "section 2",
)
CHE = Publication(
    "Z. Che, S. Purushotham, K. Cho, D. Sontag and Y. Liu",
    2018,
    "Recurrent neural networks for multivariate time series with missing values",
    "Scientific Reports 8, arXiv 1606.01865",
    "the hidden state decay of GRU-D",
)

OPEN, LEAK = 0.05, 0.001  # part of a period in which a unit is open; what passes when it is shut


@cell(gates="i f g o", states="h c t", inputs="dt=1", keeps="f", admits="i", source=NEIL)
def phased_lstm(
    x: Terms,
    u: Terms,
    h: Tensor,
    c: Tensor,
    t: Tensor,
    dt: Tensor,
    *,
    p_i: Vector = 0.0,
    p_f: Vector = 0.0,
    p_o: Vector = 0.0,
    p: Vector = (0.0, 3.0),
    s: Vector = (0.0, 1.0),
) -> Values:
    """A unit is written only in a short part of a period of its own, and keeps its states else.

    t is the time since the beginning, exp(p) the period and s the phase shift in parts of it; k is
    how far a unit is open, and d the paper's c with a tilde. The part in which a unit is open is a
    number, where the paper may learn it.
    """
    t = t + dt
    phi = t * exp(-p) - s
    phi = phi - floor(phi)
    k = where(phi < OPEN, 1 - abs(2 * phi / OPEN - 1), LEAK * phi)
    i = sigmoid(x.i + u.i + p_i * c)
    f = sigmoid(x.f + u.f + p_f * c)
    g = tanh(x.g + u.g)
    d = f * c + i * g
    o = sigmoid(x.o + u.o + p_o * d)
    c = k * d + (1 - k) * c
    h = k * o * tanh(d) + (1 - k) * h
    return dict(h=h, c=c, t=t, k=k, i=i, f=f, g=g, o=o)


@cell(gates="r z n", applied="r z n", inputs="dt=1", admits="z", source=CHE)
def gru_d(
    x: Terms, u: Terms, h: Tensor, dt: Tensor, *, w: Vector = (0.0, 0.1), b: Vector = 0.0
) -> Values:
    """The state decays with the time since the last step, at a rate that each unit learns.

    x is the paper's values, where they are missing filled in, with its mask beside them. dt is a
    time for each row, or H numbers where the variables have times of their own: the product W_gamma
    delta, with w at 1. How what is missing decays to its mean is not here: it comes before x.
    """
    gamma = exp(-relu(w * dt + b))
    h = gamma * h
    r = sigmoid(x.r + u.r(h))
    z = sigmoid(x.z + u.z(h))
    n = tanh(x.n + u.n(r * h))
    h = (1 - z) * h + z * n
    return dict(h=h, gamma=gamma, r=r, z=z, n=n)
