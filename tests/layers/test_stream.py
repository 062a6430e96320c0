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
