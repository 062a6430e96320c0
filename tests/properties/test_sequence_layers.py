"""What must hold for every layer over sequences, whatever its equations. In float64, to 1e-10."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import unrolled
from support.cells import example_cell
from unrolled.kernels import using_path
from unrolled.layers import map_state, state_tensors
from unrolled.networks.memoryless import Conv, Dense

PEEPHOLE, MIN_GRU = example_cell("peephole_lstm"), example_cell("min_gru")
f64 = torch.float64

LAYERS = {
    "rnn": lambda i, h: unrolled.RNN(i, h, 2, dtype=f64),
    "rnn relu": lambda i, h: unrolled.RNN(i, h, nonlinearity="relu", dtype=f64),
    "lstm": lambda i, h: unrolled.LSTM(i, h, 2, dtype=f64),
    "lstm projected": lambda i, h: unrolled.LSTM(i, h + 1, 2, proj_size=h, dtype=f64),
    "gru": lambda i, h: unrolled.GRU(i, h, 2, dtype=f64),
    "gru reset before": lambda i, h: unrolled.GRU(i, h, 2, reset="before", dtype=f64),
    "janet": lambda i, h: unrolled.JANET(i, h, 2, dtype=f64),
    "peephole": lambda i, h: unrolled.Recurrent(PEEPHOLE, i, h, 2, dtype=f64),
    "min gru": lambda i, h: unrolled.Recurrent(MIN_GRU, i, h, 2, dtype=f64),
    "tcn": lambda i, h: unrolled.TCN(i, h, 2, kernel_size=3, dtype=f64),
    "tcn kernel 1": lambda i, h: unrolled.TCN(i, h, 2, kernel_size=1, dtype=f64),
    "dense": lambda i, h: Dense(i, h, 2).double(),
    "conv": lambda i, h: Conv(i, h, kernel_size=4).double(),
}
BIDIRECTIONAL = {
    "rnn": lambda i, h: unrolled.RNN(i, h, 2, bidirectional=True, dtype=f64),
    "lstm": lambda i, h: unrolled.LSTM(i, h, 2, bidirectional=True, dtype=f64),
    "gru": lambda i, h: unrolled.GRU(i, h, 2, bidirectional=True, dtype=f64),
    "janet": lambda i, h: unrolled.JANET(i, h, 2, bidirectional=True, dtype=f64),
    "peephole": lambda i, h: unrolled.Recurrent(PEEPHOLE, i, h, bidirectional=True, dtype=f64),
}
forwards = pytest.mark.parametrize("name", LAYERS)
both_ways = pytest.mark.parametrize(
    "make",
    [*LAYERS.values(), *BIDIRECTIONAL.values()],
    ids=[*LAYERS, *(f"{name} bidirectional" for name in BIDIRECTIONAL)],
)

seeds = st.integers(0, 2**31)
sizes = st.integers(1, 9)


@st.composite
def batches(draw, max_steps=9, max_rows=5):
    """Return (T, B), one length a row, and a generator's seed."""
    num_steps = draw(st.integers(1, max_steps))
    num_rows = draw(st.integers(1, max_rows))
    lengths = draw(st.lists(st.integers(0, num_steps), min_size=num_rows, max_size=num_rows))
    return num_steps, num_rows, lengths, draw(seeds)


def build(make, input_size, hidden_size, seed):
    """Return a layer with weights large enough for every path through it to matter."""
    torch.manual_seed(seed)
    layer = make(input_size, hidden_size).eval()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.uniform_(-0.8, 0.8)
    return layer


def random_state(layer, rows):
    return map_state(torch.randn_like, layer.initial_state(rows))


def rows_of(state, rows):
    return map_state(lambda part: part[:, rows], state)


def assert_equal(got, expected):
    """Compare two tensors or two states."""
    for a, b in zip(state_tensors(got), state_tensors(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@forwards
@given(batches(), sizes, sizes)
def test_later_inputs_change_no_earlier_output(name, batch, input_size, hidden_size):
    num_steps, num_rows, _, seed = batch
    layer = build(LAYERS[name], input_size, hidden_size, seed)
    x = torch.randn(num_steps, num_rows, input_size, dtype=f64)
    cut = seed % num_steps
    changed = x.clone()
    changed[cut:] += 1.0
    assert torch.equal(layer(x)[0][:cut], layer(changed)[0][:cut])


@both_ways
@given(batches(), sizes)
def test_a_row_alone_gives_what_it_gives_in_a_batch(make, batch, hidden_size):
    num_steps, num_rows, lengths, seed = batch
    layer = build(make, 3, hidden_size, seed)
    x = torch.randn(num_steps, num_rows, 3, dtype=f64)
    start = random_state(layer, num_rows)
    output, state = layer(x, start, lengths=lengths)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        assert not output[length:, row].any()
        if length == 0:
            assert_equal(rows_of(state, one), rows_of(start, one))
            continue
        alone, end = layer(x[:length, one], rows_of(start, one))
        assert_equal(output[:length, one], alone)
        assert_equal(rows_of(state, one), end)


@both_ways
@given(batches())
def test_padding_changes_nothing_not_even_when_it_is_nan(make, batch):
    num_steps, num_rows, lengths, seed = batch
    layer = build(make, 3, 4, seed)
    x = torch.randn(num_steps, num_rows, 3, dtype=f64)
    padding = torch.arange(num_steps)[:, None] >= torch.tensor(lengths)
    results = []
    for filling in (0.0, math.nan):
        filled = x.masked_fill(padding.unsqueeze(-1), filling).requires_grad_()
        output, state = layer(filled, lengths=torch.tensor(lengths))
        total = output.sum() + sum(part.sum() for part in state_tensors(state))
        weights = [filled, *layer.parameters()]
        gradients = torch.autograd.grad(total, weights, materialize_grads=True)
        results.append((output, *state_tensors(state), *gradients))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)


@forwards
@given(batches(), st.data())
def test_any_cut_of_a_sequence_gives_the_whole(name, batch, data):
    num_steps, num_rows, _, seed = batch
    layer = build(LAYERS[name], 3, 4, seed)
    x = torch.randn(num_steps, num_rows, 3, dtype=f64)
    start = random_state(layer, num_rows)
    whole, end = layer(x, start)
    cuts = sorted(data.draw(st.sets(st.integers(1, num_steps))) | {num_steps})
    outputs, state, begin = [], start, 0
    for cut in cuts:
        output, state = layer(x[begin:cut], state)
        outputs.append(output)
        begin = cut
    assert_equal(torch.cat(outputs), whole)
    assert_equal(state, end)


@forwards
@given(batches(), st.data())
def test_a_stream_gives_the_whole(name, batch, data):
    num_steps, num_rows, _, seed = batch
    layer = build(LAYERS[name], 3, 4, seed)
    x = torch.randn(num_steps, num_rows, 3, dtype=f64)
    whole, end = layer(x)
    cut = data.draw(st.integers(0, num_steps - 1))
    stream = layer.stream(num_rows)
    pieces = [stream.push(x[:cut])] if cut else []
    pieces += [stream.step(step).unsqueeze(0) for step in x[cut:]]
    assert_equal(torch.cat(pieces), whole)
    assert_equal(stream.state, end)


@forwards
@given(batches())
def test_a_row_that_is_reset_is_a_fresh_row(name, batch):
    num_steps, num_rows, lengths, seed = batch
    layer = build(LAYERS[name], 3, 4, seed)
    x = torch.randn(2, num_steps, num_rows, 3, dtype=f64)
    fresh, _ = layer(x[1])
    going_on, _ = layer(torch.cat([x[0], x[1]]))
    restart = [row for row, length in enumerate(lengths) if length % 2]
    for rows in (restart, torch.tensor(lengths) % 2 == 1):
        stream = layer.stream(num_rows)
        stream.push(x[0])
        stream.reset(rows)
        output = stream.push(x[1])
        for row in range(num_rows):
            expected = fresh if row in restart else going_on[num_steps:]
            assert_equal(output[:, row], expected[:, row])
    stream.reset()
    assert_equal(stream.push(x[1]), fresh)


@both_ways
@given(batches())
def test_batch_first_and_unbatched_are_the_same_numbers(make, batch):
    num_steps, num_rows, lengths, seed = batch
    layer = build(make, 3, 4, seed)
    x = torch.randn(num_steps, num_rows, 3, dtype=f64)
    output, state = layer(x, lengths=lengths)
    layer.batch_first = True
    turned, turned_state = layer(x.transpose(0, 1), lengths=lengths)
    assert torch.equal(turned.transpose(0, 1), output)
    assert_equal(turned_state, state)
    alone, alone_state = layer(x[:, 0])
    assert_equal(alone, layer(x[:, :1].transpose(0, 1))[0][0])
    again, _ = layer(x[:, 0], alone_state)
    assert again.shape == alone.shape


@both_ways
@pytest.mark.parametrize("lengths", [[3, 0, 2], [0, 0, 0], [4, 4, 4]], ids=str)
def test_gradients_are_those_of_finite_differences(make, lengths):
    layer = build(make, 2, 2, seed=1)
    x = torch.randn(4, 3, 2, dtype=f64, requires_grad=True)
    start = map_state(lambda part: part.requires_grad_(), random_state(layer, 3))
    states = state_tensors(start)
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *rest):
        state = start if isinstance(start, torch.Tensor) else rest[: len(states)]
        state = rest[0] if isinstance(start, torch.Tensor) else state
        weights = dict(zip(names, rest[len(states) :], strict=True))
        arguments = (x, state)
        output, end = torch.func.functional_call(
            layer, weights, arguments, {"lengths": torch.tensor(lengths)}
        )
        return (output, *state_tensors(end))

    with using_path("reference"):
        inputs = (x, *states, *layer.parameters())
        every_number = 0 in lengths and any(lengths)  # else along one direction by chance
        assert torch.autograd.gradcheck(run, inputs, fast_mode=not every_number)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
@given(batches(), sizes)
def test_the_paths_agree(name, batch, hidden_size):
    num_steps, num_rows, _, seed = batch
    layer = build(BIDIRECTIONAL[name], 3, hidden_size, seed)
    x = torch.randn(num_steps, num_rows, 3, dtype=f64)
    results = []
    for path in ("reference", "torch"):
        with using_path(path):
            output, state = layer(x)
        results.append((output, *state_tensors(state)))
    for a, b in zip(*results, strict=True):
        assert_equal(a, b)


@both_ways
@pytest.mark.parametrize(
    "lengths",
    [[1, 2], [1, 2, 6], [1, -1, 2], [1.0, 2.0, 3.0], [True, False, True]],
    ids=["too few", "too long", "negative", "fractions", "booleans"],
)
def test_impossible_lengths_are_refused(make, lengths):
    layer = make(3, 4)
    with pytest.raises(unrolled.UnrolledError, match="lengths must") as caught:
        layer(torch.zeros(5, 3, 3, dtype=f64), lengths=lengths)
    assert str(caught.value).startswith(type(layer).__name__)
