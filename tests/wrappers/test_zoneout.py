"""Zoneout against a loop over torch's own cells with the same noise; streams of wrapped inputs."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import unrolled
from unrolled.cells import zoned
from unrolled.errors import OptionError
from unrolled.kernels import using_path
from unrolled.kernels.running.paths import kernel_of
from unrolled.layers import state_tensors
from unrolled.wrappers import Highway, LearnedState, Residual, Stacked, Zoneout

T, B, H = 6, 3, 8
RATES = {"h": 0.3, "c": 0.6}


@unrolled.cell(gates="f g", states="h m", inputs="dt", delays="h:3")
def timed(x, u, h_3, m, dt, *, w=0.5):
    f = torch.sigmoid(x.f + u.f + w * dt)
    m = f * m + (1 - f) * torch.tanh(x.g + u.g)
    return dict(h=torch.tanh(m + 0.1 * h_3), m=m, f=f)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(3)


def inputs():
    return torch.randn(T, B, H, requires_grad=True)


def lstm_by_hand(layer, x, zones):
    """A loop over torch's cell; h and c of Krueger et al., equations 5 and 6."""
    weights = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
    h, c = x.new_zeros(B, H), x.new_zeros(B, H)
    outputs = []
    for t in range(T):
        new_h, new_c = torch.lstm_cell(x[t], (h, c), *weights)
        zone_h, zone_c = zones[0][t], zones[1][t]
        h, c = zone_h * h + (1 - zone_h) * new_h, zone_c * c + (1 - zone_c) * new_c
        outputs.append(h)
    return torch.stack(outputs), (h, c)


def assert_is_loop(wrapped, x, zones):
    wrapped = wrapped.double()
    exact_x = x.detach().double().requires_grad_()
    zones = [zone.double() for zone in zones]
    expected, (h, c) = lstm_by_hand(wrapped.layer, exact_x, zones)
    total = expected.square().sum() + h.sum() + c.sum()
    right = torch.autograd.grad(total, [exact_x, *wrapped.parameters()])
    return [expected, h[None], c[None], *right]


def results(wrapped, x, **given):
    output, (h, c) = wrapped(x, **given)
    total = output.square().sum() + h.sum() + c.sum()
    return [output, h, c, *torch.autograd.grad(total, [x, *wrapped.parameters()])]


def near(got, expected):
    for ours, right in zip(got, expected, strict=True):
        torch.testing.assert_close(ours.double(), right, rtol=1e-4, atol=1e-5)


def test_in_training_it_is_a_loop_with_the_noise_that_is_drawn():
    wrapped, x = Zoneout(unrolled.LSTM(H, H), RATES), inputs()
    assert kernel_of(wrapped.layer.cell) is not None
    torch.manual_seed(9)
    got = results(wrapped, x)
    torch.manual_seed(9)
    zones = [torch.empty(T, B, H).bernoulli_(rate) for rate in RATES.values()]
    given = results(wrapped, x, zone_h=zones[0], zone_c=zones[1])
    assert all(map(torch.equal, got, given))
    near(got, assert_is_loop(wrapped, x, zones))


def test_in_evaluation_mode_it_is_a_loop_with_the_probabilities():
    wrapped, x = Zoneout(unrolled.LSTM(H, H), RATES).eval(), inputs()
    zones = [torch.full((T, B, 1), rate) for rate in RATES.values()]
    got = results(wrapped, x)
    near(got, assert_is_loop(wrapped, x, zones))


def test_the_noise_is_of_each_step_row_and_unit_and_as_frequent_as_asked():
    layer = unrolled.Recurrent("rnn", 4, 50)
    with torch.no_grad():
        layer.bias_ih_l0.fill_(1.0)
    output, _ = Zoneout(layer, 0.25)(torch.randn(100, 20, 4))
    kept = output[1:] == output[:-1]
    assert 0.24 < kept.float().mean() < 0.26
    assert kept.float().mean((0, 1)).std() < 0.03
    for dim in range(3):  # none is the same all along one
        means = kept.float().mean(dim)
        assert ((means > 0) & (means < 1)).float().mean() > 0.9


def test_a_probability_of_one_keeps_the_state_and_of_zero_is_the_layer():
    layer, x = unrolled.GRU(H, H), inputs()
    expected, _ = copy.deepcopy(layer)(x)
    assert torch.equal(Zoneout(copy.deepcopy(layer), 0.0)(x)[0], expected)
    h = torch.randn(1, B, H)
    output, _ = Zoneout(layer, 1)(x, h)
    assert torch.equal(output, h.expand(T, B, H))


@pytest.mark.parametrize("name", ["scrn", "tau_gru", "slstm_heads", "indy_lstm", "sru"])
def test_other_cells_of_the_catalogue_keep_their_states(name):
    """Those of chains, delays, heads, vectors, and without a recurrent product."""
    wrapped, x = Zoneout(unrolled.Recurrent(name, H, H), 0.4), inputs()
    zones = {n: torch.empty(T, B, H).bernoulli_(0.4) for n in wrapped.layer.input_defaults}
    passes = []
    for path in ("kernel", "reference"):
        with using_path(path):
            output, state = wrapped(x, **zones)
            gradients = torch.autograd.grad(output.sum(), [x, *wrapped.parameters()])
        passes.append([output, *state_tensors(state), *gradients])
    for ours, right in zip(*passes, strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-4, atol=1e-5)
    output, state = wrapped(x, wrapped.initial_state(B), **{n: torch.ones(T, B) for n in zones})
    assert not output.any()
    assert sum(bool(part.any()) for part in state_tensors(state)) == 0


def test_a_cell_with_inputs_and_delays_of_its_own():
    wrapped, x, dt = (
        Zoneout(unrolled.Recurrent(timed, H, H), {"m": 0.5}),
        inputs(),
        torch.rand(T, B),
    )
    with torch.no_grad():
        output, state = wrapped(x, dt=dt, zone_m=torch.ones(T, B))
        expected = torch.zeros(B, H)
    torch.testing.assert_close(state.m[0], expected)
    assert torch.equal(state.h_3[0], output[-3])
    wrapped.eval()
    stream = wrapped.stream(B)
    with torch.no_grad():
        whole, _ = wrapped(x, dt=dt)
        steps = [stream.step(x_t, dt=dt_t) for x_t, dt_t in zip(x, dt, strict=True)]
    assert torch.equal(torch.stack(steps), whole)


@pytest.mark.parametrize("batch_first", [False, True])
def test_rows_ends_and_marks_are_those_of_the_layer(batch_first):
    wrapped = Zoneout(unrolled.LSTM(H, H, batch_first=batch_first), RATES).eval()
    x = inputs().detach()
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[3, 0] = True
    given = (x.transpose(0, 1), resets.T) if batch_first else (x, resets)
    output, _ = wrapped(given[0], lengths=[6, 2, 0], resets=given[1])
    output = output.transpose(0, 1) if batch_first else output
    part = x[3:, :1].transpose(0, 1) if batch_first else x[3:, :1]
    alone = wrapped(part)[0]
    assert torch.equal(output[3:, :1], alone.transpose(0, 1) if batch_first else alone)
    assert not output[2:, 1].any()
    wrapped.train()(given[0])


def test_a_stream_has_the_bits_of_the_layer_and_is_refused_in_training_mode():
    wrapped, x = Zoneout(unrolled.LSTM(H, H), RATES), inputs().detach()
    for method in (wrapped.stream, wrapped.streams):
        with pytest.raises(OptionError, match="in training mode"):
            method(2)
    wrapped.eval()
    whole, _ = wrapped(x)
    stream, pool = wrapped.stream(B), wrapped.streams(4)
    pieces = torch.cat([stream.push(x[:4]), stream.step(x[4])[None], stream.push(x[5:])])
    assert torch.equal(pieces, whole)
    rows = [pool.join() for _ in range(B)]
    assert torch.equal(pool.push(x, rows), whole)
    array = wrapped.stream(B).push(x.numpy())
    assert torch.equal(torch.from_numpy(array), whole)
    packed, _ = wrapped(pack_sequence([*x.unbind(1)]))
    assert torch.equal(packed.data.view(T, B, H), whole)


def test_it_is_copied_pickled_and_loaded():
    layer = unrolled.LSTM(H, H)
    names = list(layer.state_dict())
    wrapped, x = Zoneout(layer, RATES).eval(), inputs()
    assert list(wrapped.layer.state_dict()) == names
    expected, _ = wrapped(x)
    for other in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):
        assert other.layer.cell is wrapped.layer.cell
        assert torch.equal(other(x)[0], expected)
    assert zoned(unrolled.LSTM(2, 2).cell, ("h", "c")) is wrapped.layer.cell


def test_other_wrappers_and_a_trace_are_around_it():
    model = Residual(LearnedState(Zoneout(unrolled.GRU(H, H), 0.2).layer)).eval()
    x = inputs().detach()
    whole, _ = model(x)
    assert torch.equal(model.stream(B).push(x), whole)
    (record,) = unrolled.trace(Zoneout(unrolled.GRU(H, H), 0.2).eval(), x)
    assert {"h", "r", "z", "n"} <= set(record.values)


# ---- Wrappers of layers whose cells read more than x ---------------------------------------------

WRAPPERS = {
    "residual": lambda: Residual(unrolled.Recurrent(timed, H, H)),
    "highway": lambda: Highway(unrolled.Recurrent(timed, H, H)),
    "stack": lambda: Stacked(
        [unrolled.GRU(H, 5), nn.Tanh(), unrolled.Recurrent(timed, 5, H), unrolled.TCN(H, H, 2)]
    ),
    "twice": lambda: Stacked([Residual(unrolled.Recurrent(timed, H, H)) for _ in range(2)]),
    "zoneout": lambda: Stacked([Zoneout(unrolled.Recurrent(timed, H, H), 0.2), unrolled.GRU(H, 3)]),
}


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("wide", [False, True])
def test_wrappers_and_their_streams_take_inputs_of_a_step(name, wide):
    model, x = WRAPPERS[name]().eval(), inputs().detach()
    dt = torch.rand(T, B, H) if wide else torch.rand(T, B)
    whole, _ = model(x, dt=dt)
    assert not torch.equal(model(x, dt=dt + 1)[0], whole)
    stream, pool = model.stream(B), model.streams(4)
    pushed = torch.cat([stream.push(x[:4], dt=dt[:4]), stream.push(x[4:5], dt=dt[4:5])])
    last = stream.step(x[5], dt=dt[5])
    torch.testing.assert_close(torch.cat([pushed, last[None]]), whole, rtol=0, atol=0)
    rows = [pool.join() for _ in range(B)]
    assert torch.equal(pool.push(x, rows, dt=dt), whole)
    for read in (stream.step, lambda x: model(x[None])):
        with pytest.raises(OptionError, match="the input 'dt' is missing"):
            read(x[0])
    with pytest.raises(OptionError, match="takes no input 'mask'"):
        stream.step(x[0], dt=dt[0], mask=dt[0])
    with pytest.raises(OptionError, match="takes no input 'mask'"):
        model(x, dt=dt, mask=dt)


def test_a_stream_of_layers_of_several_widths_with_inputs_is_refused():
    stack = Stacked([unrolled.Recurrent(timed, H, H), unrolled.Recurrent(timed, H, 5)]).eval()
    assert stack(inputs(), dt=torch.rand(T, B))[0].shape == (T, B, 5)
    with pytest.raises(OptionError, match="at a step have 5 and 8 units"):
        stack.stream(B)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Zoneout(unrolled.TCN(3, 8, 2), 0.1), "needs a recurrent layer, got TCN"),
        (lambda: Zoneout(unrolled.GRU(3, 8, 2), 0.1), "one layer and one direction"),
        (lambda: Zoneout(unrolled.GRU(3, 8, bidirectional=True), 0.1), "one direction"),
        (lambda: Zoneout(unrolled.LSTM(3, 8, proj_size=2), 0.1), "without a projection"),
        (lambda: Zoneout(unrolled.GRU(3, 8), 1.5), "zoneout must be a probability"),
        (lambda: Zoneout(unrolled.GRU(3, 8), {"c": 0.1}), "gru.* has no state c; its states: h"),
        (lambda: Zoneout(Zoneout(unrolled.GRU(3, 8), 0.1).layer, 0.1), "has zoneout already"),
        (
            lambda: Zoneout(unrolled.GRU(3, 8), 0.1)(pack_sequence([torch.ones(4, 3)])),
            "takes no PackedSequence in training mode",
        ),
    ],
    ids=lambda value: "" if callable(value) else value.replace(" ", "_"),
)
def test_what_cannot_be_is_said(make, words):
    with pytest.raises(OptionError, match=words):
        make()
