"""Former states: delays of the output, which a kernel reads where it lies, and of other states."""

import shutil

import pytest
import torch
from torch import sigmoid, tanh

import unrolled
from support.equations import layer_of, values_and_gradients
from support.loops import assert_bits_of_rows, assert_kernel_is_loop
from unrolled.errors import OptionError
from unrolled.kernels import EquationsError, kernel_source, using_path

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH"
)


@unrolled.cell(gates="r a g z", applied="z", delays="h:4")
def tau_gru(x, u, h, h_4):
    """TauGRU (Erichson, Lim and Mahoney, 2023), with a delay of 4 steps."""
    r, g = sigmoid(x.r + u.r), sigmoid(x.g + u.g)
    z = tanh(x.z + u.z(h_4))
    return dict(h=(1 - g) * h + g * (tanh(x.a + u.a) + r * z), g=g)


def tau_gru_loop(x, u, h, h_2, h_3, h_4):
    r, g = sigmoid(x["r"] + u("r", h)), sigmoid(x["g"] + u("g", h))
    z = tanh(x["z"] + u("z", h_4))
    return (1 - g) * h + g * (tanh(x["a"] + u("a", h)) + r * z), h, h_2, h_3


@unrolled.cell(gates="a b", applied="b", states="h c n", delays="c:3 h:2")
def clockwork(x, u, h, h_2, c, c_3, n):
    """A counter of steps lets c change at every third one; both states have delays."""
    n = n + 1
    n = torch.where(n > 2.5, 0 * n, n)
    c = torch.where(n < 0.5, tanh(x.a + u.a + h_2), c)
    return dict(h=tanh(c + c_3 + u.b(h_2 * c_3) + x.b), c=c, n=n)


def clockwork_loop(x, u, h, h_2, c, c_2, c_3, n):
    n = torch.where(n + 1 > 2.5, 0 * n, n + 1)
    new = torch.where(n < 0.5, tanh(x["a"] + u("a", h) + h_2), c)
    return tanh(new + c_3 + u("b", h_2 * c_3) + x["b"]), h, new, c, c_2, n


LOOPS = {tau_gru: tau_gru_loop, clockwork: clockwork_loop}
every_cell = pytest.mark.parametrize("cell", LOOPS, ids=lambda cell: cell.name)


@needs_compiler
@every_cell
def test_values_and_gradients_are_those_of_a_loop_in_float64(cell):
    assert_kernel_is_loop(cell, LOOPS[cell])


@needs_compiler
@every_cell
def test_a_row_has_the_same_bits_alone_in_pieces_in_a_stream_and_without_gradients(cell):
    assert_bits_of_rows(cell)


@needs_compiler
def test_former_states_that_equations_hand_on_themselves_give_the_same_bits():
    @unrolled.cell(gates="r a g z", applied="z", states="h p q s")
    def by_hand(x, u, h, p, q, s):
        r, g = sigmoid(x.r + u.r), sigmoid(x.g + u.g)
        z = tanh(x.z + u.z(s))
        return dict(h=(1 - g) * h + g * (tanh(x.a + u.a) + r * z), p=h, q=p, s=q)

    first, second = (
        values_and_gradients(layer_of(cell), "kernel", num_steps=7) for cell in (tau_gru, by_hand)
    )
    for ours, theirs in zip(first.values(), second.values(), strict=True):
        assert all(map(torch.equal, ours, theirs))


@needs_compiler
def test_a_trace_has_the_former_states_of_every_step():
    layer = unrolled.Recurrent(tau_gru, 3, 19)
    x = torch.randn(6, 2, 3)
    (ours,) = unrolled.trace(layer, x)
    with using_path("reference"):
        (right,) = unrolled.trace(layer, x)
    for name in ("h", "h_2", "h_4"):
        torch.testing.assert_close(ours.values[name], right.values[name])


def test_what_a_cell_remembers_is_not_in_a_former_state():
    assert (tau_gru.carrier, clockwork.carrier) == ("h", "n")


def test_the_state_of_a_layer_has_the_former_ones_by_name():
    layer = unrolled.Recurrent(tau_gru, 3, 5)
    output, state = layer(torch.randn(6, 2, 3), lengths=[6, 2])
    assert state._fields == ("h", "h_2", "h_3", "h_4")
    assert torch.equal(state.h_3[0, 0], output[3, 0])
    assert torch.equal(state.h_2[0, 1], output[0, 1])
    assert not state.h_3[0, 1].any()  # before its beginning


@pytest.mark.parametrize(
    "delays", ["h", "h:1", "h:x", "c:3", "h:2 h:3", "h=4", "h:1001", "h:9999999999"]
)
def test_a_delay_that_means_nothing_is_refused(delays):
    with pytest.raises(OptionError, match="delay"):
        unrolled.cell(gates="a", delays=delays)(lambda x, u, h: dict(h=x.a))


def test_a_former_state_that_is_not_declared_says_how_it_would_be():
    with pytest.raises(OptionError, match='delays="h:5" declares it, h of 5 steps before'):
        unrolled.cell(gates="a", delays="h:4")(lambda x, u, h, h_5: dict(h=x.a))
    with pytest.raises(OptionError, match="of one step before, it is h"):
        unrolled.cell(gates="a", delays="h:4")(lambda x, u, h_1: dict(h=x.a))


@pytest.mark.parametrize("option", ["gates", "states", "recurrent", "applied", "delays"])
def test_names_that_are_no_text_are_refused(option):
    with pytest.raises(OptionError, match=f"{option}= must be a text, got list"):
        unrolled.cell(**{"gates": "a", option: ["a"]})(lambda x, u, h: dict(h=x.a))


def test_a_name_that_a_delay_has_is_refused_elsewhere():
    with pytest.raises(OptionError, match="state 'h_2' is no name, or taken"):
        unrolled.cell(gates="a", states="h h_2", delays="h:2")(lambda x, u, h: dict(h=x.a))
    cell = unrolled.cell(gates="a", delays="h:2")(lambda x, u, h: dict(h=x.a, h_2=h))
    with pytest.raises(OptionError, match="argument 'h_2' is a state, and has no first value"):
        unrolled.cell(gates="a", delays="h:2")(lambda x, u, *, h_2=1.0: dict(h=x.a * h_2))
    with pytest.raises(OptionError, match="returns h_2, which its delays= make"):
        unrolled.Recurrent(cell, 2, 3)(torch.zeros(1, 1, 2))


def test_more_steps_than_a_kernel_has_states_are_refused():
    @unrolled.cell(gates="a", delays="h:33")
    def far(x, u, h, h_33):
        return dict(h=tanh(x.a + u.a + h_33))

    with pytest.raises(EquationsError, match="at most 32 states, delays among them"):
        kernel_source(far)
