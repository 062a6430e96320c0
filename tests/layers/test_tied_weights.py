"""Weights that a parametrisation makes of others: the kernel reads what it gives.

Antisymmetric and gated antisymmetric RNN (Chang, Chen, Haber and Chi, 2019), whose cells declare
it, and an LSTM with coupled gates, parametrised by hand; each held against a loop over time
written here, in float64.
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
        a = x_t @ layer.weight_ih_l0.T + layer.bias_ih_l0
        part = (h @ matrix.T + layer.bias_hh_l0).repeat(1, a.shape[1] // len(w))
        *gate, n = (a + part).split(len(w), dim=1)
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


def coupled():
    layer = unrolled.Recurrent(cells.lstm, 3, 19)
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        parametrize.register_parametrization(layer, name, Coupled(), unsafe=True)
    return layer


LAYERS = {
    "antisymmetric": (lambda: unrolled.Recurrent("antisymmetric", 3, 19), antisymmetric_loop),
    "gated antisymmetric": (
        lambda: unrolled.Recurrent("gated_antisymmetric", 3, 19),
        antisymmetric_loop,
    ),
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


def test_each_layer_and_direction_has_its_own_and_copies_saves_and_starts_again(tmp_path):
    layer = unrolled.Recurrent("antisymmetric", 3, 4, num_layers=2, bidirectional=True)
    learned = [name for name, _ in layer.named_parameters() if name.endswith("original")]
    assert len(learned) == 4
    x = torch.randn(5, 2, 3)
    output, _ = layer(x)
    assert torch.equal(copy.deepcopy(layer)(x)[0], output)
    torch.save(layer.state_dict(), tmp_path / "layer.pt")
    layer.reset_parameters()
    assert not torch.equal(layer(x)[0], output)
    layer.load_state_dict(torch.load(tmp_path / "layer.pt"))
    assert torch.equal(layer(x)[0], output)
    for suffix in layer.suffixes:
        matrix = getattr(layer, f"weight_hh_{suffix}").detach()
        torch.testing.assert_close(matrix + matrix.T, -0.02 * torch.eye(4), rtol=0, atol=1e-7)


def test_heads_of_a_cell_with_tied_weights_are_refused():
    with pytest.raises(unrolled.UnrolledError, match="heads=2, but cell antisymmetric has tied"):
        unrolled.Recurrent("antisymmetric", 3, 4, heads=2)
