"""Mixed precision: factors of products are bfloat16, sums and states are float32.

That the numbers are right for cells of all kinds, and with and without the processor's instruction
the same, is in test_programs.py.
"""

import copy
import itertools
from contextlib import nullcontext

import pytest
import torch
from torch import tanh

import unrolled
from unrolled.kernels import using_path
from unrolled.layers import map_state, state_tensors

UNIT_ROUNDOFF = 2.0**-8  # of bfloat16: half the distance of two numbers above 1
autocast = torch.autocast("cpu", torch.bfloat16)


@unrolled.cell(gates="g")
def adding(x, u):
    """Products without anything else: the new state is their sum."""
    return dict(h=x.g + u.g)


@unrolled.cell(gates="g")
def elman(x, u):
    """A plain network, whose results stay float32 under autocast."""
    return dict(h=tanh(x.g + u.g))


@unrolled.cell(gates="r z n", applied="n", heads=3)
def grouped(x, u, h):
    """Heads, with products of both kinds."""
    r, z = torch.sigmoid(x.r + u.r), torch.sigmoid(x.z + u.z)
    return dict(h=(1 - z) * tanh(x.n + u.n(r * h)) + z * h)


LAYERS = {
    "grouped": lambda size, units, **k: unrolled.Recurrent(grouped, size, units // 3 * 3, **k),
    "elman": lambda *sizes, **k: unrolled.Recurrent(elman, *sizes, **k),
    "gru": unrolled.GRU,
    "gru reset before": lambda *sizes, **k: unrolled.GRU(*sizes, reset="before", **k),
    "janet": unrolled.JANET,
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def test_two_steps_by_hand():
    """Between 1 and 2, bfloat16 has the multiples of 2^-7; halfway goes to the even one."""
    tick, less = 2.0**-7, 2.0**-10
    layer = unrolled.Recurrent(adding, 1, 1)
    with torch.no_grad():
        layer.weight_ih_l0.fill_(1.5 + less)
        layer.weight_hh_l0.fill_(0.75)
        layer.bias_ih_l0.fill_(less)
        layer.bias_hh_l0.zero_()
    x = torch.tensor([1 + tick + less, 1.0]).view(2, 1, 1).requires_grad_()
    with autocast, using_path("kernel"):
        output, _ = layer(x)
    assert output.dtype is torch.float32
    first = 1.5 * (1 + tick) + less  # 193.5 ticks and a bit: the state keeps them
    rounded = 194 * tick
    second = 1.5 + 0.75 * rounded + less
    assert output.flatten().tolist() == [first, second]
    d = 1 + less  # of the second output; rounds to 1, where it is multiplied
    output[1].backward(torch.full((1, 1), d))
    d_first = 0.75
    assert layer.weight_hh_l0.grad.item() == rounded
    assert layer.weight_ih_l0.grad.item() == 1 + d_first * (1 + tick)
    assert layer.bias_ih_l0.grad.item() == d + d_first  # no product, not rounded
    assert x.grad.flatten().tolist() == [1.5 * d_first, 1.5]


def test_a_plain_network_is_as_near_to_float32_as_its_roundings_allow():
    r"""|tanh'| <= 1, and (a + da)(b + db) is off by |a||b|(2u + u^2) where a and b are by u.

    The state that a step multiplies is off by what the step before was, too.
    """
    torch.manual_seed(0)
    size, num_steps = 40, 6
    layer, x = LAYERS["elman"](size, size), torch.randn(num_steps, 3, size)
    weights = layer.weight_ih_l0.detach().double().abs(), layer.weight_hh_l0.detach().double().abs()
    exact, _ = layer.double()(x.double())
    with autocast, using_path("kernel"):
        got, _ = layer.float()(x)
    u = UNIT_ROUNDOFF
    error = torch.zeros(3, size, dtype=torch.float64)
    before = torch.zeros_like(error)
    for t in range(num_steps):
        size_of_state = before + error
        error = (2 * u + u * u) * (
            x[t].double().abs() @ weights[0].T + size_of_state @ weights[1].T
        ) + error @ weights[1].T
        error += 1e-6  # of float32
        assert ((got[t] - exact[t]).abs() <= error).all()
        assert (got[t] - exact[t]).abs().max() > 1e-4  # products are rounded
        before = exact[t].detach().abs()


def everything(layer, x, state, lengths=None):
    """Return outputs, states at the end, and the gradients of the input and of the weights."""
    x = x.clone().requires_grad_()
    with autocast, using_path("kernel"):
        output, end = layer(x, state, lengths=lengths)
    results = [output, *state_tensors(end)]
    assert all(result.dtype is torch.float32 for result in results)
    gradients = torch.autograd.grad(
        sum(r.square().sum() for r in results), [x, *layer.parameters()]
    )
    return [*results, *gradients]


@every_layer
@pytest.mark.parametrize("size", [37, 256])
def test_a_row_has_its_bits_alone_padded_cut_and_on_other_threads(name, size):
    torch.manual_seed(0)
    layer, x = LAYERS[name](5, size), torch.randn(7, 9, 5)
    state = map_state(torch.randn_like, layer.initial_state(9))
    lengths = [7, 7, 6, 5, 5, 3, 2, 1, 7]
    before, whole = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2, 4):
            torch.set_num_threads(num_threads)
            whole.append(everything(layer, x, state, lengths))
    finally:
        torch.set_num_threads(before)
    for again in whole[1:]:
        for a, b in zip(again, whole[0], strict=True):
            assert torch.equal(a, b)
    output, *_ = whole[0]
    with torch.no_grad(), autocast:
        for row, length in itertools.islice(enumerate(lengths), 0, None, 3):
            one = slice(row, row + 1)
            own = map_state(lambda part, one=one: part[:, one].contiguous(), state)
            steps = []
            for piece in x[:length, one].split([1] * min(2, length) + [length - 2] * (length > 2)):
                part, own = layer(piece, own)
                steps.append(part)
            assert torch.equal(torch.cat(steps), output[:length, one])


@every_layer
def test_all_options_of_a_layer_train_near_float32(name):
    torch.manual_seed(0)
    layer = LAYERS[name](6, 20, num_layers=2, bidirectional=True, bias=False)
    x = torch.randn(5, 4, 6, requires_grad=True)
    lengths = [5, 0, 3, 4]
    expected, _ = layer(x, lengths=lengths)
    wanted = torch.autograd.grad(expected.square().sum(), [x, *layer.parameters()])
    with autocast, using_path("kernel"):
        output, _ = layer(x, lengths=lengths)
    got = torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])
    for a, b in zip((output, *got), (expected, *wanted), strict=True):
        assert a.dtype is torch.float32
        assert 1e-5 * b.norm() < (a - b).norm() < 6 * UNIT_ROUNDOFF * b.norm()


def test_infinities_and_nan_stay_in_their_rows():
    torch.manual_seed(0)
    layer, x = unrolled.JANET(3, 17), torch.randn(3, 5, 3)
    with autocast, torch.no_grad():
        expected, _ = layer(x)
        x[1, 2, 0], x[1, 3, 1] = float("nan"), float("inf")
        got, _ = layer(x)
    assert got[1:, 2].isnan().all()
    others = [0, 1, 4]
    assert torch.equal(got[:, others], expected[:, others])
    assert torch.equal(got[0], expected[0])


# of bfloat16, whose numbers are within 2^-9, gradients of gradients are rounded twice
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 2.0**-7)])
def test_second_derivatives_are_those_of_float32(dtype, near):
    torch.manual_seed(0)
    layer, x = unrolled.GRU(3, 4).to(dtype), torch.randn(5, 2, 3, dtype=dtype, requires_grad=True)
    wide, exact_x = copy.deepcopy(layer).double(), x.detach().double().requires_grad_()
    factors = torch.randn(5, 2, 4)

    def second_derivatives(layer, x, precision):
        with precision:
            output, _ = layer(x)
        loss = (output.to(torch.promote_types(x.dtype, torch.float32)) * factors).sum()
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        gradient.to(loss.dtype).square().sum().backward()
        return [part.grad for part in (x, *layer.parameters())]

    expected = second_derivatives(wide, exact_x, nullcontext())
    for ours, right in zip(second_derivatives(layer, x, autocast), expected, strict=True):
        assert ours.dtype is dtype
        assert (ours.double() - right).norm() <= near * right.norm()
