"""Gates that see the input alone. No product from one state to the next: a step costs little.

Training such a cell could be parallel over time, which is what most of these papers are about; here
it is a loop, whose input products are made for all steps at once.
"""

from torch import Tensor, clamp, cos, exp, expm1, maximum, sigmoid, sin, sqrt, tanh, where
from torch.nn.functional import logsigmoid

from unrolled.cells.cell import Terms, Values, Vector, cell
from unrolled.cells.publication import Publication

BALDUZZI = Publication(
    "D. Balduzzi and M. Ghifary",
    2016,
    "Strongly-typed recurrent neural networks",
    "ICML 2016, arXiv 1602.02218",
)
BRADBURY = Publication(
    "J. Bradbury, S. Merity, C. Xiong and R. Socher",
    2017,
    "Quasi-recurrent neural networks",
    "ICLR 2017, arXiv 1611.01576",
)
LEI = Publication(
    "T. Lei, Y. Zhang, S. I. Wang, H. Dai and Y. Artzi",
    2018,
    "Simple recurrent units for highly parallelizable recurrence",
    "EMNLP 2018, arXiv 1709.02755",
)
MARTIN = Publication(
    "E. Martin and C. Cundy",
    2018,
    "Parallelizing linear recurrent neural nets over sequence length",
    "ICLR 2018, arXiv 1709.04057",
)
FENG = Publication(
    "L. Feng, F. Tung, M. O. Ahmed, Y. Bengio and H. Hajimirsadeghi",
    2024,
    "Were RNNs all we needed?",
    "arXiv 2410.01201",
)
ORVIETO = Publication(
    "A. Orvieto et al.",
    2023,
    "Resurrecting recurrent neural networks for long sequences",
    "ICML 2023, arXiv 2303.06349",
)
DE = Publication(
    "S. De et al.",
    2024,
    "Griffin: mixing gated linear recurrences with local attention for efficient language models",
    "arXiv 2402.19427",
)
PENG = Publication(
    "B. Peng et al.",
    2023,
    "RWKV: reinventing RNNs for the transformer era",
    "Findings of EMNLP 2023, arXiv 2305.13048",
)


@cell(gates="z f", recurrent="", keeps="f", source=BALDUZZI)
def t_rnn(x: Terms, h: Tensor) -> Values:
    """States and inputs have types that the step does not mix: the state averages inputs."""
    f = sigmoid(x.f)
    h = f * h + (1 - f) * x.z
    return dict(h=h, f=f)


@cell(gates="z f o v_z v_f v_o", recurrent="", states="h v_z v_f v_o", keeps="f", source=BALDUZZI)
def t_gru(x: Terms, h: Tensor, v_z: Tensor, v_f: Tensor, v_o: Tensor) -> Values:
    """A strongly-typed GRU: gates see this input and the one before, and no state.

    The states v are V x_t + b, for the next step; before the first one they are 0.
    """
    z = x.z + v_z
    f = sigmoid(x.f + v_f)
    o = tanh(x.o + v_o)
    h = f * h + z * o
    v_z, v_f, v_o = x.v_z, x.v_f, x.v_o
    return dict(h=h, v_z=v_z, v_f=v_f, v_o=v_o, z=z, f=f, o=o)


@cell(gates="z f o v_z v_f v_o", recurrent="", states="h c v_z v_f v_o", keeps="f", source=BALDUZZI)
def t_lstm(x: Terms, c: Tensor, v_z: Tensor, v_f: Tensor, v_o: Tensor) -> Values:
    """A strongly-typed LSTM: gates see this input and the one before, and no state.

    The states v are V x_t + b, for the next step; before the first one they are 0.
    """
    z = x.z + v_z
    f = sigmoid(x.f + v_f)
    o = tanh(x.o + v_o)
    c = f * c + (1 - f) * z
    h = c * o
    v_z, v_f, v_o = x.v_z, x.v_f, x.v_o
    return dict(h=h, c=c, v_z=v_z, v_f=v_f, v_o=v_o, z=z, f=f, o=o)


@cell(gates="z f", recurrent="", keeps="f", source=BRADBURY)
def qrnn_f(x: Terms, h: Tensor) -> Values:
    """Convolutions over time make candidates and gates, and a pooling with a forget gate the state.

    With convolutions of width 1; put a convolution before the layer for wider ones. Their
    f-pooling.
    """
    z = tanh(x.z)
    f = sigmoid(x.f)
    h = f * h + (1 - f) * z
    return dict(h=h, z=z, f=f)


@cell(gates="z f o", recurrent="", states="h c", keeps="f", source=BRADBURY)
def qrnn(x: Terms, c: Tensor) -> Values:
    """A QRNN with an output gate, their fo-pooling; convolutions of width 1."""
    z = tanh(x.z)
    f = sigmoid(x.f)
    o = sigmoid(x.o)
    c = f * c + (1 - f) * z
    h = o * c
    return dict(h=h, c=c, z=z, f=f, o=o)


@cell(gates="z f i o", recurrent="", states="h c", keeps="f", admits="i", source=BRADBURY)
def qrnn_ifo(x: Terms, c: Tensor) -> Values:
    """A QRNN with an input gate of its own, their ifo-pooling; convolutions of width 1."""
    z = tanh(x.z)
    f = sigmoid(x.f)
    i = sigmoid(x.i)
    o = sigmoid(x.o)
    c = f * c + i * z
    h = o * c
    return dict(h=h, c=c, z=z, f=f, i=i, o=o)


@cell(gates="f r n k", recurrent="", states="h c", keeps="f", source=LEI)
def sru(x: Terms, c: Tensor, *, v_f: Vector = 0.0, v_r: Vector = 0.0) -> Values:
    """A light recurrence and a highway around it: gates see the state by one weight a unit.

    x.k is what the highway carries. It has a matrix here, which the authors' code has only where
    input and state differ in size.
    """
    f = sigmoid(x.f + v_f * c)
    r = sigmoid(x.r + v_r * c)
    c = f * c + (1 - f) * x.n
    h = r * c + (1 - r) * x.k
    return dict(h=h, c=c, f=f, r=r)


@cell(gates="g i", recurrent="", keeps="g", source=MARTIN)
def gilr(x: Terms, h: Tensor) -> Values:
    """A linear recurrence gated by the input, which a parallel scan can train."""
    g = sigmoid(x.g)
    i = tanh(x.i)
    h = g * h + (1 - g) * i
    return dict(h=h, g=g, i=i)


@cell(gates="z n", recurrent="", admits="z", source=FENG)
def min_gru(x: Terms, h: Tensor) -> Values:
    """A GRU without a reset gate, without the state in its gates, and without a squashed candidate.

    The form that the paper derives; `min_gru_log` is the one that it trains.
    """
    z = sigmoid(x.z)
    h = (1 - z) * h + z * x.n
    return dict(h=h, z=z)


@cell(gates="z n", recurrent="", admits="z", source=FENG)
def min_gru_log(x: Terms, h: Tensor) -> Values:
    """The minimal GRU as it is trained in log space: the candidate is kept positive.

    By g(a) = a + 0.5 for a >= 0, else s(a). The state before the first step is 0.
    """
    z = sigmoid(x.z)
    n = where(x.n >= 0, x.n + 0.5, sigmoid(x.n))
    h = (1 - z) * h + z * n
    return dict(h=h, z=z, n=n)


@cell(gates="f i n", recurrent="", keeps="f", admits="i", source=FENG)
def min_lstm(x: Terms, h: Tensor) -> Values:
    """An LSTM without states in its gates, whose forget and input gate are scaled to sum to 1.

    The form that the paper derives; `min_lstm_log` is the one that it trains. p is f / (f + i), by
    logarithms, so that nothing is divided by 0. f and i are recorded before they are scaled.
    """
    f = sigmoid(x.f)
    i = sigmoid(x.i)
    p = sigmoid(logsigmoid(x.f) - logsigmoid(x.i))
    h = p * h + (1 - p) * x.n
    return dict(h=h, f=f, i=i, p=p)


@cell(gates="f i n", recurrent="", keeps="f", admits="i", source=FENG)
def min_lstm_log(x: Terms, h: Tensor) -> Values:
    """The minimal LSTM as it is trained in log space: the candidate is kept positive.

    By g(a) = a + 0.5 for a >= 0, else s(a). The state before the first step is 0. p is f / (f + i).
    """
    f = sigmoid(x.f)
    i = sigmoid(x.i)
    p = sigmoid(logsigmoid(x.f) - logsigmoid(x.i))
    n = where(x.n >= 0, x.n + 0.5, sigmoid(x.n))
    h = p * h + (1 - p) * n
    return dict(h=h, f=f, i=i, p=p, n=n)


@cell(
    gates="a b c d",
    feedforward="a b c",
    recurrent="c d",
    applied="c d",
    states="h p q",
    source=ORVIETO,
)
def lru(
    x: Terms, u: Terms, p: Tensor, q: Tensor, *, nu: Vector = -3.0, theta: Vector = -2.0
) -> Values:
    """A linear recurrence of complex numbers, one for each unit, and nothing nonlinear over time.

    p + iq is the state, |l| = exp(-exp(nu)) and exp(theta) the modulus and the angle of what it is
    multiplied by, gamma = sqrt(1 - |l|^2). x.a + i x.b is B x, u.c(p) + u.d(q) the real part of
    C s, x.c is D x. All units start at one modulus and one angle, where the paper draws them from
    a ring, as `initialize.ring` does; gamma follows the modulus, where the paper learns it from
    there.
    """
    r = exp(-exp(nu))
    gamma = sqrt(-expm1(-2 * exp(nu)))
    re, im = r * cos(exp(theta)), r * sin(exp(theta))
    p, q = re * p - im * q + gamma * x.a, re * q + im * p + gamma * x.b
    h = u.c(p) + u.d(q) + x.c
    return dict(h=h, p=p, q=q)


@cell(gates="r i n", recurrent="", admits="i", source=DE)
def rg_lru(x: Terms, h: Tensor, *, Lambda: Vector = 5.0) -> Values:
    """A real linear recurrence whose decay a gate turns down, so that a unit can skip an input.

    The gates see the layer's input itself, where Griffin's see x.n, what is fed to the recurrence.
    Lambda starts at one number, where the paper draws it, as `initialize.decay` does; -expm1(2 b)
    is 1 - a^2, kept above 0 for the gradient of its root.
    """
    r = sigmoid(x.r)
    i = sigmoid(x.i)
    b = 8 * r * logsigmoid(Lambda)
    a = exp(b)
    h = a * h + sqrt(clamp(-expm1(2 * b), min=1e-30)) * (i * x.n)
    return dict(h=h, r=r, i=i, a=a)


@cell(gates="r k v", recurrent="", states="h a b m", source=PENG)
def rwkv4(x: Terms, a: Tensor, b: Tensor, m: Tensor, *, w: Vector = 0.0, e: Vector = 0.0) -> Values:
    """Attention with a decay a unit in the place of queries, as a recurrence: the WKV of RWKV-4.

    a and b are sums, divided by exp(m) to stay in range; at the first step, where b is 0, m is k. A
    step multiplies them by exp(-exp(w)), and e is the paper's bonus u for the step itself. Without
    the mix with the step before, and without the matrix after r * wkv.
    """
    r = sigmoid(x.r)
    m = where(b > 0, m, x.k)
    t = maximum(m, e + x.k)
    wkv = (exp(m - t) * a + exp(e + x.k - t) * x.v) / (exp(m - t) * b + exp(e + x.k - t))
    d = m - exp(w)
    m = maximum(d, x.k)
    a = exp(d - m) * a + exp(x.k - m) * x.v
    b = exp(d - m) * b + exp(x.k - m)
    h = r * wkv
    return dict(h=h, a=a, b=b, m=m, r=r)
