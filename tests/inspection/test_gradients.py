"""The reach of the gradient where it is known by arithmetic, and against plain autograd."""

import math

import pytest
import torch
from torch.nn import functional as F

import unrolled
from unrolled.cells import cell
from unrolled.inspection.gradients import Reach, gradient_reach, step_jacobian_norms
from unrolled.inspection.verdict import verdict
from unrolled.networks import LayerOptions
from unrolled.networks.memoryless import Conv, Dense
from unrolled.tasks.lm import LanguageModel


@cell(gates="a")
def linear_rnn(x, u):
    """h_t = W_x x_t + W_h h_{t-1}."""
    return dict(h=x.a + u.a)


@cell(gates="n", inputs="dt=0.5")
def gap_rnn(x, u, h, dt):
    """A step of a length that comes beside x."""
    return dict(h=h + dt * torch.tanh(x.n + u.n))


def linear_layer(spectral_radius: float, size: int = 12) -> unrolled.Recurrent:
    """A linear RNN whose recurrent weights are an orthogonal matrix times `spectral_radius`."""
    layer = unrolled.Recurrent(linear_rnn, 3, size, dtype=torch.float64)
    torch.nn.init.orthogonal_(layer.weight_hh_l0, gain=spectral_radius)
    return layer


def lstm_of_forget_bias(bias: float) -> unrolled.LSTM:
    """An LSTM without weights, so that its forget gates are sigmoid(bias) whatever it reads."""
    layer = unrolled.LSTM(3, 8, dtype=torch.float64)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
    unrolled.initialize.forget_bias(layer, bias)
    return layer


@pytest.mark.parametrize("radius", [0.5, 0.9, 1.0, 1.2])
def test_a_linear_rnns_gradient_falls_by_ln_of_its_spectral_radius_a_step(radius):
    layer, x = linear_layer(radius), torch.randn(80, 4, 3, dtype=torch.float64)
    norms = gradient_reach(layer, x).by_state["h"][0]
    torch.testing.assert_close(norms.log().diff(), torch.full((79,), math.log(radius)).double())
    assert verdict(gradient_reach(layer, x, max_lag=39)).rate == pytest.approx(math.log(radius))
    jacobians = step_jacobian_norms(layer, x)
    torch.testing.assert_close(jacobians, torch.full_like(jacobians, radius))


@pytest.mark.parametrize("bias", [-1.0, 0.0, 1.0, 3.0])
def test_an_lstms_half_life_is_that_of_its_forget_bias(bias):
    layer, x = lstm_of_forget_bias(bias), torch.randn(60, 4, 3, dtype=torch.float64)
    found = verdict(gradient_reach(layer, x))
    keep = 1 / (1 + math.exp(-bias))
    assert (found.state, found.layer) == ("c", 0)
    assert found.half_life_steps == pytest.approx(math.log(0.5) / math.log(keep), rel=1e-9)


def test_an_untrained_tanh_rnn_vanishes():
    layer, x = unrolled.RNN(10, 64), torch.randn(100, 8, 10)
    found = verdict(gradient_reach(layer, x))
    assert found.kind == "vanishing"
    assert found.half_life_steps < 2
    assert found.horizon_steps < 10
    assert f"up to {found.horizon_steps} steps back, of 49 wanted" in found.sentence
    assert "gated" in found.advice
    gated = verdict(gradient_reach(unrolled.LSTM(10, 64), x))
    assert gated.kind == "vanishing"
    assert "gate f more open: chrono initialisation with max_time=98" in gated.advice


def test_an_exploding_rnn_is_told_from_where():
    found = verdict(gradient_reach(linear_layer(1.2), torch.randn(60, 2, 3, dtype=torch.float64)))
    # 1.2^k passes 10 between 12 and 13 steps
    assert found.kind == "exploding"
    assert found.half_life_steps is None
    assert "10 times as long 13 steps back" in found.sentence
    assert "clip" in found.advice


def test_gradients_beyond_the_range_of_numbers_explode():
    layer = linear_layer(30.0).float()
    reach = gradient_reach(layer, torch.randn(60, 2, 3))
    assert not reach.by_state["h"].isfinite().all()
    found = verdict(reach)
    assert found.kind == "exploding"
    assert "10 times as long 1 step back" in found.sentence


def test_a_network_that_has_diverged_is_not_said_to_lack_a_gradient():
    layer = linear_layer(1.0)
    with torch.no_grad():
        layer.weight_hh_l0.fill_(torch.nan)
    found = verdict(gradient_reach(layer, torch.randn(10, 2, 3, dtype=torch.float64)))
    assert found.kind == "exploding"
    assert "the gradient is no number" in found.sentence


def test_units_that_never_fire_have_no_gradient():
    layer = unrolled.RNN(3, 8, nonlinearity="relu")
    with torch.no_grad():
        layer.bias_ih_l0.fill_(-1e3)
    found = verdict(gradient_reach(layer, torch.randn(20, 2, 3)))
    assert found.sentence.startswith("gradients vanish at once")
    # at lag 0 the output is the state itself, before it nothing passes
    assert (found.kind, found.horizon_steps, found.half_life_steps) == ("vanishing", 0, None)


def test_gradients_that_neither_grow_nor_shrink_are_healthy():
    found = verdict(gradient_reach(linear_layer(1.0), torch.randn(60, 2, 3, dtype=torch.float64)))
    assert (found.kind, found.advice, found.horizon_steps) == ("healthy", "", 59)


@pytest.mark.parametrize(("num_layers", "kernel_size"), [(1, 2), (3, 3), (4, 2)])
def test_a_tcns_gradient_ends_at_its_receptive_field(num_layers, kernel_size):
    layer = unrolled.TCN(3, 16, num_layers, kernel_size=kernel_size, dtype=torch.float64)
    field = 1 + 2 * (kernel_size - 1) * (2**num_layers - 1)
    reach = gradient_reach(layer, torch.randn(field + 20, 6, 3, dtype=torch.float64))
    norms = reach.by_state["x"]
    assert norms.shape == (num_layers, field + 20)
    assert (norms[0, :field] > 0).all()
    assert (norms[0, field:] == 0).all()
    # what is left of the field above each level, of whose steps it sees every 2^level-th
    above = [field - 2 * (kernel_size - 1) * (2**level - 1) for level in range(num_layers)]
    assert [1 + int(level.nonzero().max()) for level in norms] == above
    found = verdict(reach, wanted=field + 10)
    assert found.kind == "edge"
    assert f"nothing is seen but {field} steps" in found.sentence
    assert (found.state, found.layer) == ("x", 0)


def test_networks_without_memory_reach_as_far_as_they_see():
    x = torch.randn(20, 4, 3)
    assert (gradient_reach(Dense(3, 8), x).by_state["x"][0] > 0).sum() == 1
    assert (gradient_reach(Conv(3, 8, kernel_size=5), x).by_state["x"][0] > 0).sum() == 5


@pytest.mark.parametrize("make", [unrolled.RNN, unrolled.LSTM, unrolled.GRU, unrolled.JANET])
def test_the_reach_is_the_gradient_in_the_initial_state(make):
    """An independent way: the same network started later, its initial state the leaf."""
    layer, x = make(3, 5, num_layers=2, dtype=torch.float64), torch.randn(9, 4, 3).double()
    direction = torch.randn(4, 5).double()
    reach = gradient_reach(layer, x, targets=direction)
    for lag in (1, 4, 8):
        _, state = layer(x[: 9 - lag])
        states = (
            [s.detach().requires_grad_() for s in ([state] if state.dim() else state)]
            if (isinstance(state, torch.Tensor))
            else [s.detach().requires_grad_() for s in state]
        )
        after = states[0] if len(states) == 1 else type(state)(*states)
        output, _ = layer(x[9 - lag :], after)
        (gradient,) = torch.autograd.grad((output[-1] * direction).sum(), states[:1])
        # the upper layer's h: nothing but the recurrence leads from it to the loss
        expected = gradient[1].norm(dim=1).mean()
        torch.testing.assert_close(reach.by_state["h"][1, lag], expected)


def test_the_last_lags_of_a_long_text_are_those_of_the_whole():
    layer, x = unrolled.LSTM(7, 6, dtype=torch.float64), torch.randn(30, 3, 7).double()
    whole, last = gradient_reach(layer, x), gradient_reach(layer, x, max_lag=10)
    assert last.lags.tolist() == list(range(11))
    for name, norms in last.by_state.items():
        torch.testing.assert_close(norms, whole.by_state[name][:, :11])


def test_the_direction_that_reads_forwards_is_followed_alone():
    both = unrolled.LSTM(3, 5, bidirectional=True, dtype=torch.float64)
    forwards = unrolled.LSTM(3, 5, dtype=torch.float64)
    forwards.load_state_dict(
        {name: value for name, value in both.state_dict().items() if "reverse" not in name}
    )
    x, direction = torch.randn(9, 4, 3).double(), torch.randn(4, 5).double()
    nothing = torch.zeros_like(direction)
    reach = gradient_reach(both, x, targets=torch.cat([direction, nothing], 1), max_lag=6)
    alone = gradient_reach(forwards, x, targets=direction, max_lag=6)
    for state in ("h", "c"):
        torch.testing.assert_close(reach.by_state[state], alone.by_state[state])


def small_model(kind: str, **options: object) -> LanguageModel:
    return LanguageModel(LayerOptions(cell=kind, hidden_size=6, **options), vocabulary_size=7)


def reach_of_forecast(model: LanguageModel, tokens: torch.Tensor) -> Reach:
    """How far the loss of the last token reaches back in those before it."""

    def loss(output: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model.scores(output), tokens[:, -1], reduction="sum")

    with torch.no_grad():
        features = model.features(tokens[:, :-1])
    return gradient_reach(model.layer, features, loss=loss)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru", "janet", "tcn", "conv", "dense"])
def test_every_kind_of_layer_can_be_asked_by_a_loss(kind):
    reach = reach_of_forecast(small_model(kind), torch.randint(0, 7, (3, 12)))
    assert reach.lags.tolist() == list(range(11))
    assert all(
        norms.isfinite().all() and (norms[:, 0] > 0).all() for norms in reach.by_state.values()
    )
    assert all((curves[:, 0] == 1).all() for curves in reach.relative().values())


def test_a_language_models_loss_is_that_of_the_token_that_follows():
    model, tokens = small_model("gru").double(), torch.randint(0, 7, (3, 12))
    scores, _ = model(tokens[:, :-1])
    loss = F.cross_entropy(scores[:, -1], tokens[:, -1], reduction="sum")
    # at lag 0: W' (p - y), by hand
    p = scores[:, -1].softmax(-1) - F.one_hot(tokens[:, -1], 7)
    expected = (p @ model.scores.weight).norm(dim=1).mean()
    assert loss > 0
    torch.testing.assert_close(reach_of_forecast(model, tokens).by_state["h"][0, 0], expected)


def test_looking_changes_nothing_in_the_model():
    layer, x = unrolled.LSTM(3, 6, num_layers=2, dropout=0.5).train(), torch.randn(12, 3, 3)
    first, second = (gradient_reach(layer, x).by_state["c"] for _ in range(2))
    assert torch.equal(first, second)  # without dropout
    assert all(module.training for module in layer.modules())
    assert all(parameter.grad is None for parameter in layer.parameters())
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(gradient_reach(layer, x).by_state["c"], first)


def gap_layer(*sizes, **options):
    """A layer whose cell reads a time gap at each step, 0.5 where none is given."""
    return unrolled.Recurrent(gap_rnn, *sizes, **options)


@pytest.mark.parametrize(
    "make", [unrolled.RNN, unrolled.LSTM, unrolled.GRU, unrolled.JANET, gap_layer]
)
def test_step_jacobians_are_those_of_autograd(make):
    layer, x = make(3, 4, num_layers=2, dtype=torch.float64), torch.randn(6, 2, 3).double()
    norms = step_jacobian_norms(layer, x)
    _, before = layer(x[:4, :1])
    is_single = isinstance(before, torch.Tensor)
    states = (before,) if is_single else tuple(before)
    size = layer.hidden_size

    def step(flat: torch.Tensor) -> torch.Tensor:
        """The lower layer's step 4 for the first row, states side by side."""
        split = [part.view(1, 1, size) for part in flat.split(size)]
        full = [torch.cat([part, state[1:]]) for part, state in zip(split, states, strict=True)]
        _, after = layer(x[4:5, :1], full[0] if is_single else type(before)(*full))
        return torch.cat([s[0, 0] for s in ([after] if is_single else after)])

    jacobian = torch.autograd.functional.jacobian(step, torch.cat([s[0, 0] for s in states]))
    expected = torch.linalg.matrix_norm(jacobian, 2)
    torch.testing.assert_close(norms[0, 4, 0], expected, rtol=1e-6, atol=0)


def test_what_cannot_be_asked_is_said():
    layer, x = unrolled.GRU(3, 4), torch.randn(11, 2, 3)
    targets = torch.ones(2, 4)
    with pytest.raises(unrolled.UnrolledError, match=r"max_lag must lie in 0\.\.10"):
        gradient_reach(layer, x, max_lag=11)
    with pytest.raises(unrolled.UnrolledError, match="targets must be"):
        gradient_reach(layer, x, targets=targets.T)
    with pytest.raises(unrolled.UnrolledError, match="targets or a loss, not both"):
        gradient_reach(layer, x, targets=targets, loss=torch.sum)
    with pytest.raises(unrolled.UnrolledError, match="must be 3-D"):
        gradient_reach(layer, x[0])
    with pytest.raises(unrolled.UnrolledError, match="bidirectional"):
        step_jacobian_norms(unrolled.GRU(3, 4, bidirectional=True), torch.randn(5, 2, 3))
    with pytest.raises(unrolled.UnrolledError, match="one layer, got Linear"):
        gradient_reach(torch.nn.Linear(3, 4), torch.randn(5, 2, 3))
    with pytest.raises(unrolled.UnrolledError, match="at least 3 lags"):
        verdict(gradient_reach(unrolled.GRU(3, 4), torch.randn(2, 2, 3)))
