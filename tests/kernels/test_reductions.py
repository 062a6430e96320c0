"""Sums over the units of a row in a kernel: normalisation, softmax, running sums, the greatest.

Each cell is held against a loop in float64 that is written out here from its paper, by sums alone.
"""

import shutil

import pytest
import torch
from torch import sigmoid, softmax, tanh
from torch.nn import functional as f

import unrolled
from support.equations import layer_of
from support.loops import assert_bits_of_rows, assert_kernel_is_loop
from support.rounding import assert_right_to_rounding
from unrolled.kernels import using_path
from unrolled.kernels.capturing import step_graph
from unrolled.kernels.running.paths import kernel_of

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)

# ---- The cells -----------------------------------------------------------------------------------


@unrolled.cell(gates="i f g o", states="h c", keeps="f", admits="i")
def norm_lstm(x, u, c, *, wi=1.0, wf=1.0, wg=1.0, wo=1.0, ri=1.0, rf=1.0, rg=1.0, ro=1.0, b=0.0):
    """Ba, Kiros and Hinton 2016, equations 20 to 22."""

    def norm(v, gain=None, bias=None):
        return f.layer_norm(v, v.shape[-1:], gain, bias)

    i = sigmoid(norm(x.i, wi) + norm(u.i, ri))
    forget = sigmoid(norm(x.f, wf) + norm(u.f, rf))
    g = tanh(norm(x.g, wg) + norm(u.g, rg))
    o = sigmoid(norm(x.o, wo) + norm(u.o, ro))
    c = forget * c + i * g
    return dict(h=o * tanh(norm(c, bias=b)), c=c, i=i, f=forget, g=g, o=o)


@unrolled.cell(gates="r z n", applied="n", keeps="z")
def norm_gru(x, u, h, *, w=1.0, v=0.5):
    """A GRU with the reset before the product, whose vectors have a root mean square of one."""
    size = h.shape[-1:]
    r = sigmoid(f.rms_norm(x.r + u.r, size, w))
    z = sigmoid(f.rms_norm(x.z + u.z, size))
    n = tanh(f.rms_norm(x.n + u.n(f.rms_norm(r * h, size, v, eps=0.1)), size, eps=1e-3))
    return dict(h=z * h + (1 - z) * n, r=r, z=z, n=n)


@unrolled.cell(gates="i f g o master_f master_i", states="h c", keeps="f")
def on_lstm(x, u, c):
    """Shen, Tan, Sordoni and Courville 2019, equations 1 to 14."""
    i, forget, o = sigmoid(x.i + u.i), sigmoid(x.f + u.f), sigmoid(x.o + u.o)
    g = tanh(x.g + u.g)
    above = torch.cumsum(softmax(x.master_f + u.master_f, -1), -1)
    below = 1 - torch.cumsum(softmax(x.master_i + u.master_i, -1), -1)
    both = above * below
    keep, admit = forget * both + (above - both), i * both + (below - both)
    c = keep * c + admit * g
    return dict(h=o * tanh(c), c=c, f=keep, above=above)


@unrolled.cell(gates="z n", recurrent="")
def attending(x, h, *, w=0.3):
    """No recurrent product; the greatest, the mean and the deviation of a row."""
    z = softmax(x.z * (1 + h.std(-1, keepdim=True)), -1)
    n = x.n - (x.n * w).amax(-1, keepdim=True) - h.mean(-1)[:, None]
    return dict(h=tanh(z * n + (1 - z) * h), level=torch.logsumexp(n, -1, keepdim=True) + 0 * n)


def normal(v, eps=1e-5):
    centred = v - v.sum(-1, keepdim=True) / v.shape[-1]
    return centred / ((centred**2).sum(-1, keepdim=True) / v.shape[-1] + eps) ** 0.5


def rms(v, eps=2.0**-23):
    return v / ((v**2).sum(-1, keepdim=True) / v.shape[-1] + eps) ** 0.5


def share(v):
    return v.exp() / v.exp().sum(-1, keepdim=True)


def sums_up_to(v):
    return v @ torch.ones(v.shape[-1], v.shape[-1], dtype=v.dtype).triu()


def norm_lstm_by_hand(x, u, product, state, p):
    _, c = state
    wi, wf, wg, wo, ri, rf, rg, ro, b = p
    i = sigmoid(normal(x[0]) * wi + normal(u[0]) * ri)
    forget = sigmoid(normal(x[1]) * wf + normal(u[1]) * rf)
    g = tanh(normal(x[2]) * wg + normal(u[2]) * rg)
    o = sigmoid(normal(x[3]) * wo + normal(u[3]) * ro)
    c = forget * c + i * g
    return o * tanh(normal(c) + b), c


def norm_gru_by_hand(x, u, product, state, p):
    (h,), (w, v) = state, p
    r, z = sigmoid(rms(x[0] + u[0]) * w), sigmoid(rms(x[1] + u[1]))
    n = tanh(rms(x[2] + product(2, rms(r * h, 0.1) * v), 1e-3))
    return (z * h + (1 - z) * n,)


def on_lstm_by_hand(x, u, product, state, p):
    i, forget, g, o, a, b = (p + q for p, q in zip(x, u, strict=True))
    above, below = sums_up_to(share(a)), 1 - sums_up_to(share(b))
    both = above * below
    keep = sigmoid(forget) * both + above - both
    c = keep * state[1] + (sigmoid(i) * both + below - both) * tanh(g)
    return sigmoid(o) * tanh(c), c


def attending_by_hand(x, u, product, state, p):
    (h,), (w,), size = state, p, state[0].shape[-1]
    centred = h - h.sum(-1, keepdim=True) / size
    z = share(x[0] * (1 + ((centred**2).sum(-1, keepdim=True) / (size - 1)) ** 0.5))
    n = x[1] - (x[1] * w).max(-1, keepdim=True).values - h.sum(-1, keepdim=True) / size
    return (tanh(z * n + (1 - z) * h),)


CELLS = {
    norm_lstm: norm_lstm_by_hand,
    norm_gru: norm_gru_by_hand,
    on_lstm: on_lstm_by_hand,
    attending: attending_by_hand,
}
every_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)


def by_hand(layer, x, start):
    """Return all outputs of a layer in one direction, and the last states, in float64."""
    cell, H = layer.cell, layer.hidden_size
    weights = {name.removesuffix("_l0"): w for name, w in layer.named_parameters()}
    hh, bias_hh = weights.get("weight_hh"), weights.get("bias_hh")
    vectors = [weights[name] for name in cell.parameters]

    def product(gate, v):
        rows = slice(gate * H, (gate + 1) * H)
        return v @ hh[rows].T + bias_hh[rows]

    state, outputs = start, []
    for x_t in x:
        parts = (x_t @ weights["weight_ih"].T + weights["bias_ih"]).chunk(len(cell.gates), -1)
        direct = range(len(cell.recurrent) - len(cell.applied))
        u = [product(gate, state[0]) for gate in direct]
        state = CELLS[cell](parts, u, product, state, vectors)
        outputs.append(state[0])
    return torch.stack(outputs), state


def start_of(layer, batch_size):
    generator = torch.Generator().manual_seed(3)
    shape = (batch_size, layer.hidden_size)
    return [torch.randn(shape, generator=generator) * 0.5 for _ in layer.cell.states]


@every_cell
@pytest.mark.parametrize("hidden_size", [37, 2])
def test_values_and_gradients_are_those_of_the_formula(cell, hidden_size):
    layer = layer_of(cell, 1, hidden_size)
    assert kernel_of(cell) is not None
    x, start = torch.randn(6, 5, 3), start_of(layer, 5)
    factors = torch.randn(6, 5, hidden_size)

    def results(run, dtype):
        layer.to(dtype)
        sources = [x.to(dtype).requires_grad_(), *(s.to(dtype).requires_grad_() for s in start)]
        output, end = run(sources[0], sources[1:])
        total = (output * factors).sum() + sum((2 * state).sin().sum() for state in end)
        gradients = torch.autograd.grad(total, [*sources, *layer.parameters()])
        return [output.detach(), *(state.detach() for state in end), *gradients]

    def on_kernel(x, start):
        state = tuple(state[None] for state in start)
        with using_path("kernel"):
            output, end = layer(x, state if len(state) > 1 else state[0])
        return output, [s[0] for s in (end if len(state) > 1 else [end])]

    got = results(on_kernel, torch.float32)
    assert_right_to_rounding(
        got,
        lambda: results(lambda x, start: by_hand(layer, x, start), torch.float64),
        near=1e-5,
    )


# ---- To the last bit -----------------------------------------------------------------------------


@every_cell
def test_bits_depend_on_nothing_but_the_row(cell):
    layer = layer_of(cell, 2, 37)
    x = torch.randn(9, 14, 3)
    output, _ = layer(x)
    with torch.no_grad():
        assert torch.equal(layer(x)[0], output)
        assert torch.equal(layer(x[:, 3:4].contiguous())[0], output[:, 3:4])
        first, state = layer(x[:4])
        assert torch.equal(torch.cat([first, layer(x[4:], state)[0]]), output)
        stream = layer.stream(14)
        assert torch.equal(torch.stack([stream.step(x_t) for x_t in x]), output)
        before = torch.get_num_threads()
        torch.set_num_threads(3)
        try:
            assert torch.equal(layer(x)[0], output)
        finally:
            torch.set_num_threads(before)
        lengths = torch.tensor([9, 2, 5, 1, 0, *[7] * 9])
        ragged, _ = layer(x, lengths=lengths)
        for row, length in enumerate(lengths):
            assert torch.equal(ragged[:length, row], output[:length, row])


@every_cell
def test_gradients_do_not_depend_on_padding(cell):
    layer = layer_of(cell, 2, 19)
    x, lengths = torch.randn(7, 4, 3), [7, 3, 1, 5]

    def gradients(x, **options):
        leaf = x.clone().requires_grad_()
        output, _ = layer(leaf, **options)
        return torch.autograd.grad(output.sin().sum(), leaf)[0]

    together = gradients(x, lengths=lengths)
    for row, length in enumerate(lengths):
        alone = gradients(x[:length, row : row + 1])
        assert torch.equal(together[:length, row : row + 1], alone)


def test_threads_that_share_a_row_give_its_bits():
    layer = layer_of(norm_gru, 0, 256)
    x = torch.randn(40, 1, 3)

    def results():
        leaf = x.clone().requires_grad_()
        output, _ = layer(leaf)
        return output.detach(), *torch.autograd.grad(
            output.sin().sum(), [leaf, *layer.parameters()]
        )

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = results()
        torch.set_num_threads(2)
        assert all(torch.equal(a, b) for a, b in zip(one, results(), strict=True))
    finally:
        torch.set_num_threads(before)


def test_both_directions_and_two_layers():
    torch.manual_seed(0)
    layer = unrolled.Recurrent(norm_lstm, 3, 19, num_layers=2, bidirectional=True)
    x = torch.randn(6, 4, 3)

    def results(path, dtype):
        layer.to(dtype)
        with using_path(path):
            output, state = layer(x.to(dtype), lengths=[6, 2, 5, 0])
        total = output.sin().sum() + state.c.sin().sum()
        return [output, *state, *torch.autograd.grad(total, list(layer.parameters()))]

    exact = results("reference", torch.float64)
    for ours, right in zip(results("kernel", torch.float32), exact, strict=True):
        assert (ours - right).norm() <= 1e-5 * right.norm() + 1e-6


# ---- With chains of products and former states ---------------------------------------------------


@unrolled.cell(gates="a b n k m", applied="n k m", states="h c", delays="h:3 c:2", keeps="a")
def chained(x, u, h, h_3, c, c_2):
    """Products of products, each phase with sums that later ones read, and former states."""
    a = softmax(x.a + u.a + h_3, -1)
    level = (a * h).mean(-1, keepdim=True)
    n = tanh(u.n(f.layer_norm(h + c_2, h.shape[-1:])) + x.n + level)
    over = torch.cumsum(0.1 * n * a, -1)
    k = sigmoid(u.k(f.rms_norm(n - h_3, h.shape[-1:], eps=0.1)) + x.b + u.b)
    c = k * c + (1 - k) * over + (n * k).amax(-1, keepdim=True)
    m = u.m(over * k - level) + x.m
    return dict(h=tanh(f.layer_norm(c + m, h.shape[-1:]) + level), c=c, over=over, k=k)


def chained_loop(x, u, h, h_2, h_3, c, c_2):
    a = share(x["a"] + u("a", h) + h_3)
    level = (a * h).sum() / len(h)
    n = tanh(u("n", normal(h + c_2)) + x["n"] + level)
    over = sums_up_to(0.1 * n * a)
    k = sigmoid(u("k", rms(n - h_3, 0.1)) + x["b"] + u("b", h))
    new = k * c + (1 - k) * over + (n * k).max()
    return tanh(normal(new + u("m", over * k - level) + x["m"]) + level), h, h_2, new, c


def test_chains_and_former_states_are_those_of_the_formula():
    assert_kernel_is_loop(chained, chained_loop)


def test_bits_of_chains_depend_on_nothing_but_the_row():
    assert_bits_of_rows(chained)


# ---- What is seen of it --------------------------------------------------------------------------


def test_a_trace_has_every_named_value():
    layer = layer_of(attending, 0, 19)
    x = torch.randn(4, 3, 3)
    (record,) = unrolled.trace(layer, x)
    with using_path("reference"):
        (expected,) = unrolled.trace(layer, x)
    assert torch.equal(record.values["h"], layer(x)[0])
    assert torch.allclose(record.values["level"], expected.values["level"], atol=1e-5)


def test_the_graph_of_a_step_has_the_numbers_of_all_units():
    graph = step_graph(on_lstm)
    assert graph.is_over_units
    generator = torch.Generator().manual_seed(0)
    leaves = {
        node.id: torch.randn(4, 7, generator=generator)
        for node in graph.nodes
        if node.operation in ("input", "recurrent", "before")
    }
    total = (leaves["x:master_f"] + leaves["u:master_f"]).double()
    assert torch.allclose(graph.numbers(leaves)["above"], sums_up_to(share(total)))
