"""Initial values against the formulas of their papers."""

import copy
from functools import partial

import numpy as np
import pytest
import torch

import unrolled
from unrolled import initialize
from unrolled.kernels import using_path
from unrolled.layers import map_state, state_tensors
from unrolled.wrappers import Zoneout


def total_bias(layer, gate, suffix="l0"):
    """Return the sum of the biases of a gate, in numpy."""
    biases = []
    for side, gates in (("ih", layer.cell.feedforward), ("hh", layer.cell.recurrent)):
        if gate in gates:
            start = layer.hidden_size * gates.index(gate)
            bias = layer.get_parameter(f"bias_{side}_{suffix}").detach().numpy()
            biases.append(bias[start : start + layer.hidden_size])
    return sum(biases)


@unrolled.cell(gates="a k g", recurrent="k g", keeps="k", admits="a")
def own(x, u, h):
    """A cell whose gate that admits has no recurrent part, and one bias alone."""
    k, a = torch.sigmoid(x.k + u.k), torch.sigmoid(x.a)
    return dict(h=k * h + a * torch.tanh(x.g + u.g))


@unrolled.cell(gates="f g")
def undeclared(x, u, h):
    """A cell with a gate called f, of which nobody says what it does."""
    f = torch.sigmoid(x.f + u.f)
    return dict(h=f * torch.tanh(x.g + u.g) + (1 - f) * h)


LAYERS = {
    "lstm": (unrolled.LSTM, "f", "i"),
    "janet": (unrolled.JANET, "f", None),
    "gru": (unrolled.GRU, "z", None),
    "gru reset before": (partial(unrolled.GRU, reset="before"), "z", None),
    "own": (partial(unrolled.Recurrent, own), "k", "a"),
}
every_layer = pytest.mark.parametrize(("make", "keeps", "admits"), LAYERS.values(), ids=LAYERS)


@every_layer
def test_forget_bias_is_that_of_the_gate_that_keeps_and_of_no_other(make, keeps, admits):
    layer = make(2, 8)
    before = {gate: total_bias(layer, gate).copy() for gate in layer.cell.gates}
    initialize.forget_bias(layer, 1.5)
    assert (total_bias(layer, keeps) == 1.5).all()
    for gate in before.keys() - {keeps}:
        np.testing.assert_array_equal(total_bias(layer, gate), before[gate])


def test_forget_bias_is_the_sum_of_both_biases_in_every_layer_and_direction():
    layer = unrolled.LSTM(2, 8, num_layers=2, bidirectional=True)
    before = total_bias(layer, "i", "l1_reverse").copy()
    initialize.forget_bias(layer, 1.5)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        assert (total_bias(layer, "f", suffix) == 1.5).all()
    assert (total_bias(layer, "i", "l1_reverse") == before).all()


@every_layer
def test_a_gate_that_is_declared_to_keep_does(make, keeps, admits):
    layer = make(2, 8)
    initialize.forget_bias(layer, 100.0)  # open
    if admits is not None:
        initialize._set_bias(layer, "l0", admits, torch.full((8,), -100.0))  # shut
    before = map_state(torch.randn_like, layer.initial_state(3))
    _, after = layer(torch.randn(5, 3, 2), before)
    torch.testing.assert_close(state_tensors(after)[-1], state_tensors(before)[-1])  # an LSTM's c


@every_layer
def test_chrono_spreads_the_time_constants_evenly(make, keeps, admits):
    """Tallec and Ollivier (2018): b = log u, u ~ U[1, T - 1], so 1 / (1 - s(b)) = 1 + u."""
    layer, longest = make(2, 4000), 100
    others = [gate for gate in layer.cell.gates if gate not in (keeps, admits)]
    before = {gate: total_bias(layer, gate).copy() for gate in others}
    initialize.chrono(layer, longest, generator=torch.Generator().manual_seed(0))
    b = total_bias(layer, keeps).astype(np.float64)
    u = 1 / (1 - 1 / (1 + np.exp(-b))) - 1
    assert u.min() >= 1 - 1e-4
    assert u.max() <= longest - 1 + 1e-2
    quartiles = np.quantile(u, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, [25.5, 50, 74.5], atol=3)
    if admits is not None:
        np.testing.assert_array_equal(total_bias(layer, admits), -total_bias(layer, keeps))
    for gate in others:
        np.testing.assert_array_equal(total_bias(layer, gate), before[gate])


# Cells of which one gate, a, admits the new, and what a step does with the old state.
COUPLED = ["lstm_cifg", "gru1", "mgu", "mut3", "light_ru", "rhn", "tau_gru", "min_gru", "group_gru"]
NOT_COUPLED = ["lstm_1997", "lstm_nfg", "sgu", "star", "rg_lru", "lem"]


@pytest.mark.parametrize("name", COUPLED)
def test_where_one_minus_a_gate_keeps_its_bias_is_that_of_the_keeping_gate_turned(name):
    layer = unrolled.Recurrent(name, 2, 400)
    gate = layer.cell.admits
    assert layer.cell.keeps is None
    assert initialize.keeping_gate(layer.cell) == (gate, -1.0)
    initialize.chrono(layer, 100, generator=torch.Generator().manual_seed(0))
    kept = 1 / (1 + np.exp(total_bias(layer, gate).astype(np.float64)))
    assert 1.99 <= (1 / (1 - kept)).min() <= (1 / (1 - kept)).max() <= 100.01
    initialize.forget_bias(layer, 1.5)
    assert (total_bias(layer, gate) == -1.5).all()
    # shut, the gate lets nothing in, and a state stays what it is
    initialize.forget_bias(layer, 100.0)
    before = map_state(lambda part: torch.full_like(part, 0.4), layer.initial_state(3))
    with using_path("reference"):  # no kernel to compile
        _, after = layer(torch.randn(5, 3, 2), before)
    place = layer.cell.states.index(layer.cell.carrier)
    torch.testing.assert_close(state_tensors(after)[place], state_tensors(before)[place])


@pytest.mark.parametrize("name", ["mgu", "lstm_cifg"])
def test_zoneout_leaves_to_a_gate_what_it_says_of_the_old_state(name):
    layer = unrolled.Recurrent(name, 2, 8)
    zoned = Zoneout(copy.deepcopy(layer), 0.3).layer
    for each in (layer, zoned):
        initialize.chrono(each, 100, generator=torch.Generator().manual_seed(0))
    for one, other in zip(layer.parameters(), zoned.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", NOT_COUPLED)
def test_a_gate_that_admits_and_says_nothing_of_the_old_state_is_left_alone(name):
    layer = unrolled.Recurrent(name, 2, 8)
    assert layer.cell.admits is not None
    with pytest.raises(unrolled.UnrolledError, match="no gate that keeps"):
        initialize.chrono(layer, 10)


def test_chrono_with_a_generator_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    initialize.chrono(unrolled.LSTM(1, 2).cpu(), 10, generator=torch.Generator().manual_seed(1))
    torch.set_rng_state(before)
    first = unrolled.LSTM(1, 2)
    torch.set_rng_state(before)
    second = unrolled.LSTM(1, 2)
    for layer in (first, second):
        initialize.chrono(layer, 10, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first.bias_ih_l0, second.bias_ih_l0)


def test_layers_without_such_a_gate_or_bias_are_refused():
    for function in (initialize.forget_bias, lambda layer: initialize.chrono(layer, 10)):
        for layer in (unrolled.RNN(2, 3), unrolled.Recurrent(undeclared, 2, 3)):
            message = rf"cell {layer.cell.name} declares no gate that keeps .*keeps=\"f\""
            with pytest.raises(unrolled.UnrolledError, match=message):
                function(layer)
        with pytest.raises(unrolled.UnrolledError, match="bias=False"):
            function(unrolled.LSTM(2, 3, bias=False))
    with pytest.raises(unrolled.UnrolledError, match="max_time must be at least 2"):
        initialize.chrono(unrolled.LSTM(2, 3), 1)


def test_one_hot_input_spreads_the_weights_of_the_first_layer_alone():
    layer = unrolled.LSTM(50, 100, num_layers=2, bidirectional=True)
    before = {name: weight.clone() for name, weight in layer.named_parameters()}
    initialize.one_hot_input(layer, 0.5)
    for name, weight in layer.named_parameters():
        if name in ("weight_ih_l0", "weight_ih_l0_reverse"):
            quartiles = np.quantile(weight.detach().numpy(), [0, 0.25, 0.5, 0.75, 1])
            np.testing.assert_allclose(quartiles, [-0.5, -0.25, 0, 0.25, 0.5], atol=0.02)
        else:
            assert torch.equal(weight, before[name])
    with pytest.raises(unrolled.UnrolledError, match="bound must be above 0, got 0"):
        initialize.one_hot_input(layer, 0)


def vectors_of(layer, name):
    """Return a cell's vector in each layer and direction, in float64."""
    return [layer.get_parameter(f"{name}_{suffix}").detach().double() for suffix in layer.suffixes]


def quartiles(values):
    return np.quantile(values.numpy(), [0, 0.25, 0.5, 0.75, 1])


def test_uniform_draws_one_vector_in_every_layer_and_direction_and_no_other():
    layer = unrolled.Recurrent("indy_lstm", 2, 800, num_layers=2, bidirectional=True)
    before = {name: weight.clone() for name, weight in layer.named_parameters()}
    initialize.uniform(layer, "u_f", -1, 3)
    drawn = vectors_of(layer, "u_f")
    assert len(drawn) == 4
    for vector in drawn:
        np.testing.assert_allclose(quartiles(vector), [-1, 0, 1, 2, 3], atol=0.3)
    assert not torch.equal(drawn[0], drawn[1])
    for name, weight in layer.named_parameters():
        assert name.startswith("u_f_") or torch.equal(weight, before[name])


def test_ring_spreads_eigenvalues_evenly_over_the_area_of_a_ring():
    """Orvieto et al. (2023): even in |l|^2 and in the angle, by the moduli that the cell has."""
    layer = unrolled.Recurrent("lru", 2, 800, num_layers=2)
    initialize.ring(layer, 0.5, 0.9, max_angle=1.0, generator=torch.Generator().manual_seed(0))
    for nu, theta in zip(vectors_of(layer, "nu"), vectors_of(layer, "theta"), strict=True):
        squares = torch.exp(-2 * nu.exp())
        np.testing.assert_allclose(quartiles(squares), np.linspace(0.25, 0.81, 5), atol=0.04)
        np.testing.assert_allclose(quartiles(theta.exp()), np.linspace(0, 1, 5), atol=0.06)
    output, _ = layer(torch.randn(50, 2, 2))
    assert output.isfinite().all()


def test_a_whole_disc_has_no_unit_that_is_not_a_number():
    layer = unrolled.Recurrent("lru", 2, 800)
    initialize.ring(layer)
    for name in ("nu", "theta"):
        assert vectors_of(layer, name)[0].isfinite().all()


def test_decay_spreads_what_units_keep_with_open_gates():
    """De et al. (2024): a^8 is uniform between 0.9 and 0.999."""
    layer = unrolled.Recurrent("rg_lru", 2, 800)
    initialize.decay(layer)
    (vector,) = vectors_of(layer, "Lambda")
    kept = torch.sigmoid(vector) ** 8
    np.testing.assert_allclose(quartiles(kept), np.linspace(0.9, 0.999, 5), atol=0.01)
    with torch.no_grad():  # the gate r wide open, nothing let in: what is left is a^8 of what was
        layer.weight_ih_l0.zero_()
        layer.bias_ih_l0.copy_(torch.tensor([50.0, -50.0, 0.0]).repeat_interleave(800))
    output, _ = layer(torch.zeros(1, 1, 2), torch.ones(1, 1, 800))
    torch.testing.assert_close(output[0, 0].double(), kept, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "cell", "message"),
    [
        (lambda layer: initialize.uniform(layer, "v", 0, 1), "ind_rnn", "no vector v; .*: w"),
        (lambda layer: initialize.uniform(layer, "w", 0, 1), "lstm", "no vector w; .*: none"),
        (lambda layer: initialize.uniform(layer, "w", 1, 0), "ind_rnn", "not be above high"),
        (initialize.ring, "rg_lru", "no vector nu"),
        (lambda layer: initialize.ring(layer, 0.9, 0.5), "lru", "got 0.9 and 0.5"),
        (lambda layer: initialize.ring(layer, 0.5, 1.5), "lru", "got 0.5 and 1.5"),
        (lambda layer: initialize.ring(layer, max_angle=0), "lru", "max_angle must be above 0"),
        (initialize.decay, "lru", "no vector Lambda; .*: nu, theta"),
        (lambda layer: initialize.decay(layer, 0.9, 1.0), "rg_lru", "got 0.9 and 1.0"),
    ],
)
def test_vectors_that_are_not_there_and_ranges_that_are_none_are_refused(function, cell, message):
    layer = unrolled.Recurrent(cell, 2, 3)
    before = {name: weight.clone() for name, weight in layer.named_parameters()}
    with pytest.raises(unrolled.UnrolledError, match=message):
        function(layer)
    assert all(torch.equal(weight, before[name]) for name, weight in layer.named_parameters())
