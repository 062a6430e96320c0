"""LSTMs with an order or a scale. A unit depends on all units of its row."""

from torch import Tensor, cumsum, sigmoid, softmax, tanh
from torch.nn.functional import layer_norm

from unrolled.cells.cell import Terms, Values, Vector, cell
from unrolled.cells.publication import Publication

BA = Publication(
    "J. L. Ba, J. R. Kiros and G. E. Hinton",
    2016,
    "Layer normalization",
    "arXiv 1607.06450, equations 20 to 22",
)
SHEN = Publication(
    "Y. Shen, S. Tan, A. Sordoni and A. Courville",
    2019,
    "Ordered neurons: integrating tree structures into recurrent neural networks",
    "ICLR 2019, arXiv 1810.09536",
)


@cell(gates="i f g o", states="h c", source=BA)
def lstm_layer_norm(
    x: Terms,
    u: Terms,
    c: Tensor,
    *,
    w_i: Vector = 1.0,
    w_f: Vector = 1.0,
    w_g: Vector = 1.0,
    w_o: Vector = 1.0,
    r_i: Vector = 1.0,
    r_f: Vector = 1.0,
    r_g: Vector = 1.0,
    r_o: Vector = 1.0,
    b_i: Vector = 0.0,
    b_f: Vector = 0.0,
    b_g: Vector = 0.0,
    b_o: Vector = 0.0,
    w: Vector = 1.0,
    b: Vector = 0.0,
) -> Values:
    """Both products and the state of cells have over the units a mean of 0 and a variance of 1.

    Each gate has norms of its own, where equation 20 has one over all four. Its three biases are
    one, b_i; what the products add as biases is within the norms.
    """
    size = c.shape[-1:]
    i = sigmoid(layer_norm(x.i, size, w_i) + layer_norm(u.i, size, r_i) + b_i)
    f = sigmoid(layer_norm(x.f, size, w_f) + layer_norm(u.f, size, r_f) + b_f)
    g = tanh(layer_norm(x.g, size, w_g) + layer_norm(u.g, size, r_g) + b_g)
    o = sigmoid(layer_norm(x.o, size, w_o) + layer_norm(u.o, size, r_o) + b_o)
    c = f * c + i * g
    h = o * tanh(layer_norm(c, size, w, b))
    return dict(h=h, c=c, i=i, f=f, g=g, o=o)


@cell(gates="i f g o a b", states="h c", source=SHEN)
def on_lstm(x: Terms, u: Terms, c: Tensor) -> Values:
    """Units are ordered: two master gates say up to which they are written, and from which kept.

    a and b are the paper's master gates, of forgetting and of the input, d and e its gates with a
    hat. A chunk has one unit.
    """
    i, f, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
    g = tanh(x.g + u.g)
    a = cumsum(softmax(x.a + u.a, -1), -1)
    b = 1 - cumsum(softmax(x.b + u.b, -1), -1)
    w = a * b
    d = f * w + (a - w)
    e = i * w + (b - w)
    c = d * c + e * g
    h = o * tanh(c)
    return dict(h=h, c=c, i=i, f=f, g=g, o=o, a=a, b=b, d=d, e=e)
