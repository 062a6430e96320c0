"""Weights that a parametrisation makes of others: the kernel reads what it gives.

Antisymmetric and gated antisymmetric RNN (Chang, Chen, Haber and Chi, 2019), and an LSTM with
coupled gates, each held against a loop over time written here, in float64.
"""

import copy
import shutil

import pytest
import torch
from torch import nn, sigmoid, tanh
from torch.nn.utils import parametrize

import unrolled
from unrolled import cells
from unrolled.kernels.running.paths import kernel_of

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)


@unrolled.cell(gates="n")
def euler(x, u, h):
    return dict(h=h + 0.1 * tanh(x.n + u.n))


@unrolled.cell(gates="z n")
def gated_euler(x, u, h):
    return dict(h=h + 0.1 * sigmoid(x.z + u.z) * tanh(x.n + u.n))


class Antisymmetric(nn.Module):
    """W - W^T - 0.01 I, the same for every gate."""

    def __init__(self, num_gates):
        super().__init__()
        self.num_gates = num_gates

    def forward(self, w):
        tied = w - w.T - 0.01 * torch.eye(len(w), dtype=w.dtype)
        return tied.repeat(self.num_gates, 1)

    def right_inverse(self, weight):
        return weight[: weight.shape[1]]


class Coupled(nn.Module):
    """Of an LSTM: i is what f leaves, for sigmoid(-a) = 1 - sigmoid(a)."""

    def forward(self, fgo):
        f, g, o = fgo.chunk(3)
        return torch.cat([-f, f, g, o])

    def right_inverse(self, weight):
        return weight[len(weight) // 4 :]


def antisymmetric_loop(layer, x):
    w = layer.parametrizations.weight_hh_l0.original
    matrix = w - w.T - 0.01 * torch.eye(len(w), dtype=w.dtype)
    h, outputs = x.new_zeros(x.shape[1], len(w)), []
    for x_t in x:
        a = x_t @ layer.weight_ih_l0.T + layer.bias_ih_l0 + layer.bias_hh_l0
        *gate, n = (a + (h @ matrix.T).repeat(1, a.shape[1] // len(w))).split(len(w), dim=1)
        h = h + 0.1 * (sigmoid(gate[0]) if gate else 1) * tanh(n)
        outputs.append(h)
    return torch.stack(outputs)


def coupled_loop(layer, x):
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    w, r, b, d = (getattr(layer.parametrizations, name).original for name in names)
    c = h = x.new_zeros(x.shape[1], r.shape[1])
    outputs = []
    for x_t in x:
        f, g, o = (x_t @ w.T + b + h @ r.T + d).chunk(3, dim=1)
        c = sigmoid(f) * c + (1 - sigmoid(f)) * tanh(g)
        h = sigmoid(o) * tanh(c)
        outputs.append(h)
    return torch.stack(outputs)


def antisymmetric(cell):
    layer = unrolled.Recurrent(cell, 3, 19)
    tie = Antisymmetric(len(cell.gates))
    parametrize.register_parametrization(layer, "weight_hh_l0", tie, unsafe=True)
    return layer


def coupled():
    layer = unrolled.Recurrent(cells.lstm, 3, 19)
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        parametrize.register_parametrization(layer, name, Coupled(), unsafe=True)
    return layer


LAYERS = {
    "antisymmetric": (lambda: antisymmetric(euler), antisymmetric_loop),
    "gated antisymmetric": (lambda: antisymmetric(gated_euler), antisymmetric_loop),
    "coupled": (coupled, coupled_loop),
}


@pytest.fixture(params=LAYERS)
def tied(request):
    torch.manual_seed(0)
    make, loop = LAYERS[request.param]
    return make(), loop


def test_values_and_gradients_of_the_weights_that_are_learned(tied):
    layer, loop = tied
    assert kernel_of(layer.cell) is not None
    exact = copy.deepcopy(layer).double()
    x = torch.randn(7, 4, 3)
    output, _ = layer(x)
    expected = loop(exact, x.double())
    weights = torch.randn(output.shape)
    gradients = torch.autograd.grad((output * weights).sum(), [*layer.parameters()])
    right = torch.autograd.grad((expected * weights).sum(), [*exact.parameters()])
    learned = {name for name, _ in layer.named_parameters()}
    assert "parametrizations.weight_hh_l0.original" in learned
    assert "weight_hh_l0" not in learned
    for ours, theirs in zip([output, *gradients], [expected, *right], strict=True):
        assert (ours.detach() - theirs.detach()).norm() < 1e-6 * theirs.detach().norm()


def test_a_stream_reads_them_and_sees_an_update(tied):
    layer, _ = tied
    x = torch.randn(8, 2, 3)
    first, state = layer(x[:4])
    stream = layer.stream(2)
    assert torch.equal(torch.stack([stream.step(x_t) for x_t in x[:4]]), first)
    first.square().sum().backward()
    torch.optim.SGD(layer.parameters(), 0.1).step()
    second, _ = layer(x[4:], state)
    assert torch.equal(torch.stack([stream.step(x_t) for x_t in x[4:]]), second)


def test_a_trace_a_program_and_the_layer_without_the_parametrisation_say_the_same(tied):
    layer, _ = tied
    x = torch.randn(5, 2, 3)
    output, _ = layer(x)
    (record,) = unrolled.trace(layer, x)
    assert torch.equal(record.values["h"], output)
    assert torch.equal(torch.export.export(layer, (x,)).module()(x)[0], output)
    for name in list(layer.parametrizations):
        parametrize.remove_parametrizations(layer, name)
    assert torch.equal(layer(x)[0], output)
