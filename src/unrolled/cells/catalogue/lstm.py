"""LSTM variants. Gates i (input), f (forget), g (candidate), o (output); states h and c.

The variants of Greff et al. are of an LSTM with peepholes: each leaves out or adds one thing.
The one without peepholes (their NP) is `lstm`. Peepholes start at 0.
"""

from torch import Tensor, exp, maximum, sigmoid, tanh, where
from torch.nn.functional import logsigmoid

from unrolled.cells.cell import Terms, Values, Vector, cell
from unrolled.cells.publication import Publication

HOCHREITER = Publication(
    "S. Hochreiter and J. Schmidhuber",
    1997,
    "Long short-term memory",
    "Neural Computation 9(8)",
)
GERS = Publication(
    "F. A. Gers, N. N. Schraudolph and J. Schmidhuber",
    2002,
    "Learning precise timing with LSTM recurrent networks",
    "Journal of Machine Learning Research 3",
)
GREFF = Publication(
    "K. Greff, R. K. Srivastava, J. Koutník, B. R. Steunebrink and J. Schmidhuber",
    2017,
    "LSTM: a search space odyssey",
    "IEEE Transactions on Neural Networks and Learning Systems 28(10), arXiv 1503.04069",
)
KIM = Publication(
    "J. Kim, M. El-Khamy and J. Lee",
    2017,
    "Residual LSTM: design of a deep recurrent architecture for distant speech recognition",
    "Interspeech 2017, arXiv 1701.03360",
)
LU = Publication(
    "Y. Lu and F. M. Salem",
    2017,
    "Simplified gating in long short-term memory (LSTM) recurrent neural networks",
    "MWSCAS 2017, arXiv 1701.03441",
)
GONNET = Publication(
    "P. Gonnet and T. Deselaers",
    2020,
    "IndyLSTMs: independently recurrent LSTMs",
    "ICASSP 2020, arXiv 1903.08023",
)
LANDI = Publication(
    "F. Landi, L. Baraldi, M. Cornia and R. Cucchiara",
    2021,
    "Working memory connections for LSTM",
    "Neural Networks 144, arXiv 2109.00020",
)
BECK = Publication(
    "M. Beck et al.",
    2024,
    "xLSTM: extended long short-term memory",
    "NeurIPS 2024, arXiv 2405.04517",
)


@cell(gates="i g o", states="h c", admits="i", source=HOCHREITER)
def lstm_1997(x: Terms, u: Terms, c: Tensor) -> Values:
    """A state that only adds lets errors flow through time unchanged, behind gates that learn.

    Without a forget gate. The squashing functions are the paper's, g in (-2, 2) and h in (-1, 1):
    4 s(a) - 2 and 2 s(c) - 1. The gradient is the whole one, where the paper cuts it at the gates.
    """
    i = sigmoid(x.i + u.i)
    g = 4 * sigmoid(x.g + u.g) - 2
    o = sigmoid(x.o + u.o)
    c = c + i * g
    h = o * (2 * sigmoid(c) - 1)
    return dict(h=h, c=c, i=i, g=g, o=o)


@cell(gates="i f g o", states="h c", keeps="f", admits="i", source=GERS)
def lstm_peephole(
    x: Terms, u: Terms, c: Tensor, *, p_i: Vector = 0.0, p_f: Vector = 0.0, p_o: Vector = 0.0
) -> Values:
    """The gates see the state that they guard, by one weight a unit, and so learn precise timing.

    As Greff et al. write it, with a tanh at the output, which the paper of 2002 leaves out
    (`lstm_noaf` does too).
    """
    i = sigmoid(x.i + u.i + p_i * c)
    f = sigmoid(x.f + u.f + p_f * c)
    g = tanh(x.g + u.g)
    c = f * c + i * g
    o = sigmoid(x.o + u.o + p_o * c)
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, f=f, g=g, o=o)


@cell(gates="f g o", states="h c", keeps="f", source=GREFF)
def lstm_nig(x: Terms, u: Terms, c: Tensor, *, p_f: Vector = 0.0, p_o: Vector = 0.0) -> Values:
    """No input gate: what is new enters the state as it is."""
    f = sigmoid(x.f + u.f + p_f * c)
    g = tanh(x.g + u.g)
    c = f * c + g
    o = sigmoid(x.o + u.o + p_o * c)
    h = o * tanh(c)
    return dict(h=h, c=c, f=f, g=g, o=o)


@cell(gates="i g o", states="h c", admits="i", source=GREFF)
def lstm_nfg(x: Terms, u: Terms, c: Tensor, *, p_i: Vector = 0.0, p_o: Vector = 0.0) -> Values:
    """No forget gate: the state only adds, as in 1997, but the gates have peepholes."""
    i = sigmoid(x.i + u.i + p_i * c)
    g = tanh(x.g + u.g)
    c = c + i * g
    o = sigmoid(x.o + u.o + p_o * c)
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, g=g, o=o)


@cell(gates="i f g", states="h c", keeps="f", admits="i", source=GREFF)
def lstm_nog(x: Terms, u: Terms, c: Tensor, *, p_i: Vector = 0.0, p_f: Vector = 0.0) -> Values:
    """No output gate: the squashed state is the output."""
    i = sigmoid(x.i + u.i + p_i * c)
    f = sigmoid(x.f + u.f + p_f * c)
    g = tanh(x.g + u.g)
    c = f * c + i * g
    h = tanh(c)
    return dict(h=h, c=c, i=i, f=f, g=g)


@cell(gates="i f g o", states="h c", keeps="f", admits="i", source=GREFF)
def lstm_niaf(
    x: Terms, u: Terms, c: Tensor, *, p_i: Vector = 0.0, p_f: Vector = 0.0, p_o: Vector = 0.0
) -> Values:
    """No input activation function: the candidate is not squashed."""
    i = sigmoid(x.i + u.i + p_i * c)
    f = sigmoid(x.f + u.f + p_f * c)
    g = x.g + u.g
    c = f * c + i * g
    o = sigmoid(x.o + u.o + p_o * c)
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, f=f, g=g, o=o)


@cell(gates="i f g o", states="h c", keeps="f", admits="i", source=GREFF)
def lstm_noaf(
    x: Terms, u: Terms, c: Tensor, *, p_i: Vector = 0.0, p_f: Vector = 0.0, p_o: Vector = 0.0
) -> Values:
    """No output activation function: the state is gated, but not squashed, on its way out."""
    i = sigmoid(x.i + u.i + p_i * c)
    f = sigmoid(x.f + u.f + p_f * c)
    g = tanh(x.g + u.g)
    c = f * c + i * g
    o = sigmoid(x.o + u.o + p_o * c)
    h = o * c
    return dict(h=h, c=c, i=i, f=f, g=g, o=o)


@cell(gates="i g o", states="h c", admits="i", source=GREFF)
def lstm_cifg(x: Terms, u: Terms, c: Tensor, *, p_i: Vector = 0.0, p_o: Vector = 0.0) -> Values:
    """Coupled input and forget gate: what is let in is what is given up, f = 1 - i, as in a GRU."""
    i = sigmoid(x.i + u.i + p_i * c)
    g = tanh(x.g + u.g)
    c = (1 - i) * c + i * g
    o = sigmoid(x.o + u.o + p_o * c)
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, g=g, o=o)


@cell(
    gates="i f g o ii fi oi if_ ff of io fo oo",
    feedforward="i f g o",
    applied="ii fi oi if_ ff of io fo oo",
    states="h c i f o",
    keeps="f",
    admits="i",
    source=GREFF,
)
def lstm_fgr(
    x: Terms,
    u: Terms,
    c: Tensor,
    i: Tensor,
    f: Tensor,
    o: Tensor,
    *,
    p_i: Vector = 0.0,
    p_f: Vector = 0.0,
    p_o: Vector = 0.0,
) -> Values:
    """Full gate recurrence: each gate sees all three as they were a step before, by nine matrices.

    u.fi is what the input gate sees of the forget gate.
    """
    a = x.i + u.i + u.ii(i) + u.fi(f) + u.oi(o) + p_i * c
    b = x.f + u.f + u.if_(i) + u.ff(f) + u.of(o) + p_f * c
    d = x.o + u.o + u.io(i) + u.fo(f) + u.oo(o)
    i = sigmoid(a)
    f = sigmoid(b)
    g = tanh(x.g + u.g)
    c = f * c + i * g
    o = sigmoid(d + p_o * c)
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, f=f, g=g, o=o)


@cell(
    gates="i f g o m_i m_f m_o",
    feedforward="i f g o",
    applied="m_i m_f m_o",
    states="h c",
    keeps="f",
    admits="i",
    source=LANDI,
)
def lstm_wmc(x: Terms, u: Terms, c: Tensor) -> Values:
    """The gates see the state by a matrix and a tanh, where peepholes have one weight a unit."""
    i = sigmoid(x.i + u.i + tanh(u.m_i(c)))
    f = sigmoid(x.f + u.f + tanh(u.m_f(c)))
    g = tanh(x.g + u.g)
    c = f * c + i * g
    o = sigmoid(x.o + u.o + tanh(u.m_o(c)))
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, f=f, g=g, o=o)


@cell(gates="i f g o m", states="h c", applied="m", keeps="f", admits="i", source=KIM)
def lstm_residual(
    x: Terms, u: Terms, c: Tensor, *, p_i: Vector = 0.0, p_f: Vector = 0.0, p_o: Vector = 0.0
) -> Values:
    """A shortcut from the layer's input joins the output before the output gate.

    m is the projection of the squashed state, and x.m the shortcut, with a matrix of its own; the
    paper leaves that matrix out where the sizes agree. Both have biases here.
    """
    i = sigmoid(x.i + u.i + p_i * c)
    f = sigmoid(x.f + u.f + p_f * c)
    g = tanh(x.g + u.g)
    c = f * c + i * g
    o = sigmoid(x.o + u.o + p_o * c)
    m = u.m(tanh(c))
    h = o * (m + x.m)
    return dict(h=h, c=c, i=i, f=f, g=g, o=o, m=m)


@cell(gates="g", states="h c", source=LU)
def lstm3(
    x: Terms, u: Terms, c: Tensor, *, b_i: Vector = 0.0, b_f: Vector = 0.0, b_o: Vector = 0.0
) -> Values:
    """Gates that are learned constants, one number a unit, and read nothing: the paper's LSTM3.

    They start half open, at s(0).
    """
    i, f, o = sigmoid(b_i), sigmoid(b_f), sigmoid(b_o)
    g = tanh(x.g + u.g)
    c = f * c + i * g
    h = o * tanh(c)
    return dict(h=h, c=c, g=g)


@cell(gates="i f g o", states="h c", recurrent="", keeps="f", admits="i", source=GONNET)
def indy_lstm(
    x: Terms,
    h: Tensor,
    c: Tensor,
    *,
    u_i: Vector = 1.0,
    u_f: Vector = 1.0,
    u_g: Vector = 1.0,
    u_o: Vector = 1.0,
) -> Values:
    """Each unit sees of the output before only its own: four vectors in place of four matrices."""
    i = sigmoid(x.i + u_i * h)
    f = sigmoid(x.f + u_f * h)
    g = tanh(x.g + u_g * h)
    o = sigmoid(x.o + u_o * h)
    c = f * c + i * g
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, f=f, g=g, o=o)


@cell(gates="i f g o", states="h c n m", keeps="f", admits="i", source=BECK)
def slstm(x: Terms, u: Terms, c: Tensor, n: Tensor, m: Tensor) -> Values:
    """The input gate is an exponential, so that what comes later can outweigh all before it.

    n sums what was let in, and m keeps the exponents in range without changing h: c and n are the
    paper's, divided by exp(m). At the first step, where n is 0, m is a. The forget gate is the
    sigmoid one; one head, where `slstm_heads` has several.
    """
    f = sigmoid(x.f + u.f)
    a = x.i + u.i
    b = where(n > 0, logsigmoid(x.f + u.f) + m, a)
    m = maximum(a, b)
    g = tanh(x.g + u.g)
    o = sigmoid(x.o + u.o)
    c = exp(b - m) * c + exp(a - m) * g
    n = exp(b - m) * n + exp(a - m)
    h = o * (c / n)
    return dict(h=h, c=c, n=n, m=m, f=f, g=g, o=o)


@cell(gates="i f g o", states="h c n m", keeps="f", admits="i", heads=4, source=BECK)
def slstm_heads(x: Terms, u: Terms, c: Tensor, n: Tensor, m: Tensor) -> Values:
    """The sLSTM as the paper has it: the units of a head mix, those of two heads do not.

    Four heads unless the layer is told another number: the recurrent matrices have a block for each
    on their diagonals. All else is `slstm`; the paper's normalisation of each head is
    left to what follows the layer.
    """
    f = sigmoid(x.f + u.f)
    a = x.i + u.i
    b = where(n > 0, logsigmoid(x.f + u.f) + m, a)
    m = maximum(a, b)
    g = tanh(x.g + u.g)
    o = sigmoid(x.o + u.o)
    c = exp(b - m) * c + exp(a - m) * g
    n = exp(b - m) * n + exp(a - m)
    h = o * (c / n)
    return dict(h=h, c=c, n=n, m=m, f=f, g=g, o=o)
