"""Initial values against the formulas of their papers."""

import numpy as np
import pytest
import torch

import unrolled
from unrolled import initialize


def total_bias(layer, gate, suffix="l0"):
    """Return the sum of both biases of a gate, in numpy."""
    rows = slice(*(layer.hidden_size * (layer.cell.gates.index(gate) + n) for n in (0, 1)))
    sides = (layer.get_parameter(f"bias_{side}_{suffix}") for side in ("ih", "hh"))
    return sum(bias.detach().numpy()[rows] for bias in sides)


def test_forget_bias_is_the_sum_of_both_biases_in_every_layer_and_direction():
    layer = unrolled.LSTM(2, 8, num_layers=2, bidirectional=True)
    before = total_bias(layer, "i", "l1_reverse").copy()
    initialize.forget_bias(layer, 1.5)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        assert (total_bias(layer, "f", suffix) == 1.5).all()
    assert (total_bias(layer, "i", "l1_reverse") == before).all()


@pytest.mark.parametrize(
    ("layer", "keep"),
    [
        (unrolled.LSTM(2, 4000), "f"),
        (unrolled.JANET(2, 4000), "f"),
        (unrolled.GRU(2, 4000), "z"),
        (unrolled.GRU(2, 4000, reset="before"), "z"),
    ],
    ids=["lstm", "janet", "gru", "gru reset before"],
)
def test_chrono_spreads_the_time_constants_evenly(layer, keep):
    """Tallec and Ollivier (2018): b = log u, u ~ U[1, T - 1], so 1 / (1 - s(b)) = 1 + u."""
    longest = 100
    initialize.chrono(layer, longest, generator=torch.Generator().manual_seed(0))
    b = total_bias(layer, keep).astype(np.float64)
    u = 1 / (1 - 1 / (1 + np.exp(-b))) - 1
    assert u.min() >= 1 - 1e-4
    assert u.max() <= longest - 1 + 1e-2
    quartiles = np.quantile(u, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, [25.5, 50, 74.5], atol=3)
    if "i" in layer.cell.gates:
        np.testing.assert_array_equal(total_bias(layer, "i"), -total_bias(layer, "f"))


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
        with pytest.raises(unrolled.UnrolledError, match="no gate 'f'"):
            function(unrolled.RNN(2, 3))
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
