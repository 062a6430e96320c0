"""Other gated cells. Gates by the letters of each paper."""

from torch import Tensor, clamp, exp, maximum, relu, sigmoid, tanh, where
from torch.nn.functional import softplus

from unrolled.cells.cell import Terms, Values, Vector, cell
from unrolled.cells.publication import Publication

COLLINS = Publication(
    "J. Collins, J. Sohl-Dickstein and D. Sussillo",
    2017,
    "Capacity and trainability in recurrent neural networks",
    "ICLR 2017, arXiv 1611.09913",
)
ZHANG = Publication(
    "B. Zhang, D. Xiong, J. Su, Q. Lin and H. Zhang",
    2018,
    "Simplifying neural machine translation with addition-subtraction twin-gated recurrent "
    "networks",
    "EMNLP 2018, arXiv 1810.12546",
)
VECOVEN = Publication(
    "N. Vecoven, D. Ernst and G. Drion",
    2021,
    "A bio-inspired bistable recurrent cell allows for long-lasting memory",
    "PLoS ONE 16(6), arXiv 2006.05252",
)
LAURENT = Publication(
    "T. Laurent and J. von Brecht",
    2017,
    "A recurrent neural network without chaos",
    "ICLR 2017, arXiv 1612.06212",
)
LEE = Publication(
    "K. Lee, O. Levy and L. Zettlemoyer",
    2017,
    "Recurrent additive networks",
    "arXiv 1705.07393",
)
GAO = Publication(
    "Y. Gao and D. Glowacka",
    2016,
    "Deep gate recurrent neural network",
    "ACML 2016, arXiv 1604.02910",
)
TURKOGLU = Publication(
    "M. O. Turkoglu, S. D'Aronco, J. D. Wegner and K. Schindler",
    2021,
    "Gating revisited: deep multi-layer RNNs that can be trained",
    "IEEE Transactions on Pattern Analysis and Machine Intelligence, arXiv 1911.11033",
)
CHEN = Publication(
    "M. Chen",
    2017,
    "MinimalRNN: toward more interpretable and trainable recurrent neural networks",
    "arXiv 1711.06788",
)
ZOPH = Publication(
    "B. Zoph and Q. V. Le",
    2017,
    "Neural architecture search with reinforcement learning",
    "ICLR 2017, arXiv 1611.01578",
)
ZILLY = Publication(
    "J. G. Zilly, R. K. Srivastava, J. Koutník and J. Schmidhuber",
    2017,
    "Recurrent highway networks",
    "ICML 2017, arXiv 1607.03474",
)
OSTMEYER = Publication(
    "J. Ostmeyer and L. Cowell",
    2019,
    "Machine learning on sequential data using a recurrent weighted average",
    "Neurocomputing 331, arXiv 1703.01253",
)


@cell(gates="g n", keeps="g", source=COLLINS)
def ugrnn(x: Terms, u: Terms, h: Tensor) -> Values:
    """A plain recurrent network and one gate that interpolates between the old state and the new.

    With beta = 0, `janet` is this cell.
    """
    g = sigmoid(x.g + u.g)
    n = tanh(x.n + u.n)
    h = g * h + (1 - g) * n
    return dict(h=h, g=g, n=n)


@cell(gates="p", source=ZHANG)
def atr(x: Terms, u: Terms, h: Tensor) -> Values:
    """One pair of products gives both gates: one by its sum, the other by its difference."""
    i = sigmoid(x.p + u.p)
    f = sigmoid(x.p - u.p)
    h = i * x.p + f * h
    return dict(h=h, i=i, f=f)


@cell(gates="a c n", recurrent="", keeps="c", source=VECOVEN)
def brc(x: Terms, h: Tensor, *, w_a: Vector = 1.0, w_c: Vector = 1.0) -> Values:
    """A unit can feed back on itself so strongly that it has two stable states, and keeps one.

    The paper's BRC: units see each other only through the next layer.
    """
    a = 1 + tanh(x.a + w_a * h)
    c = sigmoid(x.c + w_c * h)
    n = tanh(x.n + a * h)
    h = c * h + (1 - c) * n
    return dict(h=h, a=a, c=c, n=n)


@cell(gates="a c n", recurrent="a c", keeps="c", source=VECOVEN)
def nbrc(x: Terms, u: Terms, h: Tensor) -> Values:
    """The bistable cell with neuromodulation: other units set how strongly a unit feeds back."""
    a = 1 + tanh(x.a + u.a)
    c = sigmoid(x.c + u.c)
    n = tanh(x.n + a * h)
    h = c * h + (1 - c) * n
    return dict(h=h, a=a, c=c, n=n)


@cell(gates="theta eta n", recurrent="theta eta", keeps="theta", admits="eta", source=LAURENT)
def cfn(x: Terms, u: Terms, h: Tensor) -> Values:
    """Without an input the state goes to zero, from any start: no chaos.

    theta is the horizontal gate, eta the vertical one. So it is where the bias of n is 0: the
    paper's n has none.
    """
    theta = sigmoid(x.theta + u.theta)
    eta = sigmoid(x.eta + u.eta)
    n = tanh(x.n)
    h = theta * tanh(h) + eta * n
    return dict(h=h, theta=theta, eta=eta, n=n)


@cell(gates="g i f", recurrent="i f", states="h c", keeps="f", admits="i", source=LEE)
def ran(x: Terms, u: Terms, c: Tensor) -> Values:
    """The state is a weighted sum of the inputs: what is added sees no state but through gates.

    With tanh at the output; the paper also tries none.
    """
    i = sigmoid(x.i + u.i)
    f = sigmoid(x.f + u.f)
    c = i * x.g + f * c
    h = tanh(c)
    return dict(h=h, c=c, i=i, f=f)


@cell(gates="z g", applied="g", admits="z", source=GAO)
def sgu(x: Terms, u: Terms, h: Tensor) -> Values:
    """The input gates the state by multiplication, deeply: before a product and after it.

    z is a hard sigmoid, here max(0, min(1, 0.2 a + 0.5)).
    """
    g = tanh(u.g(x.g * h))
    n = softplus(g * h)
    z = clamp(0.2 * (x.z + u.z) + 0.5, 0, 1)
    h = (1 - z) * h + z * n
    return dict(h=h, z=z, g=g, n=n)


@cell(gates="z g k", feedforward="z g", applied="g k", admits="z", source=GAO)
def dsgu(x: Terms, u: Terms, h: Tensor) -> Values:
    """The gated state goes through one more matrix and a sigmoid, which bounds it: the deep SGU.

    z is a hard sigmoid, here max(0, min(1, 0.2 a + 0.5)).
    """
    g = tanh(u.g(x.g * h))
    n = sigmoid(u.k(g * h))
    z = clamp(0.2 * (x.z + u.z) + 0.5, 0, 1)
    h = (1 - z) * h + z * n
    return dict(h=h, z=z, g=g, n=n)


@cell(gates="z k", recurrent="k", admits="k", source=TURKOGLU)
def star(x: Terms, u: Terms, h: Tensor) -> Values:
    """One gate, set so that the size of gradients stays about the same through a deep lattice."""
    z = tanh(x.z)
    k = sigmoid(x.k + u.k)
    h = tanh((1 - k) * h + k * z)
    return dict(h=h, z=z, k=k)


@cell(gates="z g", feedforward="z", applied="g", source=CHEN)
def minimal_rnn(x: Terms, u: Terms, h: Tensor) -> Values:
    """The input is embedded first, and the state is an average of embeddings by one gate.

    g is the paper's update gate u: it reads the state before by the recurrent matrix of z, and the
    embedding by that of g.
    """
    z = tanh(x.z)
    g = sigmoid(u.z + u.g(z))
    h = g * h + (1 - g) * z
    return dict(h=h, z=z, g=g)


@cell(gates="a b d e f g k l", states="h c", source=ZOPH)
def nas(x: Terms, u: Terms, c: Tensor) -> Values:
    """Drawn by a network that was rewarded for cells that learn a language well.

    The cell that the authors published as code, with eight products; in e they are multiplied.
    """
    p = tanh(sigmoid(x.a + u.a) * relu(x.b + u.b))
    q = tanh(sigmoid(x.d + u.d) + relu(x.e * u.e))
    r = tanh(tanh(x.f + u.f) * sigmoid(x.g + u.g))
    s = sigmoid(tanh(x.k + u.k) + sigmoid(x.l + u.l))
    c = tanh(p + c) * q
    h = tanh(c * tanh(r + s))
    return dict(h=h, c=c)


@cell(gates="n t", admits="t", source=ZILLY)
def rhn(x: Terms, u: Terms, h: Tensor) -> Values:
    """A highway layer as the step from one state to the next; here of depth 1, the gates coupled.

    n is the paper's h, t its transform gate; its carry gate is 1 - t.
    """
    n = tanh(x.n + u.n)
    t = sigmoid(x.t + u.t)
    h = n * t + h * (1 - t)
    return dict(h=h, n=n, t=t)


@cell(gates="n t n_2 t_2 n_3 t_3", feedforward="n t", applied="n_2 t_2 n_3 t_3", source=ZILLY)
def rhn3(x: Terms, u: Terms, h: Tensor) -> Values:
    """Three highway layers, one after the other, as the step from one state to the next.

    Of depth 3, the gates coupled; only the first layer sees the input.
    """
    t = sigmoid(x.t + u.t)
    h = tanh(x.n + u.n) * t + h * (1 - t)
    t_2 = sigmoid(u.t_2(h))
    h = tanh(u.n_2(h)) * t_2 + h * (1 - t_2)
    t_3 = sigmoid(u.t_3(h))
    h = tanh(u.n_3(h)) * t_3 + h * (1 - t_3)
    return dict(h=h, t=t, t_2=t_2, t_3=t_3)


@cell(gates="k g a", recurrent="g a", states="h n d m", source=OSTMEYER)
def rwa(x: Terms, u: Terms, n: Tensor, d: Tensor, m: Tensor) -> Values:
    """The output is an average over all steps so far, weighted by an attention that is learned.

    k is the paper's u, a feature of the input; n and d are sums, divided by exp(m) to stay in
    range; at the first step, where d is 0, m is a. h is 0 before it, where the paper learns it.
    """
    z = x.k * tanh(x.g + u.g)
    a = x.a + u.a
    b = where(d > 0, m, a)
    m = maximum(b, a)
    n = n * exp(b - m) + z * exp(a - m)
    d = d * exp(b - m) + exp(a - m)
    h = tanh(n / d)
    return dict(h=h, n=n, d=d, m=m, z=z, a=a)
