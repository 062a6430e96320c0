"""Heads: groups of units that read their own outputs alone, by blocks of the recurrent weights.

Expected values come from loops over time in float64, head by head: `support.loops`.
"""

import copy
import io
import math
import pickle
import shutil

import pytest
import torch
from torch import sigmoid, tanh
from torch.nn import functional as f

import unrolled
from support.loops import assert_bits_of_rows, assert_bits_of_threads, assert_kernel_is_loop
from unrolled.errors import OptionError, ShapeError
from unrolled.inspection import pre_activations
from unrolled.kernels import using_path
from unrolled.kernels.running.paths import kernel_of

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)


@unrolled.cell(gates="i f g o", states="h c", keeps="f", heads=2)
def group_lstm(x, u, c):
    i, forget, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
    c = forget * c + i * tanh(x.g + u.g)
    return dict(h=o * tanh(c), c=c, i=i, f=forget, o=o)


@unrolled.cell(gates="r z n", feedforward="z n", applied="n", heads=2)
def group_gru(x, u, h):
    """A gate that does not read the input, and a product with a vector of the equations' own."""
    r, z = sigmoid(u.r), sigmoid(x.z + u.z)
    n = tanh(x.n + u.n(r * h))
    return dict(h=(1 - z) * h + z * n, r=r, z=z)


@unrolled.cell(gates="h1 t1 h2 t2", applied="h2 t2", heads=2)
def highway(x, u, h):
    """Products of what products gave, and none with h itself but the first two."""
    t = sigmoid(x.t1 + u.t1)
    s = tanh(x.h1 + u.h1) * t + h * (1 - t)
    t = sigmoid(u.t2(s))
    return dict(h=tanh(u.h2(s)) * t + s * (1 - t), t=t)


@unrolled.cell(gates="a b", applied="a b", heads=2)
def chain(x, u, h):
    """A chain of two products, and nothing but these."""
    return dict(h=tanh(x.a + u.a(tanh(x.b + u.b(h)))))


@unrolled.cell(gates="z n", applied="n", heads=2)
def normed(x, u, h):
    """Sums over the units of all heads, before and after a product of heads."""
    z = sigmoid(f.layer_norm(x.z + u.z, h.shape[-1:]))
    n = tanh(x.n + u.n(f.rms_norm(h, h.shape[-1:], eps=0.1)))
    return dict(h=z * h + (1 - z) * n, z=z)


def group_lstm_loop(x, u, h, c):
    i, forget, o = (sigmoid(x[g] + u(g, h)) for g in "ifo")
    c = forget * c + i * tanh(x["g"] + u("g", h))
    return o * tanh(c), c


def group_gru_loop(x, u, h):
    z = sigmoid(x["z"] + u("z", h))
    return ((1 - z) * h + z * tanh(x["n"] + u("n", sigmoid(u("r", h)) * h)),)


def highway_loop(x, u, h):
    t = sigmoid(x["t1"] + u("t1", h))
    s = tanh(x["h1"] + u("h1", h)) * t + h * (1 - t)
    t = sigmoid(u("t2", s))
    return (tanh(u("h2", s)) * t + s * (1 - t),)


def chain_loop(x, u, h):
    return (tanh(x["a"] + u("a", tanh(x["b"] + u("b", h)))),)


def normed_loop(x, u, h):
    a = x["z"] + u("z", h)
    z = sigmoid((a - a.mean()) / (((a - a.mean()) ** 2).mean() + 1e-5).sqrt())
    n = tanh(x["n"] + u("n", h / ((h * h).mean() + 0.1).sqrt()))
    return (z * h + (1 - z) * n,)


LOOPS = {
    group_lstm: group_lstm_loop,
    group_gru: group_gru_loop,
    highway: highway_loop,
    chain: chain_loop,
    normed: normed_loop,
}
every_cell = pytest.mark.parametrize("cell", LOOPS, ids=lambda cell: cell.name)
SIZES = [(18, 2), (38, 2), (12, 12), (68, 4), (195, 3)]  # less than a vector, a panel, and more


@every_cell
@pytest.mark.parametrize(("hidden_size", "heads"), SIZES)
def test_values_and_gradients_are_those_of_a_loop_over_heads_in_float64(cell, hidden_size, heads):
    assert_kernel_is_loop(cell, LOOPS[cell], hidden_size, heads)


@every_cell
@pytest.mark.parametrize(("hidden_size", "heads"), [(38, 2), (36, 4)])
def test_a_row_has_the_same_bits_alone_in_pieces_in_a_stream_and_without_gradients(
    cell, hidden_size, heads
):
    assert_bits_of_rows(cell, hidden_size, heads)


@every_cell
def test_no_head_reads_another(cell):
    """Each is a layer of its own where nothing sums over units."""
    if cell is normed:
        pytest.skip("sums over units")
    layer, x = layer_of(cell, 38), torch.randn(5, 4, 3)
    whole, _ = layer(x)
    for head in range(2):
        units = slice(19 * head, 19 * (head + 1))
        alone = unrolled.Recurrent(cell, 3, 19, heads=1)
        with torch.no_grad():
            for name, weight in alone.named_parameters():
                full = layer.get_parameter(name)
                weight.copy_(full.view(-1, 38, *full.shape[1:])[:, units].flatten(0, 1))
        torch.testing.assert_close(alone(x)[0], whole[..., units], rtol=1e-5, atol=1e-6)


@every_cell
def test_one_head_has_the_bits_of_a_layer_without(cell):
    weights = layer_of(cell, 20, heads=1)
    assert weights.weight_hh_l0.shape[1] == 20
    x = torch.randn(5, 4, 3)
    passes = []
    for path in ("kernel", "reference"):
        with using_path(path):
            passes.append(weights(x)[0])
    torch.testing.assert_close(*passes, rtol=1e-5, atol=1e-6)


def layer_of(cell, hidden_size=12, **options):
    torch.manual_seed(5)
    layer = unrolled.Recurrent(cell, 3, hidden_size, **options)
    assert kernel_of(cell) is not None
    return layer


@every_cell
def test_threads_that_share_a_row_give_the_same_bits(cell):
    layer = layer_of(cell, 512, heads=4)
    x = torch.randn(6, 1, 3, requires_grad=True)

    assert_bits_of_threads(layer, x)


@pytest.mark.parametrize("bias", [True, False])
def test_a_long_call_and_short_ones_have_the_same_gradient_bits(bias):
    """A short call crosses to C by another way, which is asked for by x of two dims."""
    layer = layer_of(group_lstm, num_layers=2, bidirectional=True, bias=bias)
    x = torch.randn(5, 4, 3)

    def passes(**options):
        output, _ = layer(x, **options)
        return [output, *torch.autograd.grad(output.sin().sum(), list(layer.parameters()))]

    for short, ordinary in zip(passes(), passes(lengths=[5] * 4), strict=True):
        assert torch.equal(short, ordinary)


def test_resets_cut_a_row_into_pieces_with_the_same_bits():
    layer, x = layer_of(group_gru), torch.randn(6, 2, 3)
    resets = torch.zeros(6, 2, dtype=torch.bool)
    resets[4, 1] = True
    output, _ = layer(x, resets=resets)
    assert torch.equal(output[4:, 1:], layer(x[4:, 1:])[0])
    assert torch.equal(output[:4], layer(x[:4])[0])


@pytest.mark.parametrize("weights", ["bf16", "int8"])
def test_streams_of_smaller_weights_are_near_and_keep_the_bits_of_a_row(weights):
    layer, x = layer_of(group_gru, 24, heads=3), torch.randn(6, 3, 3)
    with torch.no_grad():
        exact, _ = layer(x)
    stream, alone = layer.stream(3, weights=weights), layer.stream(1, weights=weights)
    output = stream.push(x)
    assert (output - exact).norm() < 0.03 * exact.norm()
    assert torch.equal(alone.push(x[:, 1:2]), output[:, 1:2])


def test_a_trace_has_products_and_values_of_every_head():
    layer, x = layer_of(group_gru), torch.randn(6, 2, 3)
    (record,) = unrolled.trace(layer, x)
    with using_path("reference"):
        (right,) = unrolled.trace(layer, x)
    for name in ("h", "r", "z"):
        torch.testing.assert_close(record.values[name], right.values[name])
    parts = pre_activations(record)
    torch.testing.assert_close(sigmoid(parts["x.z"] + parts["u.z"]), record.values["z"])


def test_second_derivatives_are_those_of_the_loop():
    layer = layer_of(group_lstm)

    def second(path):
        x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with using_path(path):
            (first,) = torch.autograd.grad(layer(x)[0].sin().sum(), x, create_graph=True)
            return torch.autograd.grad(first.cos().sum(), [x, layer.weight_hh_l0])

    for ours, right in zip(second("kernel"), second("reference"), strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-4, atol=1e-6)


def test_weights_are_the_blocks_and_start_by_what_a_unit_reads():
    layer = layer_of(group_lstm, 64, heads=4, num_layers=2)
    assert layer.weight_hh_l1.shape == (256, 16)
    assert layer.weight_ih_l1.shape == (256, 64)
    for name, size in (("weight_hh_l0", 16), ("weight_ih_l0", 64), ("bias_hh_l0", 64)):
        bound, greatest = 1 / math.sqrt(size), float(layer.get_parameter(name).detach().abs().max())
        assert 0.9 * bound < greatest <= bound, name
    assert "heads=4" in repr(layer)


def test_a_layer_is_saved_copied_and_loaded():
    layer, x = layer_of(group_gru), torch.randn(4, 2, 3)
    output, _ = layer(x)
    again = unrolled.Recurrent(group_gru, 3, 12)
    again.load_state_dict(layer.state_dict())
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    saved = torch.load(file, weights_only=False)
    for other in (again, saved, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.heads == 2
        assert torch.equal(other(x)[0], output)


def test_torchs_cells_with_heads_do_not_go_to_torchs_code():
    layer = unrolled.Recurrent("lstm", 3, 12, heads=3).double()
    dense = unrolled.Recurrent("lstm", 3, 12).double()
    with torch.no_grad():
        for name, weight in dense.named_parameters():
            if name != "weight_hh_l0":
                weight.copy_(layer.get_parameter(name))
        blocks = layer.weight_hh_l0.view(4, 3, 4, 4)
        dense.weight_hh_l0.copy_(torch.cat([torch.block_diag(*gate) for gate in blocks]))
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x)[0], dense(x)[0])


def test_a_compiled_and_an_exported_layer_give_the_same():
    layer, x = layer_of(group_gru).eval(), torch.randn(4, 2, 3)
    expected, _ = layer(x)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x)[0], expected)
    assert torch.equal(torch.export.export(layer, (x,)).module()(x)[0], expected)


# ---- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(heads=5), "12 units are not 5 heads.*multiple of 5, such as 10"),
        (dict(heads=24), "12 units are not 24 heads.*such as 24"),
        (dict(heads=0), "heads must be at least 1, got 0"),
    ],
)
def test_a_number_of_heads_that_does_not_divide_is_refused(options, message):
    with pytest.raises(OptionError, match="(?s)" + message):
        unrolled.Recurrent(group_lstm, 3, 12, **options)


def test_heads_are_an_int():
    with pytest.raises(TypeError, match="heads must be an int, got str"):
        unrolled.Recurrent(group_lstm, 3, 12, heads="heads")


def test_heads_without_recurrent_weights_are_refused():
    with pytest.raises(OptionError, match="cell min_gru has no recurrent weights"):
        unrolled.Recurrent("min_gru", 3, 12, heads=2)
    with pytest.raises(OptionError, match="has 2 heads, but no recurrent weights"):

        @unrolled.cell(gates="z", recurrent="", heads=2)
        def none(x, h):
            return dict(h=x.z + h)


def test_a_cell_declares_a_number_of_heads():
    for heads in (0, True, "4", 2.0):
        with pytest.raises(OptionError, match="heads= must be a number of at least 1"):
            unrolled.cell(gates="z", heads=heads)


def test_weights_of_no_whole_heads_are_refused_before_a_kernel_reads_them():
    layer = layer_of(group_lstm)
    layer.weight_hh_l0 = torch.nn.Parameter(torch.zeros(48, 5))
    with pytest.raises(ShapeError, match="12 units are not heads of 5"):
        layer(torch.randn(4, 2, 3))
