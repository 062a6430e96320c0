"""The gated recurrent unit, in its two forms.

In the paper the reset gate acts before the recurrent product, U (r * h). cuDNN and torch.nn.GRU
apply it after the product, r * (U h + b), which needs one matrix product a step instead of two. The
weights of one form do not fit the other.

Gates in the order of the weights' rows: r (reset), z (update), n (candidate). z keeps the old
state (Cho's z, torch's z; some libraries use 1 - z). Two biases.
"""

from torch import Tensor, sigmoid, tanh

from unrolled.cells.cell import Terms, cell
from unrolled.cells.publication import Publication

CHO = Publication(
    "K. Cho et al.",
    2014,
    "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
    "EMNLP 2014, arXiv 1406.1078",
    "equations 5-8",
)


@cell(
    gates="r z n",
    keeps="z",
    source=CHO,
)
def gru_reset_after(x: Terms, u: Terms, h: Tensor) -> dict[str, Tensor]:
    """A GRU whose reset gate acts after the recurrent product, as in cuDNN and torch.

    h_t = (1 - z) * n + z * h_{t-1}, with n = tanh(x.n + r * u.n).
    """
    r = sigmoid(x.r + u.r)
    z = sigmoid(x.z + u.z)
    n = tanh(x.n + r * u.n)
    h = (1 - z) * n + z * h
    return dict(h=h, r=r, z=z, n=n)


@cell(
    gates="r z n",
    applied="n",
    keeps="z",
    source=CHO,
)
def gru_reset_before(x: Terms, u: Terms, h: Tensor) -> dict[str, Tensor]:
    """Two gates and one state: what to keep, and how much of it the candidate sees.

    The form of the paper. h_t = (1 - z) * n + z * h_{t-1}, with n = tanh(x.n + U_n (r * h_{t-1})).
    """
    r = sigmoid(x.r + u.r)
    z = sigmoid(x.z + u.z)
    n = tanh(x.n + u.n(r * h))
    h = (1 - z) * n + z * h
    return dict(h=h, r=r, z=z, n=n)
