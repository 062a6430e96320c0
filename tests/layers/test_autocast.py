"""Layers under torch.autocast: mixed precision, where a state comes out in another dtype."""

import copy

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from unrolled.errors import ShapeError
from unrolled.kernels import using_path
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


READERS = {
    "a layer's": unrolled.LSTM(3, 4).stream,
    "bf16": lambda batch_size: unrolled.LSTM(3, 4).stream(batch_size, weights="bf16"),
    "of a TCN": unrolled.TCN(3, 4).stream,
    "a model's": lambda batch_size: unrolled.stream(unrolled.LSTM(3, 4, 2), batch_size),
    "of torch's LSTM": lambda batch_size: unrolled.stream(torch.nn.LSTM(3, 4), batch_size),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=list(READERS))
def test_autocast_may_begin_and_end_between_two_steps(reader):
    torch.manual_seed(0)
    stream, x = reader(2), torch.randn(4, 2, 3)
    other = copy.deepcopy(stream)
    expected = [other.step(step).float() for step in x]
    for step, output, mixed in zip(x, expected, [False, True, True, False], strict=True):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            got = stream.step(step)
        torch.testing.assert_close(got.float(), output, rtol=0, atol=0.02)
    assert got.dtype is torch.float32


HALVES = [torch.bfloat16, torch.float16]
KERNEL_LAYERS = [name for name in LAYERS if name not in ("lstm projected", "tcn")]


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("batch_size", [3, 16])
def test_types_under_autocast_are_those_of_torch(name, batch_size):
    num_compared = 0
    for weight_type in (torch.float32, torch.bfloat16):
        theirs = getattr(torch.nn, name)(4, 8).to(weight_type)
        ours = getattr(unrolled, name)(4, 8).to(weight_type)
        ours.load_state_dict(theirs.state_dict())
        for input_type in (torch.float32, *HALVES):
            x = torch.randn(5, batch_size, 4, dtype=input_type)
            for lower in HALVES:
                with torch.autocast("cpu", lower):
                    try:
                        expected = theirs(x)
                    except RuntimeError:  # oneDNN has no such LSTM
                        continue
                    got = ours(x)
                pairs = zip(outcomes(got), outcomes(expected), strict=True)
                for a, b in pairs:
                    torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)
                num_compared += 1
    assert num_compared >= 8


def outcomes(results):
    output, state = results
    return [output, *state_tensors(state)]


@pytest.mark.parametrize("name", KERNEL_LAYERS)
@pytest.mark.parametrize("lengths", [None, [5, 0, 3]], ids=["even", "ragged"])
def test_the_kernel_of_float32_computes_under_autocast_in_float16(name, lengths):
    layer, x = LAYERS[name](), torch.randn(5, 3, 3, requires_grad=True)
    rounds = layer.num_layers > 1 and name in ("rnn", "lstm")  # between layers too
    if rounds:
        layer = type(layer)(3, 4)
    expected, _ = layer(x, lengths=lengths)
    wanted = torch.autograd.grad(expected.sum(), [x, *layer.parameters()])
    with torch.autocast("cpu", torch.float16), using_path("kernel"):
        output, _ = layer(x, lengths=lengths)
    assert torch.equal(output, expected.to(output.dtype))
    got = torch.autograd.grad(output.float().sum(), [x, *layer.parameters()])
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", KERNEL_LAYERS)
def test_a_converted_layer_has_the_numbers_of_the_layer_of_float32_under_autocast(name, dtype):
    """Of float16, which no product rounds to, the numbers of the layer of float32."""
    options = {"reset": "before"} if "before" in name else {}
    layer = type(LAYERS[name]())(3, 4, **options).to(dtype)
    x = torch.randn(5, 3, 3, dtype=dtype, requires_grad=True)
    wide = copy.deepcopy(layer).float()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        expected, expected_state = wide(x.float())
    output, state = layer(x)
    assert torch.equal(output, expected.to(dtype))
    for part, wanted in zip(state_tensors(state), state_tensors(expected_state), strict=True):
        assert torch.equal(part, wanted.to(dtype))
    output.float().sum().backward()
    expected.to(dtype).float().sum().backward()
    for a, b in zip(layer.parameters(), wide.parameters(), strict=True):
        assert a.grad.dtype is dtype
        assert torch.equal(a.grad, b.grad.to(dtype))


def test_under_autocast_a_large_layer_is_not_run_step_by_step():
    """Of a loop in torch there would be a product for each step."""
    layer, x = unrolled.JANET(3, 4), torch.randn(50, 2, 3)
    layer(x)
    with torch.profiler.profile(acc_events=True) as profile, autocast:
        layer(x)
    assert (
        sum(event.name in ("aten::linear", "aten::mm", "aten::addmm") for event in profile.events())
        == 0
    )
