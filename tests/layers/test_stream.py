"""What a stream refuses. That it gives the whole's numbers is in tests/properties."""

import pytest
import torch

import unrolled
from unrolled.errors import ShapeError


def test_a_bidirectional_layer_cannot_stream():
    with pytest.raises(unrolled.UnrolledError, match="needs the end of the sequence"):
        unrolled.GRU(2, 3, bidirectional=True).stream(1)


def test_a_layer_that_would_drop_units_cannot_stream():
    layer = unrolled.LSTM(2, 3, num_layers=2, dropout=0.5)
    with pytest.raises(unrolled.UnrolledError, match="training mode"):
        layer.stream(1)
    layer.eval().stream(1)


def test_impossible_batches_steps_and_rows_are_refused():
    layer = unrolled.LSTM(2, 3)
    with pytest.raises(unrolled.UnrolledError, match="batch_size must be at least 1"):
        layer.stream(0)
    stream = layer.stream(2)
    with pytest.raises(ShapeError, match="a step must be 2-D"):
        stream.step(torch.zeros(1, 2, 2))
    with pytest.raises(ShapeError, match="has 2 rows, the input has 3"):
        stream.push(torch.zeros(5, 3, 2))
    for rows in ([2], torch.tensor([True, False, True])):
        with pytest.raises(ShapeError, match="cannot reset rows"):
            stream.reset(rows)


def test_the_state_can_be_kept_and_put_back():
    stream = unrolled.GRU(2, 3).stream(1)
    stream.push(torch.randn(4, 1, 2))
    kept, x = stream.state, torch.randn(3, 1, 2)
    expected = stream.push(x)
    stream.state = kept
    assert torch.equal(stream.push(x), expected)


def test_weights_that_change_are_used():
    layer = unrolled.LSTM(2, 3)
    x = torch.randn(4, 1, 2)
    stream = layer.stream(1)
    stream.push(x)
    for weight in layer.parameters():
        weight.grad = torch.ones_like(weight)
    for change in (
        lambda: torch.nn.init.ones_(layer.weight_hh_l0),
        lambda: layer.load_state_dict(unrolled.LSTM(2, 3).state_dict()),
        lambda: setattr(layer, "weight_ih_l0", torch.nn.Parameter(torch.ones(12, 2))),
        lambda: torch.optim.SGD(layer.parameters(), lr=1.0).step(),
    ):
        before = layer(x)[0]
        change()
        stream.reset()
        with torch.no_grad():
            expected, _ = layer(x)
        assert not torch.equal(expected, before)
        assert torch.equal(stream.push(x), expected)


def test_weights_that_a_fused_optimiser_changed_are_used():
    """Which does not raise a tensor's version."""
    layer, x = unrolled.LSTM(2, 3), torch.randn(4, 1, 2)
    stream = layer.stream(1)
    stream.push(x)
    for weight in layer.parameters():
        weight.grad = torch.ones_like(weight)
    torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True).step()
    stream.reset()
    with torch.no_grad():
        assert torch.equal(stream.push(x), layer(x)[0])


def test_one_weight_changed_as_a_vector_is_seen():
    layer, x = unrolled.LSTM(4, 8), torch.randn(3, 1, 4)
    stream = layer.stream(1)
    stream.push(x)
    vector = torch.nn.utils.parameters_to_vector(layer.parameters()).detach().clone()
    vector[40] += 5
    torch.nn.utils.vector_to_parameters(vector, layer.parameters())
    stream.reset()
    with torch.no_grad():
        assert torch.equal(stream.push(x), layer(x)[0])


def test_hooks_see_single_steps_too():
    layer, x = unrolled.GRU(2, 3), torch.randn(1, 2)
    stream = layer.stream(1)
    stream.step(x)
    layer.register_forward_hook(lambda module, given, result: (result[0] + 100, result[1]))
    assert stream.step(x).min() > 90


def test_single_steps_are_recorded():
    layer = unrolled.JANET(2, 3)
    stream = layer.stream(1)
    stream.step(torch.zeros(1, 2))
    with unrolled.layers.observing_values() as records:
        stream.step(torch.zeros(1, 2))
    assert [sorted(record.values) for record in records] == [["f", "g", "h"]]


CHANGES = {
    "all columns but the first": lambda w: w.data[:, 1:].mul_(-1),
    "one column": lambda w: w.data[:, 3].zero_(),
    "another process's": lambda w: torch.from_numpy(w.detach().numpy()).mul_(2),
    "a view of it": lambda w: w.detach().view(-1)[5:].zero_(),
    "other memory": lambda w: setattr(w, "data", w.data * 2),
    "turned in its place": lambda w: setattr(w, "data", w.data.t().contiguous().t()),
}


@pytest.mark.parametrize("kind", [unrolled.LSTM, unrolled.GRU])
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_an_open_stream_sees_weights_change_behind_torchs_back(kind, name, change):
    layer, x = kind(16, 16), torch.randn(3, 1, 16)
    stream, pushing = layer.stream(1), layer.stream(1)
    stream.step(x[0]), pushing.push(x[:1])
    change(getattr(layer, name))
    fresh = layer.stream(1)
    fresh.state = stream.state
    expected = fresh.step(x[1])
    assert torch.equal(stream.step(x[1]), expected)
    assert torch.equal(pushing.push(x[1:2])[0], expected)
    assert torch.equal(stream.step(x[2]), fresh.step(x[2]))


def test_a_number_that_no_sample_sees_is_read_after_a_refresh():
    layer, x = unrolled.GRU(16, 16), torch.randn(2, 1, 16)
    stream = layer.stream(1)
    stream.step(x[0])
    layer.weight_hh_l0.data[7, 5] += 10.0
    kept = stream.state
    stream.refresh()
    assert torch.equal(stream.state, kept)
    fresh = layer.stream(1)
    fresh.state = kept
    assert torch.equal(stream.step(x[1]), fresh.step(x[1]))


UNFIT = {
    "another shape": lambda w: torch.randn(4, 4),
    "turned": lambda w: w.detach().t().contiguous(),
    "a row less": lambda w: w.detach()[:-1],
    "double": lambda w: w.detach().double(),
    "meta": lambda w: torch.empty(w.shape, device="meta"),
}
READS = {
    "layer": lambda layer, stream, x: layer(x[None]),
    "step": lambda layer, stream, x: stream.step(x),
    "push": lambda layer, stream, x: stream.push(x[None]),
}


@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
@pytest.mark.parametrize("weight", UNFIT.values(), ids=list(UNFIT))
def test_weights_that_no_longer_fit_are_an_error(weight, read):
    for in_place in (False, True):
        layer, x = unrolled.LSTM(3, 64), torch.randn(1, 3)
        stream = layer.stream(1)
        stream.step(x)
        new = weight(layer.weight_hh_l0)
        if not in_place:
            layer.weight_hh_l0 = torch.nn.Parameter(new)
        elif new.device.type == "cpu":  # torch itself refuses the other
            layer.weight_hh_l0.data = new
        else:
            continue
        with pytest.raises(RuntimeError):
            read(layer, stream, x)


@pytest.mark.parametrize("make", [unrolled.GRU, unrolled.TCN])
def test_a_chunk_of_no_steps_changes_nothing(make):
    stream = make(2, 3).stream(2)
    stream.push(torch.randn(4, 2, 2))
    before = stream.state
    assert stream.push(torch.zeros(0, 2, 2)).shape == (0, 2, 3)
    assert stream.state is before
    with pytest.raises(ShapeError):
        stream.push(torch.zeros(0, 2, 5))


UNCLEAR = {
    "a mask of numbers": torch.tensor([0, 0, 1, 1]),
    "a mask of bytes": torch.tensor([0, 0, 1, 1], dtype=torch.uint8),
    "floats": torch.tensor([0.0, 1.0]),
    "two dims": torch.tensor([[0], [1]]),
    "outside": [-5],
    "a short mask": [True, False],
}


@pytest.mark.parametrize("rows", UNCLEAR.values(), ids=list(UNCLEAR))
def test_rows_that_could_mean_others_are_refused(rows):
    with pytest.raises(ShapeError, match="of dtype bool"):
        unrolled.GRU(2, 3).stream(4).reset(rows)


@pytest.mark.parametrize("name", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
@pytest.mark.parametrize("layer_of_stack", ["l0", "l1"])
@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
def test_a_weight_that_is_none_is_an_error(name, layer_of_stack, read):
    layer, x = unrolled.LSTM(8, 8, 2), torch.randn(1, 8)
    stream = layer.stream(1)
    stream.step(x)
    setattr(layer, f"{name}_{layer_of_stack}", None)
    with pytest.raises((RuntimeError, AttributeError, TypeError)):
        read(layer, stream, x)
