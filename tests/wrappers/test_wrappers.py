"""Wrappers against the same thing written out with torch and the layer itself."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import unrolled
from unrolled.errors import OptionError, ShapeError
from unrolled.inspection import states_before
from unrolled.layers import state_tensors
from unrolled.wrappers import (
    Highway,
    LearnedState,
    LockedDropout,
    Residual,
    Stacked,
    drop_recurrent_weights,
)

LENGTHS = [6, 2, 0]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(3)


def inputs(features=8, steps=6, rows=3):
    return torch.randn(steps, rows, features, requires_grad=True)


def random_gate(layer):
    """A highway whose gate is open by different amounts."""
    with torch.no_grad():
        layer.gate.weight.normal_()
        layer.gate.bias.normal_()
    return layer


LAYERS = {
    "lstm": lambda **o: unrolled.LSTM(8, 8, **o),
    "gru": lambda **o: unrolled.GRU(8, 4, 2, bidirectional=True, **o),
    "tcn": lambda **o: unrolled.TCN(8, 8, 2, kernel_size=2, **o),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_ways_around_are_their_formulas(name, batch_first):
    layer = LAYERS[name](batch_first=batch_first)
    x = inputs()
    x = x.transpose(0, 1) if batch_first else x
    residual, highway = Residual(layer), random_gate(Highway(layer))
    y, state = layer(x)
    torch.testing.assert_close(residual(x)[0], x + y, rtol=0, atol=0)
    t = torch.sigmoid(x @ highway.gate.weight.T + highway.gate.bias)
    torch.testing.assert_close(highway(x)[0], t * y + (1 - t) * x)
    for ours, theirs in zip(residual(x)[1], state, strict=True):
        assert torch.equal(ours, theirs)
    (grad,) = torch.autograd.grad(residual(x)[0].sum(), x)
    (expected,) = torch.autograd.grad((x + y).sum(), x)
    torch.testing.assert_close(grad, expected)


def test_a_highway_begins_by_letting_nearly_all_around():
    x = inputs()
    highway = Highway(unrolled.RNN(8, 8))
    t = torch.sigmoid(torch.tensor(-2.0))
    torch.testing.assert_close(highway(x)[0], t * highway.layer(x)[0] + (1 - t) * x)


@pytest.mark.parametrize("batch_first", [False, True])
def test_what_lies_past_a_rows_end_stays_zero(batch_first):
    layer = unrolled.LSTM(8, 8, batch_first=batch_first)
    x = inputs()
    x = x.transpose(0, 1) if batch_first else x
    output, _ = Residual(layer)(x, lengths=LENGTHS)
    output = output.transpose(0, 1) if batch_first else output
    assert not output[2:, 1].any()
    assert not output[:, 2].any()
    assert output[:2, 1].all()


def test_packed_and_unbatched_sequences_pass():
    stack = Stacked([Residual(unrolled.LSTM(8, 8)), nn.LayerNorm(8), Residual(unrolled.GRU(8, 8))])
    x = inputs().detach()
    packed, _ = stack(pack_sequence([x[:, 0], x[:2, 1]]))
    padded, lengths = pad_packed_sequence(packed)
    torch.testing.assert_close(padded[:, 0], stack(x[:, 0])[0])
    torch.testing.assert_close(padded[:2, 1], stack(x[:2, 1])[0])
    assert lengths.tolist() == [6, 2]


def test_a_stack_is_its_layers_in_turn():
    parts = [unrolled.LSTM(8, 5), nn.Linear(5, 5), unrolled.GRU(5, 4), unrolled.TCN(4, 3, 2)]
    stack = Stacked(parts)
    x = inputs()
    a, (h, c) = parts[0](x, lengths=LENGTHS)
    b, g = parts[2](parts[1](a), lengths=LENGTHS)
    y, past = parts[3](b, lengths=LENGTHS)
    output, state = stack(x, lengths=LENGTHS)
    assert torch.equal(output, y)
    assert all(map(torch.equal, state, (h, c, g, *past)))
    again, _ = stack(x, state)
    expected, _ = parts[3](parts[2](parts[1](parts[0](x, (h, c))[0]), g)[0], past)
    assert torch.equal(again, expected)
    assert [s.shape for s in stack.initial_state(3)] == [s.shape for s in state]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Residual(unrolled.LSTM(8, 8)),
        lambda: random_gate(Highway(unrolled.GRU(8, 8))),
        lambda: Stacked([unrolled.LSTM(8, 8), LockedDropout(0.5), Residual(unrolled.JANET(8, 8))]),
        lambda: Stacked([unrolled.TCN(8, 8, 2), Residual(unrolled.LSTM(8, 8))]),
        lambda: learned(unrolled.LSTM(8, 8)),
        lambda: Residual(learned(unrolled.GRU(8, 8, 2))),
        lambda: drop_recurrent_weights(unrolled.LSTM(8, 8), 0.5),
    ],
    ids=["residual", "highway", "stack", "tcn", "learned", "learned_residual", "drop_weights"],
)
def test_a_stream_reads_what_the_whole_reads(make):
    model = make().eval()
    x = inputs().detach()
    whole, _ = model(x)
    stream = model.stream(3)
    pieces = torch.cat([stream.push(x[:4]), stream.step(x[4])[None], stream.push(x[5:])])
    assert torch.equal(pieces, whole)
    stream.reset([1])
    again = stream.step(x[0])
    assert torch.equal(again[1], whole[0, 1])
    assert not torch.equal(again[0], whole[0, 0])
    stream.reset()
    assert torch.equal(stream.push(x), whole)


def learned(layer):
    wrapped = LearnedState(layer)
    with torch.no_grad():
        for name, start in wrapped.named_parameters():
            if name.startswith("start"):
                start.normal_()
    return wrapped


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_learned_state_is_where_sequences_begin(batch_first):
    wrapped = learned(unrolled.LSTM(8, 5, 2, bidirectional=True, batch_first=batch_first))
    x = inputs().detach()
    x = x.transpose(0, 1) if batch_first else x
    given = tuple(start.expand(-1, 3, -1) for start in (wrapped.start_h, wrapped.start_c))
    output, state = wrapped(x, lengths=LENGTHS)
    expected, ends = wrapped.layer(x, given, lengths=LENGTHS)
    assert torch.equal(output, expected)
    assert all(map(torch.equal, state, ends))
    zeros = wrapped.layer.initial_state(3)
    assert torch.equal(wrapped(x, zeros)[0], wrapped.layer(x)[0])
    one = x[0] if batch_first else x[:, 0]
    assert torch.equal(wrapped(one)[0], wrapped(x)[0][0] if batch_first else wrapped(x)[0][:, 0])


def test_a_learned_state_has_a_gradient():
    wrapped = learned(unrolled.LSTM(8, 5))
    double = copy.deepcopy(wrapped).double()
    x = inputs().detach()
    wrapped(x)[0].square().sum().backward()
    double(x.double())[0].square().sum().backward()
    for name in ("start_h", "start_c"):
        ours, theirs = getattr(wrapped, name).grad, getattr(double, name).grad
        assert theirs.abs().max() > 0.01
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-6)


MARKS = torch.tensor([[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]) != 0

WITH_A_START = {
    "learned": lambda **o: learned(unrolled.LSTM(8, 8, 2, **o)),
    "around": lambda **o: Residual(learned(unrolled.GRU(8, 8, **o))),
    "in a stack": lambda **o: Stacked(
        [unrolled.TCN(8, 8, 2, **o), learned(unrolled.GRU(8, 8, **o)), nn.Tanh()]
    ),
    "both ways": lambda **o: learned(unrolled.LSTM(8, 4, bidirectional=True, **o)),
}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", WITH_A_START)
def test_rows_start_anew_with_what_is_learned(name, batch_first):
    model = WITH_A_START[name](batch_first=batch_first).eval()
    x = inputs()
    weights = torch.randn(6, 3, 8)

    def read(x, **given):
        output, state = model(x.transpose(0, 1) if batch_first else x, **given)
        return output.transpose(0, 1) if batch_first else output, state

    marks = MARKS.T if batch_first else MARKS
    output, state = read(x, lengths=[6, 6, 5], resets=marks)
    leaves = [x, *model.parameters()]
    got = torch.autograd.grad((output * weights).sum(), leaves)
    total = torch.zeros(())
    for row, cuts in enumerate([[0, 2, 4, 6], [0, 5, 6], [0, 3, 5]]):
        for begin, end in pairwise(cuts):
            alone, ends = read(x[begin:end, row : row + 1])
            assert torch.equal(output[begin:end, row : row + 1], alone)
            total = total + (alone * weights[begin:end, row : row + 1]).sum()
        for ours, right in zip(state_tensors(state), state_tensors(ends), strict=True):
            assert torch.equal(ours[:, row], right[:, 0])
    torch.testing.assert_close(got, torch.autograd.grad(total, leaves), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["learned", "around", "in a stack"])
def test_streams_start_again_with_what_is_learned(name):
    model, x = WITH_A_START[name]().eval(), inputs().detach()
    whole, _ = model(x, resets=MARKS)
    assert torch.equal(model.stream(3).push(x, resets=MARKS), whole)
    stream = model.stream(3)
    steps = [stream.step(x_t, resets=marks) for x_t, marks in zip(x, MARKS, strict=True)]
    assert torch.equal(torch.stack(steps), whole)
    pool = model.streams(5)
    rows = [pool.join() for _ in range(3)]
    pushed = pool.push(x[:4], rows, resets=MARKS[:4]), pool.push(x[4:], rows, resets=MARKS[4:])
    assert torch.equal(torch.cat(pushed), whole)


def test_a_pool_does_not_write_into_what_is_learned():
    wrapped = learned(unrolled.GRU(8, 8))
    before = wrapped.start_h.clone()
    pool = wrapped.streams(2)
    pool.join()
    pool.step(torch.ones(1, 8))
    assert torch.equal(wrapped.start_h, before)


def test_a_chunk_that_cannot_be_read_starts_nothing_again():
    stream = learned(unrolled.LSTM(8, 8)).stream(3)
    stream.push(inputs().detach())
    before = [part.clone() for part in stream.state]
    with pytest.raises(ShapeError):
        stream.push(inputs(features=7).detach(), resets=MARKS)
    assert all(map(torch.equal, stream.state, before))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_trace_knows_with_what_rows_start_anew(bidirectional):
    wrapped = learned(unrolled.LSTM(8, 5, bidirectional=bidirectional))
    for direction, record in enumerate(unrolled.trace(wrapped, inputs(), resets=MARKS)):
        for name in ("h", "c"):
            before = states_before(record, name)
            start = getattr(wrapped, f"start_{name}")[direction, 0]
            begins = MARKS.clone()
            begins[0] = True
            if record.reverse:  # a piece begins at its last step, before the next one's first
                begins = begins.roll(-1, 0)
            assert (before[begins] == start).all()
            assert not (before[~begins] == start).any()


@pytest.mark.parametrize("make", [Residual, Highway])
def test_padding_is_not_read(make):
    layer, x = make(unrolled.GRU(8, 8)), inputs().detach()
    gradients = []
    for padding in (0.0, float("nan")):
        x[2:, 1], x[:, 2] = padding, padding
        leaf = x.clone().requires_grad_()
        output, _ = layer(leaf, lengths=torch.tensor(LENGTHS, dtype=torch.uint16))
        gradients.append(torch.autograd.grad(output.square().sum(), [leaf, *layer.parameters()]))
    assert all(map(torch.equal, *gradients))


def test_a_highway_under_autocast():
    layer, x = random_gate(Highway(unrolled.GRU(8, 8))), inputs().detach()
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = layer(x)
    torch.testing.assert_close(output.float(), layer(x)[0], rtol=0.05, atol=0.05)


def test_a_linear_in_a_stack_may_change_the_width():
    first, between, second = unrolled.LSTM(8, 6), nn.Linear(6, 5), unrolled.GRU(5, 4)
    stack = Stacked([first, nn.Tanh(), between, second, nn.Sequential(nn.Linear(4, 2), nn.ReLU())])
    x = inputs().detach()
    output, _ = stack(x)
    assert torch.equal(output, stack.layers[-1](second(between(first(x)[0].tanh()))[0]))
    assert (stack.input_size, stack.output_size) == (8, 2)
    assert Stacked([nn.Linear(3, 8), first]).input_size == 3
    out = torch.empty(3, 2)
    assert torch.equal(stack.stream(3).step(x[0], out=out), output[0])


@pytest.mark.parametrize("batch_first", [False, True])
def test_locked_dropout_drops_the_same_features_at_all_steps(batch_first):
    dropout = LockedDropout(0.5, batch_first)
    output = dropout(torch.ones(40, 30, 20))
    output = output.transpose(0, 1) if batch_first else output
    assert (output == output[:1]).all()
    assert set(output.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (output[0] == 0).float().mean() < 0.6
    rows = (output[0, :, None] == output[0, None]).all(-1).sum()
    assert rows == len(output[0])  # each row has a mask of its own
    ones = torch.ones(7, 5)
    assert LockedDropout(0.5).eval()(ones) is ones
    packed = dropout(pack_sequence([torch.ones(9, 20), torch.ones(4, 20)]))
    padded, _ = pad_packed_sequence(packed)
    assert (padded[:, 0] == padded[0, 0]).all()
    assert (padded[:4, 1] == padded[0, 1]).all()
    assert not torch.equal(padded[0, 0], padded[0, 1])


def test_recurrent_weights_are_dropped_once_a_call():
    layer = drop_recurrent_weights(unrolled.RNN(3, 16, 2, nonlinearity="relu"), 0.5)
    x = inputs(3)
    first, second = layer(x)[0], layer(x)[0]
    assert not torch.equal(first, second)
    twin = unrolled.RNN(3, 16, 2, nonlinearity="relu")
    torch.manual_seed(9)
    output, _ = layer(x)
    torch.manual_seed(9)
    weights = {name: getattr(layer, name) for name in twin.state_dict()}
    assert 0.3 < (weights["weight_hh_l0"] == 0).float().mean() < 0.7
    twin.load_state_dict(weights)
    assert torch.equal(twin(x)[0], output)
    output.sum().backward()
    grad = layer.parametrizations.weight_hh_l0.original.grad
    assert ((grad == 0) | (weights["weight_hh_l0"] != 0)).all()
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    for name in ("weight_hh_l0", "weight_hh_l1"):
        parametrize.remove_parametrizations(layer, name, leave_parametrized=False)
    assert set(layer.state_dict()) == set(twin.state_dict())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Residual(unrolled.LSTM(3, 8)), "reads 3 features and gives 8"),
        (lambda: Highway(unrolled.GRU(8, 8, bidirectional=True)), "reads 8 features and gives 16"),
        (lambda: Stacked([]), "there is no layer"),
        (lambda: Stacked([nn.Linear(3, 3)]), "Stacked: there is no layer"),
        (lambda: Stacked([unrolled.LSTM(3, 8), unrolled.GRU(7, 8)]), "LSTM gives 8 features, GRU"),
        (
            lambda: Stacked([unrolled.LSTM(3, 8), unrolled.GRU(8, 8, batch_first=True)]),
            "some layers are batch_first",
        ),
        (
            lambda: Stacked([unrolled.LSTM(3, 8, batch_first=True), LockedDropout(0.5)]),
            "batch_first and some are not",
        ),
        (lambda: Stacked([unrolled.LSTM(3, 8), nn.Linear(7, 8)]), "8 features, Linear reads 7"),
        (
            lambda: Stacked([unrolled.LSTM(3, 8), nn.LSTM(8, 8)])(inputs(3)),
            "LSTM gives a tuple, and no tensor",
        ),
        (lambda: Residual(nn.LSTM(8, 8)), "needs a layer of unrolled, got LSTM"),
        (lambda: Highway(nn.Linear(8, 8)), "needs a layer of unrolled, got Linear"),
        (lambda: LearnedState(unrolled.TCN(3, 8, 2)), "needs a recurrent layer, got TCN"),
        (lambda: LockedDropout(1.5), "LockedDropout: dropout must be a probability"),
        (lambda: drop_recurrent_weights(unrolled.TCN(3, 8, 2), 0.5), "no recurrent weights"),
        (lambda: drop_recurrent_weights(unrolled.LSTM(3, 8), -1), "must be a probability"),
        (
            lambda: drop_recurrent_weights(drop_recurrent_weights(unrolled.LSTM(3, 8), 0.5), 0.5),
            "weight_hh_l0 is parametrised already",
        ),
        (
            lambda: Stacked([unrolled.LSTM(3, 8), LockedDropout(0.5)]).stream(),
            "Stacked.stream: the layer is in training mode",
        ),
        (
            lambda: drop_recurrent_weights(unrolled.LSTM(3, 8), 0.5).stream(),
            "LSTM.stream: the layer is in training mode",
        ),
        (lambda: Residual(unrolled.LSTM(8, 4, bidirectional=True)).stream(), "bidirectional"),
    ],
    ids=lambda value: "" if callable(value) else value.replace(" ", "_"),
)
def test_what_cannot_be_is_said(make, words):
    with pytest.raises(OptionError, match=words):
        make()


def test_a_stack_is_not_given_too_few_states():
    stack = Stacked([unrolled.LSTM(3, 8), unrolled.GRU(8, 8)])
    with pytest.raises(ShapeError, match="must have 3 tensors, got 2"):
        stack(inputs(3), stack.initial_state(3)[:2])


def test_a_model_of_wrappers_is_one_stream():
    model = nn.Sequential(
        nn.Embedding(7, 8), Output(Residual(unrolled.LSTM(8, 8))), nn.Linear(8, 7)
    )
    tokens = torch.randint(7, (6, 3))
    stream = unrolled.stream(model.eval(), 3, reads="T B")
    whole = model(tokens)
    torch.testing.assert_close(torch.cat([stream.push(tokens[:4]), stream.push(tokens[4:])]), whole)


class Output(nn.Module):
    """A layer without its state."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


def test_a_copy_of_a_stream_begins_with_its_own_learned_state():
    wrapped = learned(unrolled.LSTM(8, 8))
    x = inputs().detach()
    stream = wrapped.stream(3)
    copied = copy.deepcopy(stream)
    before = wrapped(x)[0]
    with torch.no_grad():
        wrapped.start_h += 1.0
    stream.reset()
    copied.reset()
    assert torch.equal(copied.push(x), before)
    assert torch.equal(stream.push(x), wrapped(x)[0])
    assert not torch.equal(wrapped(x)[0], before)
