"""Layers under torch.autocast: mixed precision, where a state comes out in another dtype."""

import copy

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from unrolled.errors import ShapeError
from unrolled.layers import map_state, state_tensors

LAYERS = {
    "rnn": lambda: unrolled.RNN(3, 4, 2),
    "lstm": lambda: unrolled.LSTM(3, 4, 2),
    "lstm projected": lambda: unrolled.LSTM(3, 4, 2, proj_size=2),
    "gru": lambda: unrolled.GRU(3, 4, 2),
    "gru reset before": lambda: unrolled.GRU(3, 4, 2, reset="before"),
    "janet": lambda: unrolled.JANET(3, 4, 2),
    "bidirectional": lambda: unrolled.LSTM(3, 4, bidirectional=True),
    "tcn": lambda: unrolled.TCN(3, 4, 2),
}
every_layer = pytest.mark.parametrize("name", LAYERS)
autocast = torch.autocast("cpu", dtype=torch.bfloat16)

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@every_layer
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("lengths", [None, [5, 0, 3]], ids=["even", "ragged"])
def test_a_state_that_came_out_under_autocast_goes_in_again(name, dtype, lengths):
    layer, x = LAYERS[name](), torch.randn(5, 3, 3, dtype=dtype)
    with autocast:
        _, state = layer(x, lengths=lengths)
        output, state = layer(x, state, lengths=lengths)
    (output.float().sum() + sum(part.float().sum() for part in state_tensors(state))).backward()
    for weight in layer.parameters():
        assert weight.grad is not None
        assert weight.grad.dtype == torch.float32
        assert weight.grad.isfinite().all()


@every_layer
def test_two_halves_under_autocast_are_near_the_whole_in_float32(name):
    layer, x = LAYERS[name](), torch.randn(6, 3, 3)
    if name == "bidirectional":
        pytest.skip("a half has another backward direction")
    expected, _ = layer(x)
    with autocast:
        first, state = layer(x[:3])
        second, _ = layer(x[3:], state)
    got = torch.cat([first, second]).float()
    assert (got - expected).norm() <= 0.02 * expected.norm()  # bfloat16: 8 bits


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "janet"])
def test_a_packed_sequence_goes_on_under_autocast(name):
    layer, x = LAYERS[name](), torch.randn(5, 3, 3)
    packed = pack_padded_sequence(x, [5, 4, 3])
    with autocast:
        _, state = layer(packed)
        output, _ = layer(packed, state)
    output.data.float().sum().backward()


@every_layer
def test_a_state_of_a_dtype_that_nothing_converts_is_refused(name):
    layer, x = LAYERS[name](), torch.randn(5, 3, 3)
    _, state = layer(x)
    wrong = map_state(torch.Tensor.double, state)
    with pytest.raises(ShapeError, match=r"must be torch\.float32 on cpu .* got torch\.float64"):
        layer(x, wrong)
    with autocast, pytest.raises(ShapeError, match=r"got torch\.float64"):
        layer(x, wrong)
    with pytest.raises(ShapeError, match=r"got torch\.bfloat16"):
        layer(x, map_state(torch.Tensor.bfloat16, state))


def test_a_stream_reads_under_autocast():
    layer = unrolled.LSTM(3, 4)
    stream, x = layer.stream(2), torch.randn(4, 2, 3)
    with autocast:
        expected, _ = copy.deepcopy(layer)(x)
        got = torch.cat([stream.push(piece) for piece in x.split(1)])
    torch.testing.assert_close(got, expected, rtol=0, atol=0.02)
