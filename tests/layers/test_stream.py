"""What a stream refuses. That it gives the whole's numbers is in tests/properties."""

import copy

import numpy as np
import pytest
import torch

import unrolled
from unrolled.errors import OptionError, ShapeError


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


def outputs_of(layer, x):
    with torch.no_grad():
        return layer(x)[0]


KINDS = {
    "LSTM": lambda: unrolled.LSTM(5, 20),
    "GRU of two layers": lambda: unrolled.GRU(5, 20, 2),
    "JANET": lambda: unrolled.JANET(5, 20),
    "float64": lambda: unrolled.GRU(5, 20, dtype=torch.float64),
    "TCN": lambda: unrolled.TCN(5, 20),
}
LAYOUTS = {
    "dense": lambda t: t.clone(),
    "turned": lambda t: t.t().contiguous().t(),
    "strided": lambda t: t.repeat_interleave(2, 1)[:, ::2],
    "with a gradient": lambda t: t.clone().requires_grad_(),
}
TO = {
    "nothing": lambda t: None,
    "dense": torch.empty_like,
    "turned": lambda t: t.t().contiguous().t(),
    "strided": lambda t: torch.zeros(len(t), 3 * t.shape[1], dtype=t.dtype)[:, ::3],
    "an array": lambda t: np.zeros(t.shape, t.numpy().dtype),
    "a turned array": lambda t: np.zeros(t.shape[::-1], t.numpy().dtype).T,
    "an array backwards": lambda t: np.zeros(t.shape, t.numpy().dtype)[::-1, ::-1],
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
@pytest.mark.parametrize("to", TO.values(), ids=list(TO))
def test_steps_read_and_write_any_layout(kind, layout, to):
    layer = kind().eval()
    dtype = next(layer.parameters()).dtype
    x = torch.randn(6, 3, 5, dtype=dtype)
    expected, stream = outputs_of(layer, x), layer.stream(3)
    for step, output in zip(x, expected, strict=True):
        out = to(output)
        got = stream.step(layout(step), out=out)
        assert out is None or got is out
        np.testing.assert_allclose(got, output, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_step_of_an_array_gives_an_array(kind):
    layer = kind().eval()
    x = torch.randn(4, 2, 5, dtype=next(layer.parameters()).dtype)
    expected, stream = outputs_of(layer, x).numpy(), layer.stream(2)
    for step, output in zip(x.numpy(), expected, strict=True):
        for array in (step, step[:, ::-1][:, ::-1]):
            got = copy.copy(stream).step(array)
            assert type(got) is np.ndarray
            np.testing.assert_allclose(got, output, atol=1e-6)
        stream.step(step)


with torch.inference_mode():
    OF_INFERENCE = torch.zeros(2, 6)
BACKWARDS_OR_FIXED = {
    "backwards": lambda array: array[..., ::-1].copy()[..., ::-1],
    "rows backwards": lambda array: array[::-1].copy()[::-1],
    "read-only": lambda array: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape),
    "spread": lambda array: np.broadcast_to(array[:1], array.shape),
}


@pytest.mark.parametrize("of", BACKWARDS_OR_FIXED.values(), ids=list(BACKWARDS_OR_FIXED))
@pytest.mark.parametrize(("size", "num_rows"), [(1, 3), (4, 1), (1, 1), (4, 3)])
def test_the_first_step_too_reads_arrays_of_any_layout(of, size, num_rows):
    layer = unrolled.GRU(size, 6)
    x = of(np.random.default_rng(0).standard_normal((num_rows, size), np.float32))
    pool, expected = (
        layer.streams(num_rows),
        outputs_of(layer, torch.tensor(x.copy())[None])[0].numpy(),
    )
    for _ in range(num_rows):
        pool.join()
    readers = [layer.stream(num_rows).step, pool.step, unrolled.stream(layer, num_rows).step]
    for read in readers:
        np.testing.assert_array_equal(read(x), expected)


@pytest.mark.parametrize("count", [True, 2.0, "3", None])
def test_a_number_of_rows_is_a_whole_number(count):
    with pytest.raises(OptionError, match="batch_size must be at least 1, got"):
        unrolled.GRU(3, 6).stream(count)
    with pytest.raises(OptionError, match="capacity must be at least 1, got"):
        unrolled.GRU(3, 6).streams(count)
    assert unrolled.GRU(3, 6).stream(np.int64(2)).step(torch.zeros(2, 3)).shape == (2, 6)


UNFIT_OUT = {
    "of another shape": torch.zeros(2, 7),
    "of another type": torch.zeros(2, 6, dtype=torch.float64),
    "an array of another shape": np.zeros((1, 6), np.float32),
    "an array of another type": np.zeros((2, 6)),
    "read-only": np.frombuffer(bytes(48), np.float32).reshape(2, 6),
    "of rows that share their memory": torch.zeros(1, 6).expand(2, 6),
    "with a gradient": torch.zeros(2, 6, requires_grad=True),
    "of inference mode": OF_INFERENCE,
    "on another device": torch.zeros(2, 6, device="meta"),
    "a list": [[0.0] * 6] * 2,
}


@pytest.mark.parametrize("out", UNFIT_OUT.values(), ids=list(UNFIT_OUT))
@pytest.mark.parametrize("num_before", [0, 2])
@pytest.mark.parametrize("kind", [unrolled.LSTM, unrolled.TCN])
def test_an_output_that_does_not_fit_is_an_error_and_no_step(kind, out, num_before):
    layer, x = kind(3, 6), torch.randn(4, 2, 3)
    expected, stream = outputs_of(layer, x), layer.stream(2)
    for step in x[:num_before]:
        stream.step(step)
    with pytest.raises(ShapeError, match="out must be"):
        stream.step(x[num_before], out=out)
    with pytest.raises(ShapeError, match="out must be"):
        stream.push(x[num_before:][:1], out=[out] if isinstance(out, list) else out[None])
    assert torch.equal(stream.step(x[num_before]), expected[num_before])


def test_what_inference_mode_made_is_written_inside_it():
    stream, pool = unrolled.LSTM(3, 6).stream(2), unrolled.LSTM(3, 6).streams(2)
    pool.join(), pool.join()
    for read in (stream.step, pool.step, stream.step, pool.step):
        with torch.inference_mode():
            assert read(torch.ones(2, 3), out=OF_INFERENCE) is OF_INFERENCE
        assert OF_INFERENCE.any()
        with torch.inference_mode():
            OF_INFERENCE.zero_()


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cut", [(slice(-1), slice(1, None)), (slice(1, None), slice(-1))])
def test_outputs_may_be_written_over_the_inputs(cut, num_layers):
    layer, x = unrolled.LSTM(4, 4, num_layers), torch.randn(700, 3, 4)  # more than are read at once
    memory, pool = torch.zeros(701, 3, 4), layer.streams(3)
    rows, expected = [pool.join() for _ in range(3)], outputs_of(layer, x)
    for read in (
        layer.stream(3).push,
        pool.push,
        lambda chunk, out: pool.push(chunk, rows, out=out),
    ):
        pool.reset()
        memory[cut[0]] = x
        read(memory[cut[0]], out=memory[cut[1]])
        assert torch.equal(memory[cut[1]], expected)
        same = x.clone()
        pool.reset()
        pool.push(same, out=same)
        assert torch.equal(same, expected)


def test_a_graph_that_kept_what_a_step_writes_over_is_told():
    stream, out = unrolled.LSTM(3, 6).stream(1), torch.zeros(1, 6)
    stream.step(torch.zeros(1, 3))
    weight = torch.ones(1, 6, requires_grad=True)
    total = (weight * out).sum()
    stream.step(torch.zeros(1, 3), out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (np.zeros((3, 4), np.float32), "a chunk must be 3-D .* got 2-D"),
        (np.zeros((), np.float32), "a chunk must be 3-D .* got"),
        (None, "x must be a tensor or an array of float32, got NoneType"),
        (np.zeros((3, 1, 4), ">f4"), "x must be a tensor or an array of float32, got >f4"),
    ],
)
def test_what_is_no_chunk_is_an_error_that_says_so(chunk, message):
    stream = unrolled.LSTM(4, 6).stream()
    with pytest.raises(ShapeError, match=message):
        stream.push(chunk)


def test_a_state_that_is_not_the_layers_is_refused_and_the_stream_goes_on():
    stream = unrolled.LSTM(3, 4).stream()
    before = stream.state
    wrong = ["abc", None, before[0], (before[0], before[1][:, :, :3]), (*before, before[0]), (1, 2)]
    for state in wrong:
        with pytest.raises(ShapeError, match=r"LSTM\.stream: state"):
            stream.state = state
    assert stream.state is before


def test_a_layer_taken_back_to_training_drops_no_units_of_its_streams_in_silence():
    layer = unrolled.LSTM(3, 4, num_layers=2, dropout=0.5).eval()
    stream, x = layer.stream(), torch.randn(5, 1, 3)
    layer.train()
    for resets in (None, torch.zeros(5, 1, dtype=torch.bool)):
        with pytest.raises(OptionError, match="training mode"):
            stream.push(x, resets=resets)
    layer.eval()
    assert torch.equal(stream.push(x), layer(x)[0])
