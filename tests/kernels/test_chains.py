"""Products applied to what other products gave: a step of several phases.

Expected values come from loops over time written here, in float64, from the papers' equations.
"""

import shutil

import pytest
import torch
from torch import sigmoid, tanh

import unrolled
from support.equations import layer_of
from support.loops import assert_bits_of_rows, assert_bits_of_threads, assert_kernel_is_loop
from unrolled.errors import OptionError
from unrolled.kernels import EquationsError, kernel_source, using_path

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)


@unrolled.cell(gates="b p q w v", recurrent="p q w v", applied="q w v", states="h c")
def scrn(x, u, h, c):
    c = 0.05 * x.b + 0.95 * c
    s = sigmoid(x.p + u.p + u.q(c))
    return dict(h=tanh(u.w(s) + u.v(c)), c=c, s=s)


@unrolled.cell(gates="g i f o a b k", applied="a b k", states="h c")
def wmc_lstm(x, u, c):
    i = sigmoid(x.i + u.i + tanh(u.a(c)))
    f = sigmoid(x.f + u.f + tanh(u.b(c)))
    c = f * c + i * tanh(x.g + u.g)
    o = sigmoid(x.o + u.o + tanh(u.k(c)))
    return dict(h=o * tanh(c), c=c, i=i, f=f, o=o)


@unrolled.cell(gates="h1 t1 h2 t2 h3 t3", applied="h2 t2 h3 t3")
def rhn3(x, u, h):
    t = sigmoid(x.t1 + u.t1)
    s = tanh(x.h1 + u.h1) * t + h * (1 - t)
    t = sigmoid(u.t2(s))
    s = tanh(u.h2(s)) * t + s * (1 - t)
    t = sigmoid(u.t3(s))
    s = tanh(u.h3(s)) * t + s * (1 - t)
    return dict(h=s, t=t)


@unrolled.cell(gates="m g a", applied="g a")
def multiplicative(x, u, h):
    """Applied in another order than declared, and a gate whose parts are multiplied."""
    m = x.m * u.m
    a = sigmoid(x.a * u.a(m))
    return dict(h=a * h + (1 - a) * tanh(x.g + u.g(a * m)), a=a, m=m)


# ---- The papers' equations again, over all that W and b hold -------------------------------------


def scrn_loop(x, u, h, c):
    c = 0.95 * c + 0.05 * x["b"]
    s = sigmoid(x["p"] + u("p", h) + u("q", c))
    return tanh(u("w", s) + u("v", c)), c


def wmc_lstm_loop(x, u, h, c):
    i = sigmoid(x["i"] + u("i", h) + tanh(u("a", c)))
    f = sigmoid(x["f"] + u("f", h) + tanh(u("b", c)))
    c = f * c + i * tanh(x["g"] + u("g", h))
    return sigmoid(x["o"] + u("o", h) + tanh(u("k", c))) * tanh(c), c


def rhn3_loop(x, u, s):
    for n in "123":
        first = n == "1"
        t = sigmoid((x["t1"] if first else 0) + u("t" + n, s))
        s = tanh((x["h1"] if first else 0) + u("h" + n, s)) * t + s * (1 - t)
    return (s,)


def multiplicative_loop(x, u, h):
    m = x["m"] * u("m", h)
    a = sigmoid(x["a"] * u("a", m))
    return (a * h + (1 - a) * tanh(x["g"] + u("g", a * m)),)


LOOPS = {
    scrn: scrn_loop,
    wmc_lstm: wmc_lstm_loop,
    rhn3: rhn3_loop,
    multiplicative: multiplicative_loop,
}
every_cell = pytest.mark.parametrize("cell", LOOPS, ids=lambda cell: cell.name)


@every_cell
def test_values_and_gradients_are_those_of_the_papers_in_float64(cell):
    assert_kernel_is_loop(cell, LOOPS[cell])


@every_cell
def test_a_row_has_the_same_bits_alone_in_pieces_in_a_stream_and_without_gradients(cell):
    assert_bits_of_rows(cell)


def test_equations_may_change_a_vector_after_its_product():
    """As the kernel has it, so has the loop, also for autograd."""

    def step(x, u, h, change):
        v = sigmoid(x.r + u.r) * h
        n = u.n(v)
        return dict(h=tanh(x.n + n) + change(v))

    @unrolled.cell(gates="r n", applied="n")
    def changing(x, u, h):
        return step(x, u, h, lambda v: v.mul_(0.5))

    @unrolled.cell(gates="r n", applied="n")
    def leaving(x, u, h):
        return step(x, u, h, lambda v: v * 0.5)

    x, results = torch.randn(4, 3, 2, dtype=torch.float64), []
    weights = unrolled.Recurrent(leaving, 2, 5).state_dict()
    for cell in (changing, leaving):
        layer = unrolled.Recurrent(cell, 2, 5).double()
        layer.load_state_dict(weights)
        output, _ = layer(x)
        results.append([output, *torch.autograd.grad(output.sin().sum(), [*layer.parameters()])])
    for changed, left in zip(*results, strict=True):
        assert torch.equal(changed, left)


def test_threads_that_share_a_row_give_the_same_bits():
    layer = unrolled.Recurrent(scrn, 16, 256)
    x = torch.randn(6, 1, 16, requires_grad=True)

    assert_bits_of_threads(layer, x)


def test_a_trace_has_every_named_value_of_every_phase():
    layer = unrolled.Recurrent(scrn, 3, 19)
    x = torch.randn(6, 2, 3)
    trace = unrolled.trace(layer, x)
    with using_path("reference"):
        reference = unrolled.trace(layer, x)
    (ours,), (right,) = trace, reference
    for name in ("h", "c", "s"):
        torch.testing.assert_close(ours.values[name], right.values[name])


# ---- What is absent, and what is refused ---------------------------------------------------------


def test_an_absent_gradient_is_no_zero_in_any_phase():
    @unrolled.cell(gates="a b c", applied="b c", states="h m")
    def infinite(x, u, h, m):
        b = u.b(torch.sqrt(m)) + x.b  # whose derivative at m = 0 is infinite
        c = u.c(b) + x.c
        return dict(h=tanh(x.a + u.a), m=c * c)

    def gradients(path):
        layer = layer_of(infinite, hidden_size=5)
        x = torch.ones(1, 2, 3, requires_grad=True)
        with using_path(path):
            output, _ = layer(x)
        return torch.autograd.grad(output.sum(), [x, *layer.parameters()], materialize_grads=True)

    for ours, right in zip(gradients("kernel"), gradients("reference"), strict=True):
        assert right.isfinite().all()
        torch.testing.assert_close(ours, right)


def test_a_product_that_is_applied_twice_is_named_with_what_can_be_done():
    @unrolled.cell(gates="a n", applied="n")
    def twice(x, u, h):
        return dict(h=tanh(x.a + u.a + u.n(u.n(h) + x.n)))

    with pytest.raises(EquationsError, match=r"u\.n twice in a step \(test_chains.py, line \d+\)"):
        kernel_source(twice)


def test_more_products_than_a_kernel_can_add_gradients_for_are_refused():
    names = [f"g{n}" for n in range(40)]

    @unrolled.cell(gates=" ".join(names), applied=" ".join(names))
    def many(x, u, h):
        for name in names:
            h = tanh(getattr(x, name) + getattr(u, name)(h))
        return dict(h=h)

    with pytest.raises(EquationsError, match="at most 38 products to vectors, these are 40"):
        kernel_source(many)


@pytest.mark.parametrize(
    ("applied", "equation", "said"),
    [
        ("", "u.n(h)", r'calls a tensor.*applied="n" makes u\.n a function'),
        ("n", "tanh(h) + u.n", r"u\.n \(of applied=\) is a function.*write u\.n\(h\)"),
        ("n", "tanh(u.n)", r"u\.n \(of applied=\) is a function.*write u\.n\(h\)"),
        ("n", "u.n(0.5)", r"u\.n is applied to 0\.5.*takes a vector"),
    ],
)
def test_a_product_taken_for_a_vector_is_explained(applied, equation, said):
    code = compile(equation, "equations", "eval")

    @unrolled.cell(gates="n", applied=applied)
    def mistaken(x, u, h):
        return dict(h=x.n + eval(code, {"u": u, "h": h, "tanh": tanh}))

    with pytest.raises(OptionError, match=said):
        unrolled.Recurrent(mistaken, 2, 3)(torch.zeros(1, 1, 2))
