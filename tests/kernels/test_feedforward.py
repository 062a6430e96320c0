"""Gates without a part of the input: `@cell(feedforward="n")` names those that have one."""

import shutil

import pytest
import torch
from torch import sigmoid, tanh

import unrolled
from unrolled import initialize
from unrolled.inspection.terms import unit_terms
from unrolled.kernels import using_path

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)

INPUT, HIDDEN = 5, 7


def equations(x, u, h):
    """r reads the state alone, k the input alone, n a vector alone, z both in one sum."""
    r, z = sigmoid(u.r), sigmoid(x.z + u.z)
    n = tanh(u.n(r * h) * x.k)
    return dict(h=(1 - z) * h + z * n + 0.1 * u.m(n))


# The rows of the input weights in another order than the gates.
some = unrolled.cell(
    gates="r z k n m", feedforward="k z", recurrent="r z n m", applied="n m", keeps="r"
)(equations)
all_of_them = unrolled.cell(gates="k z r n m", recurrent="r z n m", applied="n m")(equations)


def layers():
    """Return a layer over each cell, with the same weights where both have them."""
    torch.manual_seed(0)
    options = dict(num_layers=2, bidirectional=True)
    ours = unrolled.Recurrent(some, INPUT, HIDDEN, **options)
    other = unrolled.Recurrent(all_of_them, INPUT, HIDDEN, **options)
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            other.get_parameter(name)[: len(weight)] = weight
    return ours, other


def test_the_input_weights_have_rows_for_the_gates_that_read_it():
    ours, other = layers()
    assert ours.weight_ih_l0.shape == (2 * HIDDEN, INPUT)
    assert ours.bias_ih_l1_reverse.shape == (2 * HIDDEN,)
    assert other.weight_ih_l0.shape == (5 * HIDDEN, INPUT)
    assert ours.weight_hh_l0.shape == other.weight_hh_l0.shape == (4 * HIDDEN, HIDDEN)


@pytest.mark.parametrize("path", ["kernel", "reference"])
def test_what_is_computed_is_that_of_a_cell_whose_other_rows_do_nothing(path):
    x, results = torch.randn(6, 3, INPUT), []
    upstream = torch.randn(6, 3, 2 * HIDDEN)
    for layer in layers():
        x.requires_grad_()
        with using_path(path):
            output, state = layer(x, lengths=[6, 0, 4])
        loss = (output * upstream).sum() + state.sum()
        names, weights = zip(*layer.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, [x, *weights])
        named = zip(names, gradients[1:], strict=True)
        of_rows = [g[: 2 * HIDDEN] if "ih" in n else g for n, g in named]
        results.append([output, state, gradients[0], *of_rows])
    for ours, other in zip(*results, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-6, atol=1e-6)


def test_kernel_and_reference_agree_in_value_and_gradient():
    layer, _ = layers()
    x = torch.randn(6, 3, INPUT, requires_grad=True)
    upstream, results = torch.randn(6, 3, 2 * HIDDEN), []
    for path in ("kernel", "reference"):
        with using_path(path):
            output, _ = layer(x, lengths=[6, 0, 4])
        leaves = [x, *layer.parameters()]
        results.append([output, *torch.autograd.grad((output * upstream).sum(), leaves)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)


def test_short_calls_streams_and_pools_give_the_bits_of_whole_sequences():
    torch.manual_seed(1)
    layer = unrolled.Recurrent(some, INPUT, HIDDEN, num_layers=2)
    x = torch.randn(9, 2, INPUT)
    with torch.no_grad():
        whole, end = layer(x)
        first, state = layer(x[:1])
        rest, last = layer(x[1:], state)
        assert torch.equal(torch.cat([first, rest]), whole)
        assert torch.equal(last, end)
    stream = layer.stream(2)
    assert torch.equal(torch.stack([stream.step(x_t).clone() for x_t in x]), whole)
    pool = layer.streams(2)
    streams = [pool.join() for _ in range(2)]
    assert torch.equal(pool.push(x, streams), whole)


def test_a_trace_and_its_terms_hold_the_parts_that_there_are():
    layer = unrolled.Recurrent(some, INPUT, HIDDEN)
    x = torch.randn(4, 1, INPUT)
    (record,) = unrolled.trace(layer, x)
    terms = unit_terms(record, 2)
    assert ([*terms.x], [*terms.u]) == (["k", "z"], ["r", "z", "n", "m"])
    k = (x[:, 0].double() @ layer.weight_ih_l0[2].double()) + layer.bias_ih_l0[2].double()
    torch.testing.assert_close(terms.x["k"], k, rtol=1e-9, atol=1e-9)


def test_the_bias_of_a_gate_that_reads_the_state_alone_can_be_set():
    layer = unrolled.Recurrent(some, INPUT, HIDDEN)
    before = layer.bias_ih_l0.clone()
    initialize.forget_bias(layer, 3.0)
    assert (layer.bias_hh_l0[:HIDDEN] == 3.0).all()
    assert torch.equal(layer.bias_ih_l0, before)


def test_such_a_layer_is_exported_with_the_numbers_that_it_has():
    layer = unrolled.Recurrent(some, INPUT, HIDDEN)
    x = torch.randn(4, 2, INPUT)
    program = torch.export.export(layer, (x,))
    torch.testing.assert_close(program.module()(x)[0], layer(x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (dict(gates="r z k n m", feedforward="k y"), "feedforward gate y is not a gate"),
        (dict(gates="r z k n m", feedforward="k k"), "feedforward gate 'k' is no name, or taken"),
        (dict(gates="r z k n m", feedforward=""), "no gate reads the input"),
        (dict(gates="r z k n m", feedforward="k", recurrent="r"), "gate m reads neither"),
    ],
)
def test_a_wrong_declaration_is_told_when_the_function_is_defined(declaration, message):
    with pytest.raises(unrolled.UnrolledError, match=message):
        unrolled.cell(**declaration)(equations)


def test_equations_that_read_the_input_by_another_gate_are_told_which_there_are():
    @unrolled.cell(gates="a b", feedforward="a")
    def wrong(x, u, h):
        return dict(h=tanh(x.a + u.a + x.b + u.b))

    with pytest.raises(AttributeError, match="cell wrong: x: no gate 'b'; declared: a"):
        unrolled.Recurrent(wrong, 2, 3)(torch.randn(1, 1, 2))
