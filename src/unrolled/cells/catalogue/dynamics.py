"""Dynamical systems and neurons. A step of such a cell is a step of an equation in time.

Step sizes and constants that a paper chooses for each data set are numbers in the cells' file.
"""

from typing import Any

import torch
from torch import Tensor, relu, sigmoid, tanh

from unrolled.cells.cell import Terms, Values, Vector, cell
from unrolled.cells.publication import Publication

LI = Publication(
    "S. Li, W. Li, C. Cook, C. Zhu and Y. Gao",
    2018,
    "Independently recurrent neural network (IndRNN): building a longer and deeper RNN",
    "CVPR 2018, arXiv 1803.04831",
)
SONG = Publication(
    "H. F. Song, G. R. Yang and X.-J. Wang",
    2016,
    "Training excitatory-inhibitory recurrent neural networks for cognitive tasks: a simple and "
    "flexible framework",
    "PLoS Computational Biology 12(2)",
)
RUSCH = Publication(
    "T. K. Rusch and S. Mishra",
    2021,
    "Coupled oscillatory recurrent neural network (coRNN): an accurate and (gradient) stable "
    "architecture for learning long time dependencies",
    "ICLR 2021, arXiv 2010.00951",
)
RUSCH_UNICORNN = Publication(
    "T. K. Rusch and S. Mishra",
    2021,
    "UnICORNN: a recurrent model for learning very long time dependencies",
    "ICML 2021, arXiv 2103.05487",
)
RUSCH_LEM = Publication(
    "T. K. Rusch, S. Mishra, N. B. Erichson and M. W. Mahoney",
    2022,
    "Long expressive memory for sequence modeling",
    "ICLR 2022, arXiv 2110.04744",
)
KUSUPATI = Publication(
    "A. Kusupati et al.",
    2018,
    "FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated recurrent neural network",
    "NeurIPS 2018, arXiv 1901.02358",
)
HASANI_LTC = Publication(
    "R. Hasani, M. Lechner, A. Amini, D. Rus and R. Grosu",
    2021,
    "Liquid time-constant networks",
    "AAAI 2021, arXiv 2006.04439",
)
HASANI_CFC = Publication(
    "R. Hasani et al.",
    2022,
    "Closed-form continuous-time neural networks",
    "Nature Machine Intelligence 4, arXiv 2106.13898",
)
NEFTCI = Publication(
    "E. O. Neftci, H. Mostafa and F. Zenke",
    2019,
    "Surrogate gradient learning in spiking neural networks: bringing the power of gradient-based "
    "optimization to spiking neural networks",
    "IEEE Signal Processing Magazine 36(6), arXiv 1901.09948",
)
BELLEC = Publication(
    "G. Bellec, D. Salaj, A. Subramoney, R. Legenstein and W. Maass",
    2018,
    "Long short-term memory and learning-to-learn in networks of spiking neurons",
    "NeurIPS 2018, arXiv 1803.09574",
)


@cell(gates="a", recurrent="", source=LI)
def ind_rnn(x: Terms, h: Tensor, *, w: Vector = 1.0) -> Values:
    """A unit sees of the state before only itself, so that its gradient can be kept in range.

    The paper draws w between 0 and 1, as `initialize.uniform(layer, "w", 0, 1)` does, and bounds
    it; here it starts at 1, and nothing bounds it.
    """
    h = relu(x.a + w * h)
    return dict(h=h)


ALPHA = 0.2  # time step by time constant, 20 ms and 100 ms


@cell(gates="a", states="h v", source=SONG)
def ctrnn(x: Terms, u: Terms, v: Tensor) -> Values:
    """A rate network in continuous time: each unit leaks toward what drives it.

    v is the current, h the rate. Without the paper's noise, and without its signs of weights.
    """
    v = (1 - ALPHA) * v + ALPHA * (x.a + u.a)
    h = relu(v)
    return dict(h=h, v=v)


@cell(gates="n", source=KUSUPATI)
def fast_rnn(x: Terms, u: Terms, h: Tensor, *, alpha: Vector = -3.0, beta: Vector = 3.0) -> Values:
    """A weighted residual connection around a plain recurrent step, with two learned weights.

    The weights are s(alpha) and s(beta), one pair for each unit, where the paper has one for all.
    """
    n = tanh(x.n + u.n)
    h = sigmoid(alpha) * n + sigmoid(beta) * h
    return dict(h=h, n=n)


@cell(gates="a", source=KUSUPATI)
def fast_grnn(
    x: Terms,
    u: Terms,
    h: Tensor,
    *,
    b_z: Vector = 1.0,
    b_n: Vector = 1.0,
    zeta: Vector = 1.0,
    nu: Vector = -4.0,
) -> Values:
    """Gate and candidate share one pair of matrices, and differ by their biases alone.

    s(zeta) and s(nu) are one pair for each unit, where the paper has one for all. The products have
    biases too.
    """
    a = x.a + u.a
    z = sigmoid(a + b_z)
    n = tanh(a + b_n)
    h = (sigmoid(zeta) * (1 - z) + sigmoid(nu)) * n + z * h
    return dict(h=h, z=z, n=n)


CORNN_DT, CORNN_GAMMA, CORNN_EPSILON = 0.042, 2.7, 4.7  # as for sequential MNIST


@cell(gates="a b", feedforward="a", applied="b", states="h z", source=RUSCH)
def cornn(x: Terms, u: Terms, h: Tensor, z: Tensor) -> Values:
    """Units are damped oscillators that drive each other, with a gradient that stays in bounds.

    h is the paper's y, the place of an oscillator, and z its velocity.
    """
    z = z + CORNN_DT * (tanh(x.a + u.a + u.b(z)) - CORNN_GAMMA * h - CORNN_EPSILON * z)
    h = h + CORNN_DT * z
    return dict(h=h, z=z)


UNICORNN_DT, UNICORNN_ALPHA = 0.1, 1.0


@cell(gates="a", recurrent="", states="h z", source=RUSCH_UNICORNN)
def unicornn(x: Terms, h: Tensor, z: Tensor, *, w: Vector = 0.5, c: Vector = 0.0) -> Values:
    """Oscillators without damping that see only themselves: a step that can be undone.

    h is the paper's y. s(c) is the time step of each unit, in parts of the longest, 0.1 here.
    """
    dt = UNICORNN_DT * sigmoid(c)
    z = z - dt * (tanh(w * h + x.a) + UNICORNN_ALPHA * h)
    h = h + dt * z
    return dict(h=h, z=z)


LEM_DT = 1.0


@cell(gates="d_z d_y z y", applied="y", states="h c", admits="d_y", source=RUSCH_LEM)
def lem(x: Terms, u: Terms, h: Tensor, c: Tensor) -> Values:
    """Two states that live on two time scales, both learned, of each unit and each step.

    h is the paper's y, and c its z, which h sees as it is now.
    """
    d_z = LEM_DT * sigmoid(x.d_z + u.d_z)
    d_y = LEM_DT * sigmoid(x.d_y + u.d_y)
    z = tanh(x.z + u.z)
    c = (1 - d_z) * c + d_z * z
    y = tanh(x.y + u.y(c))
    h = (1 - d_y) * h + d_y * y
    return dict(h=h, c=c, d_z=d_z, d_y=d_y, z=z, y=y)


@cell(gates="f", source=HASANI_LTC)
def ltc(x: Terms, u: Terms, h: Tensor, *, tau: Vector = 1.0, A: Vector = 1.0) -> Values:
    """The time constant of a unit is liquid: it depends on the input and the state.

    One step of the paper's fused solver, of time 1, for each input. The nonlinearity is s. Nothing
    keeps tau above 0, where the paper's is.
    """
    f = sigmoid(x.f + u.f)
    h = (h + f * A) / (1 + 1 / tau + f)
    return dict(h=h, f=f)


@cell(gates="f g n", source=HASANI_CFC)
def cfc(x: Terms, u: Terms) -> Values:
    """A closed form of a liquid time-constant cell: a gate that closes with time, and no solver.

    Time between steps is 1. The three heads read the input and the state without the paper's common
    network before them; n is its h.
    """
    t = sigmoid(-(x.f + u.f))
    g = tanh(x.g + u.g)
    n = tanh(x.n + u.n)
    h = t * g + (1 - t) * n
    return dict(h=h, t=t, g=g, n=n)


SHARPNESS = 10.0


class _Spike(torch.autograd.Function):
    """1 above a threshold of 0, else 0; its gradient is that of a / (1 + SHARPNESS |a|)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        return (a > 0).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        a: Tensor
        (a,) = ctx.saved_tensors
        return gradient / (1 + SHARPNESS * a.abs()) ** 2


def spike(a: Tensor) -> Tensor:
    """Return 1 where a > 0, else 0, with the surrogate gradient."""
    spikes: Tensor = _Spike.apply(a)  # type: ignore[no-untyped-call]  # torch has no types for it
    return spikes


LIF_DECAY = 0.9
THRESHOLD = 1.0


@cell(gates="a", states="h v", source=NEFTCI)
def lif(x: Terms, u: Terms, h: Tensor, v: Tensor) -> Values:
    """A spiking neuron that leaks, trained as if its threshold were soft: a surrogate gradient.

    h is 1 where a unit fires, else 0; a spike takes the threshold from the potential v. Without the
    paper's current of a synapse, a second leak before v. The surrogate is 1 / (1 + 10 |v - 1|)^2.
    """
    v = LIF_DECAY * v + x.a + u.a - THRESHOLD * h
    h = spike(v - THRESHOLD)
    return dict(h=h, v=v)


ADAPTATION_DECAY, ADAPTATION = 0.97, 0.5


@cell(gates="a", states="h v b", source=BELLEC)
def alif(x: Terms, u: Terms, h: Tensor, v: Tensor, b: Tensor) -> Values:
    """A spiking neuron whose threshold rises with each spike and falls back slowly: its memory.

    h is 1 where a unit fires, else 0; a spike takes the threshold that it passed from the potential
    v, and b, the mean of past spikes, raises it. The surrogate gradient is that of `lif`, where the
    paper's is piecewise linear; the numbers are chosen here.
    """
    v = LIF_DECAY * v + (1 - LIF_DECAY) * (x.a + u.a) - (THRESHOLD + ADAPTATION * b) * h
    b = ADAPTATION_DECAY * b + (1 - ADAPTATION_DECAY) * h
    h = spike(v - THRESHOLD - ADAPTATION * b)
    return dict(h=h, v=v, b=b)
