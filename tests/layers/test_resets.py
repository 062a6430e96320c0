"""`resets=`: a row that is cut is its pieces, each alone, to the last bit."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

import unrolled
from unrolled.errors import OptionError, ShapeError
from unrolled.inspection import states_before
from unrolled.kernels import Pieces, RaggedRows, using_path

T, B, SIZE = 12, 4, 3


@unrolled.cell(gates="f g", keeps="f")
def leaky(x, u, h, *, slope=1.0):
    f = torch.sigmoid(x.f + u.f)
    g = torch.tanh(slope * (x.g + u.g))
    return dict(h=f * h + (1 - f) * g, f=f, g=g)


RECURRENT = {
    "RNN": lambda **options: unrolled.RNN(SIZE, 5, **options),
    "LSTM": lambda **options: unrolled.LSTM(SIZE, 21, **options),
    "GRU": lambda **options: unrolled.GRU(SIZE, 16, **options),
    "GRU, reset before": lambda **options: unrolled.GRU(SIZE, 16, reset="before", **options),
    "JANET": lambda **options: unrolled.JANET(SIZE, 5, **options),
    "a cell of one's own": lambda **options: unrolled.Recurrent(leaky, SIZE, 9, **options),
}
LAYERS = {
    **{name: (make, {}) for name, make in RECURRENT.items()},
    **{
        f"{name}, both directions, stacked": (make, {"num_layers": 2, "bidirectional": True})
        for name, make in RECURRENT.items()
    },
    "TCN": (lambda **options: unrolled.TCN(SIZE, 16, 3, 3, **options), {}),
    "TCN without a shortcut's convolution": (lambda **o: unrolled.TCN(SIZE, SIZE, 2, 2, **o), {}),
}
CASES = {
    "no state": (None, False),
    "a state": (None, True),
    "lengths": ([9, 0, 12, 3], False),
    "lengths and a state": ([9, 0, 12, 3], True),
}


def tensors(state):
    return (state,) if isinstance(state, torch.Tensor) else tuple(state)


def marks(seed=0, share=0.3, shape=(T, B)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def state_of(layer, generator):
    """Return a state by chance that wants a gradient."""
    parts = tensors(layer.initial_state(B))
    parts = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parts]
    parts = tuple(part.requires_grad_() for part in parts)
    return parts[0] if isinstance(layer.initial_state(B), torch.Tensor) else parts


def pieces_alone(layer, x, state, lengths, resets):
    """Return what calls of the layer give, one for each piece of each row."""
    outputs, ends = [], []
    for row in range(B):
        length = T if lengths is None else lengths[row]
        cuts = [0, *(t for t in range(1, length) if resets[t, row]), length]
        given = None if state is None else [part[:, row : row + 1] for part in tensors(state)]
        if length and resets[0, row]:
            given = None
        pieces = []
        for begin, end in pairwise(cuts):
            if begin == end:
                ends.append(given or tensors(layer.initial_state(1)))
                continue
            own = given if begin == 0 else None
            if own is not None:
                own = own[0] if isinstance(layer.initial_state(1), torch.Tensor) else tuple(own)
            output, after = layer(x[begin:end, row : row + 1], own)
            pieces.append(output)
            if end == length:
                ends.append(tensors(after))
        padding = x.new_zeros(T - length, 1, layer.output_size)
        outputs.append(torch.cat([*pieces, padding]))
    return torch.cat(outputs, 1), tuple(torch.cat(parts, 1) for parts in zip(*ends, strict=True))


def values_and_gradients(layer, run, x, state):
    """Return the output, the states, the gradients of input and state, those of the weights."""
    output, ends = run()
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)
    loss = (output * weights.sin()).sum() + sum(end.square().sum() for end in tensors(ends))
    inputs = [x, *(() if state is None else tensors(state))]
    gradients = torch.autograd.grad(loss, [*inputs, *layer.parameters()])
    return [output, *tensors(ends), *gradients[: len(inputs)]], gradients[len(inputs) :]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_row_that_is_cut_is_its_pieces_alone_to_the_last_bit(kind, case):
    (make, options), (lengths, has_state) = LAYERS[kind], CASES[case]
    torch.manual_seed(0)
    layer, generator = make(**options), torch.Generator().manual_seed(1)
    x = torch.randn(T, B, SIZE, generator=generator).requires_grad_()
    state = state_of(layer, generator) if has_state else None
    resets = marks()
    got, d_weights = values_and_gradients(
        layer, lambda: layer(x, state, lengths=lengths, resets=resets), x, state
    )
    alone, d_alone = values_and_gradients(
        layer, lambda: pieces_alone(layer, x, state, lengths, resets), x, state
    )
    for mine, expected in zip(got, alone, strict=True):
        assert torch.equal(mine, expected)
    for mine, expected in zip(d_weights, d_alone, strict=True):  # sums in another order
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*reference loop")
@pytest.mark.parametrize("kind", LAYERS)
def test_in_float64_all_gradients_are_those_of_the_pieces(kind):
    make, options = LAYERS[kind]
    torch.manual_seed(0)
    layer, generator = make(**options).double(), torch.Generator().manual_seed(1)
    x = torch.randn(T, B, SIZE, generator=generator, dtype=torch.float64).requires_grad_()
    state, lengths, resets = state_of(layer, generator), [12, 0, 9, 12], marks(2)
    got, d_weights = values_and_gradients(
        layer, lambda: layer(x, state, lengths=lengths, resets=resets), x, state
    )
    alone, d_alone = values_and_gradients(
        layer, lambda: pieces_alone(layer, x, state, lengths, resets), x, state
    )
    for mine, expected in zip([*got, *d_weights], [*alone, *d_alone], strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_kernel_and_torch_agree_on_pieces(kind):
    make, options = LAYERS[kind]
    torch.manual_seed(0)
    layer = make(**options)
    x = torch.randn(T, B, SIZE, requires_grad=True)
    resets = marks(3)
    mine, d_mine = values_and_gradients(layer, lambda: layer(x, resets=resets), x, None)
    with using_path("reference"):
        other, d_other = values_and_gradients(layer, lambda: layer(x, resets=resets), x, None)
    for got, expected in zip([*mine, *d_mine], [*other, *d_other], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU, both directions, stacked", "TCN"])
def test_no_gradient_passes_a_mark(kind):
    make, options = LAYERS[kind]
    layer, resets = make(**options), torch.zeros(T, B, dtype=torch.bool)
    resets[5, 1] = resets[0, 2] = True
    x = torch.randn(T, B, SIZE, requires_grad=True)
    state = state_of(layer, torch.Generator().manual_seed(0))
    output, _ = layer(x, state, resets=resets)
    loss = output[7, 1].sum() + output[:, 2].sum()
    d_x, d_state = torch.autograd.grad(loss, [x, tensors(state)[0]])
    assert not d_x[:5, 1].any()
    assert d_x[5:8, 1].any(1).all()
    assert not d_state.any()  # row 1 was cut in between, row 2 began anew


def test_what_is_given_to_a_row_that_begins_anew_is_not_read():
    for layer in (unrolled.GRU(SIZE, 4), unrolled.TCN(SIZE, 4, 2)):
        x, resets = torch.randn(T, B, SIZE), torch.zeros(T, B, dtype=torch.bool)
        resets[0, 1] = True
        state = tuple(torch.full_like(part, torch.nan) for part in tensors(layer.initial_state(B)))
        output, _ = layer(x, state if len(state) > 1 else state[0], resets=resets)
        assert torch.equal(output[:, 1], layer(x)[0][:, 1])
        assert output[0, 0].isnan().all()


@pytest.mark.parametrize("unbatched", [False, True])
def test_rows_start_anew_with_a_state_that_is_given(unbatched):
    layer, x, resets = (
        unrolled.GRU(SIZE, 4, 2, bidirectional=True),
        torch.randn(T, B, SIZE),
        marks(),
    )
    state, anew = torch.randn(4, B, 4), torch.randn(4, B, 4, requires_grad=True)
    row, length = 1, T
    if unbatched:
        given = {"resets": resets[:, row], "resets_to": anew[:, row]}
        output = layer(x[:, row], state[:, row], **given)[0][:, None]
    else:
        output = layer(x, state, resets=resets, resets_to=anew)[0][:, row : row + 1]
    cuts = [0, *(t for t in range(1, length) if resets[t, row]), length]
    assert len(cuts) > 3
    for begin, end in pairwise(cuts):
        given = state if not begin and not resets[0, row] else anew
        alone, _ = layer(x[begin:end, row : row + 1], given[:, row : row + 1])
        assert torch.equal(output[begin:end], alone)
    (gradient,) = torch.autograd.grad(output.sum(), anew)
    assert gradient[:, row].abs().min() > 0
    with pytest.raises(ShapeError, match=r"state h must be \(4, 4, 4\), got \(4, 3, 4\)"):
        layer(x, state, resets=resets, resets_to=anew[:, :3])


def test_a_stream_of_any_layer_starts_again_with_what_it_begins_with():
    layer, x, resets = unrolled.TCN(SIZE, 4, 2), torch.randn(T, B, SIZE), marks()
    _, past = layer(torch.randn(20, B, SIZE))
    pushed, stepped = layer.stream(B), layer.stream(B)
    for stream in (pushed, stepped):
        stream.begin_with(lambda count: tuple(part[:, :count] for part in past))
    output = pushed.push(x, resets=resets)
    steps = [stepped.step(x_t, resets=at) for x_t, at in zip(x, resets, strict=True)]
    assert torch.equal(output, torch.stack(steps))
    last = max(t for t in range(T) if resets[t, 0])
    before = tuple(part[:, :1] for part in past)
    assert torch.equal(output[last:, :1], layer(x[last:, :1], before)[0])


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["LSTM", "GRU, both directions, stacked", "TCN"])
def test_no_mark_and_a_mark_at_every_step(kind, share):
    make, options = LAYERS[kind]
    layer, x = make(**options), torch.randn(T, B, SIZE)
    output, ends = layer(x, resets=marks(share=share))
    expected, expected_ends = layer(x) if share == 0.0 else layer(x.view(1, T * B, SIZE))
    assert torch.equal(output, expected.view(output.shape))
    for end, each in zip(tensors(ends), tensors(expected_ends), strict=True):
        assert torch.equal(end, each[:, -B:])


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("given", ["zeros", "a state"])
@pytest.mark.parametrize("both", [False, True])
def test_marks_of_the_first_step_alone_cut_nothing(both, given, steps, monkeypatch):
    """A policy that steps through episodes goes the way of a plain call, to the last bit."""
    torch.manual_seed(0)
    layer = unrolled.LSTM(SIZE, 5, bidirectional=both)
    x = torch.randn(steps, B, SIZE, requires_grad=True)
    state = state_of(layer, torch.Generator().manual_seed(1))
    anew = state_of(layer, torch.Generator().manual_seed(2)) if given == "a state" else None
    resets = torch.zeros(steps, B, dtype=torch.bool)
    resets[0, 1:3] = True

    def plain():
        parts = [part.clone() for part in state]
        for number, part in enumerate(parts):
            part[:, 1:3] = 0.0 if anew is None else anew[number][:, 1:3]
        return layer(x, tuple(parts))

    monkeypatch.setattr(Pieces, "of", None)
    expected, of_weights = values_and_gradients(layer, plain, x, state)
    marked = lambda: layer(x, state, resets=resets, resets_to=anew)  # noqa: E731
    values, weights = values_and_gradients(layer, marked, x, state)
    assert all(map(torch.equal, [*values, *weights], [*expected, *of_weights]))
    assert not values[-1][:, 1:3].any()  # no gradient passes a mark


def test_marks_past_the_end_of_a_row_do_not_count():
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[5:, 1] = resets[0, 3] = True
    for layer in (unrolled.LSTM(SIZE, 4, bidirectional=True), unrolled.TCN(SIZE, 4, 2)):
        x, state = torch.randn(T, B, SIZE), state_of(layer, torch.Generator().manual_seed(0))
        lengths = [12, 5, 7, 0]
        output, ends = layer(x, state, lengths=lengths, resets=resets)
        expected, expected_ends = layer(x, state, lengths=lengths)
        assert torch.equal(output, expected)
        for end, each in zip(tensors(ends), tensors(expected_ends), strict=True):
            assert torch.equal(end, each)


def test_marks_are_laid_out_as_the_input():
    resets, x = marks(), torch.randn(T, B, SIZE)
    for make in (lambda **o: unrolled.GRU(SIZE, 4, **o), lambda **o: unrolled.TCN(SIZE, 4, 2, **o)):
        torch.manual_seed(0)
        layer = make()
        torch.manual_seed(0)
        other = make(batch_first=True)
        expected, _ = layer(x, resets=resets)
        assert torch.equal(other(x.transpose(0, 1), resets=resets.T)[0].transpose(0, 1), expected)
        assert torch.equal(layer(x[:, 0], resets=resets[:, 0])[0], expected[:, 0])
        assert torch.equal(layer(x, resets=resets.numpy())[0], expected)
        assert torch.equal(layer(x, resets=resets.tolist())[0], expected)


def test_the_rows_of_many_pieces_need_no_matrix_of_pieces_and_steps():
    num_steps, batch_size = 20_000, 2  # 20,000 pieces of a step, and one of 20,000
    resets = torch.zeros(num_steps, batch_size, dtype=torch.bool)
    resets[:, 0] = True
    pieces = Pieces.of(None, resets)
    rows = RaggedRows.of_pieces(pieces, num_steps, batch_size)
    assert rows.batch_sizes == (20_001,) + (1,) * 19_999
    layer, x = unrolled.GRU(SIZE, 4), torch.randn(num_steps, batch_size, SIZE)
    with torch.no_grad():
        output, _ = layer(x, resets=resets)
        assert torch.equal(output[:, 1:], layer(x[:, 1:])[0])
        assert torch.equal(output[:, 0], layer(x[None, :, 0])[0][0])


# ---- Dropout, second derivatives, what looks inside ----------------------------------------------


def test_second_derivatives_by_pieces():
    resets = marks(shape=(5, 2))
    for layer in (unrolled.GRU(SIZE, 3).double(), unrolled.TCN(SIZE, 3, 2).double()):
        x = torch.randn(5, 2, SIZE, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradgradcheck(
            lambda x, of=layer: of(x, resets=resets)[0], x, fast_mode=True
        )


def test_a_network_with_dropout_has_a_second_derivative_by_pieces():
    layer, resets = unrolled.TCN(SIZE, 8, 2, dropout=0.3), marks()
    x = torch.randn(T, B, SIZE, requires_grad=True)
    output, _ = layer(x, resets=resets)
    (by_kernel,) = torch.autograd.grad(output.square().sum(), x, retain_graph=True)
    (by_torch,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
    torch.testing.assert_close(by_kernel, by_torch, rtol=1e-4, atol=1e-5)
    by_torch.square().sum().backward()
    assert x.grad.any()


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # by forward mode
def test_torch_func_sees_through_pieces():
    layer, resets, x = unrolled.GRU(SIZE, 4), marks(), torch.randn(T, B, SIZE)

    def output(x):
        return layer(x, resets=resets)[0]

    forwards = torch.func.jacfwd(lambda x: output(x).sum(0))(x)
    backwards = torch.func.jacrev(lambda x: output(x).sum(0))(x)
    torch.testing.assert_close(forwards, backwards)
    both = torch.func.vmap(output)(torch.stack([x, 2 * x]))
    torch.testing.assert_close(both[1], output(2 * x))


def test_a_trace_of_a_row_that_is_cut_is_that_of_its_pieces():
    layer = unrolled.GRU(SIZE, 4, bidirectional=True)
    x, state, resets, lengths = (
        torch.randn(T, B, SIZE),
        torch.randn(2, B, 4),
        marks(),
        [12, 0, 7, 9],
    )
    resets[0] = torch.tensor([True, False, False, True])
    records = unrolled.trace(layer, x, state, lengths=lengths, resets=resets)
    for direction, record in enumerate(records):
        assert record.lengths.tolist() == lengths
        before = states_before(record, "h")
        for row, length in enumerate(lengths):
            cuts = [0, *(t for t in range(1, length) if resets[t, row]), length]
            for begin, end in pairwise(cuts):
                if begin == end:
                    continue
                given = state[:, row : row + 1] if not begin and not resets[0, row] else None
                alone = unrolled.trace(layer, x[begin:end, row : row + 1], given)[direction]
                assert torch.equal(states_before(alone, "h")[:, 0], before[begin:end, row])
                for name, value in alone.values.items():
                    assert torch.equal(value[:, 0], record.values[name][begin:end, row])


# ---- Streams -------------------------------------------------------------------------------------

STREAMED = {
    "LSTM": lambda: unrolled.LSTM(SIZE, 20, 2),
    "GRU": lambda: unrolled.GRU(SIZE, 20, batch_first=True),
    "a cell of one's own": lambda: unrolled.Recurrent(leaky, SIZE, 9),
    "TCN": lambda: unrolled.TCN(SIZE, 16, 2, 3, batch_first=True),
}


def streams_alone(layer, x, resets, **options):
    """Return what streams say of which a new one is opened at each mark, (T, B, H)."""
    columns = []
    for row in range(B):
        stream, steps = layer.stream(**options), []
        for t in range(T):
            stream = layer.stream(**options) if resets[t, row] else stream
            steps.append(stream.step(x[t, row : row + 1].clone()))
        columns.append(torch.stack(steps))
    return torch.cat(columns, 1)


@pytest.mark.parametrize("kind", STREAMED)
def test_streams_start_again_at_marks(kind):
    layer, x, resets = STREAMED[kind](), torch.randn(T, B, SIZE), marks()
    expected = streams_alone(layer, x, resets)

    def laid_out(tensor):
        return tensor.transpose(0, 1) if layer.batch_first else tensor

    stream = layer.stream(B)
    steps = [stream.step(x[t], resets=resets[t]) for t in range(4)]
    out = torch.empty_like(steps[0])
    steps += [stream.step(x[4], out=out, resets=resets[4].numpy()).clone()]
    chunk = stream.push(laid_out(x[5:9]), resets=laid_out(resets[5:9]))
    rest = stream.push(laid_out(x[9:]).numpy().copy(), resets=laid_out(resets[9:]).numpy())
    parts = [torch.stack(steps), laid_out(chunk), laid_out(torch.from_numpy(rest))]
    assert torch.equal(torch.cat(parts), expected)

    pool = layer.streams(B + 2)
    numbers = [pool.join() for _ in range(B + 1)]
    rows = [numbers[n] for n in (3, 0, 4, 1)]
    step = pool.step(x[0], rows, resets=resets[0].tolist())
    chunk = pool.push(laid_out(x[1:]), rows, resets=laid_out(resets[1:]))
    assert torch.equal(torch.cat([step[None], laid_out(chunk)]), expected)


def test_streams_of_smaller_weights_start_again_at_marks():
    layer, x, resets = unrolled.LSTM(SIZE, 20), torch.randn(T, B, SIZE), marks()
    expected = streams_alone(layer, x, resets, weights="int8")
    assert torch.equal(layer.stream(B, weights="int8").push(x, resets=resets), expected)


def test_a_step_that_fails_starts_nothing_again():
    for layer in (unrolled.GRU(SIZE, 4), unrolled.TCN(SIZE, 4, 2)):
        stream = layer.stream(B)
        stream.push(torch.randn(3, B, SIZE))
        before = [part.clone() for part in tensors(stream.state)]
        with pytest.raises(ShapeError):
            stream.step(torch.randn(B, SIZE + 1), resets=[True] * B)
        for part, old in zip(tensors(stream.state), before, strict=True):
            assert torch.equal(part, old)


# ---- What is refused -----------------------------------------------------------------------------

WRONG = {
    "another shape": (torch.zeros(B, T, dtype=torch.bool), r"\(12, 4\).*got torch.bool \(4, 12\)"),
    "a step's": (torch.zeros(B, dtype=torch.bool), r"\(12, 4\).*got torch.bool \(4,\)"),
    "floats": (torch.zeros(T, B), r"torch.bool.*got torch.float32"),
    "ones and zeros": (torch.zeros(T, B, dtype=torch.int64), r"got torch.int64.*resets != 0"),
    "an array of numbers": (np.zeros((T, B)), r"got torch.float64"),
    "another device": (torch.zeros(T, B, dtype=torch.bool, device="meta"), r"on cpu, got.*on meta"),
    "a truth": (True, r"got torch.bool \(\)"),
    "a word": ("all", "got a str"),
    "uneven lists": ([[True], [True, False]], "got a list"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_marks_are_refused_in_one_line(wrong):
    resets, message = WRONG[wrong]
    for layer in (unrolled.LSTM(SIZE, 4), unrolled.TCN(SIZE, 4, 2)):
        pool = layer.streams(B)
        for _ in range(B):
            pool.join()
        for call in (layer, layer.stream(B).push, pool.push):
            with pytest.raises(ShapeError, match=f"resets must be.*{message}") as caught:
                call(torch.zeros(T, B, SIZE), resets=resets)
            assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated")
def test_marks_are_refused_where_there_is_no_place_for_them():
    packed = pack_sequence([torch.zeros(3, SIZE), torch.zeros(2, SIZE)])
    x, resets = torch.zeros(T, B, SIZE), marks()
    for layer in (unrolled.GRU(SIZE, 4), unrolled.TCN(SIZE, 4, 2)):
        with pytest.raises(ShapeError, match="needs a padded batch, got a PackedSequence"):
            layer(packed, resets=[[True, False]] * 3)
        with pytest.raises(OptionError, match="resets= cannot be traced, compiled or exported"):
            torch.jit.trace(lambda x, of=layer: of(x, resets=resets)[0], x)
        with pytest.raises(OptionError, match="resets= cannot be traced, compiled or exported"):
            torch.export.export(layer, (x,), {"resets": resets})
    with pytest.raises(OptionError, match="cannot be looked into with resets="):
        unrolled.trace(unrolled.TCN(SIZE, 4, 2), x, resets=resets)


def test_an_input_of_one_dimension_is_an_error_of_the_input():
    layer = unrolled.LSTM(4, 6)
    with pytest.raises(ShapeError, match=r"input must be \(T, B, 4\).*got \(4,\)"):
        layer(torch.zeros(4), resets=torch.zeros(1, dtype=torch.bool))
