"""Inputs of every step beside x: held against a loop by hand, in every way that layers run."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import sigmoid, tanh

import unrolled
from unrolled.errors import OptionError, ShapeError
from unrolled.kernels import using_path
from unrolled.kernels.running.paths import kernel_of
from unrolled.networks import LayerOptions, find_layer
from unrolled.wrappers import Zoneout

T, B, I, H = 6, 5, 3, 7  # noqa: E741 - the letters of all shapes
LENGTHS = [4, 0, 6, 1, 6]


@unrolled.cell(gates="f g a b", states="h c", inputs="dt mask")
def timed(x, u, h, c, dt, mask, *, rate=0.3):
    """Decay by elapsed time, as GRU-D; a mask and a blend of two heads by time, as CfC."""
    c = c * torch.exp(-torch.relu(rate * dt))
    f = sigmoid(x.f + u.f)
    c = f * c + (1 - f) * tanh(x.g + u.g) * mask
    blend = sigmoid(-(x.a + u.a) * dt)
    return dict(h=blend * tanh(c) + (1 - blend) * tanh(x.b + u.b), c=c, f=f, dt=dt)


@unrolled.cell(gates="r n", applied="n", inputs="x_t noise")
def raw(x, u, h, x_t, noise):
    """The input itself before and after a product with a vector of the equations' own."""
    r = sigmoid(x.r + u.r + 0.3 * noise)
    n = tanh(x.n + u.n(r * h + 0.2 * x_t * noise))
    return dict(h=r * n + (1 - r) * x_t, n=n)


@unrolled.cell(gates="z f r", states="h c", recurrent="", inputs="x_t")
def sru(x, c, x_t):
    f, r = sigmoid(x.f), sigmoid(x.r)
    c = f * c + (1 - f) * x.z
    return dict(h=r * tanh(c) + (1 - r) * x_t, c=c)


def timed_by_hand(w, x, given, states):
    """One step of one row, in numbers and matrices alone; w: [W_x, W_h, b_x, b_h, rate]."""
    h, c = states
    dt, mask = given
    f, g, a, b = (w[0] @ x + w[2] + w[1] @ h + w[3]).view(4, H)
    c = c * (-(w[4] * dt).clamp(min=0)).exp()
    keep = 1 / (1 + (-f).exp())
    c = keep * c + (1 - keep) * g.tanh() * mask
    blend = 1 / (1 + (a * dt).exp())
    h = blend * c.tanh() + (1 - blend) * b.tanh()
    return h, c


def raw_by_hand(w, x, given, states):
    (h,), (noise,) = states, given
    x_r, x_n = (w[0] @ x + w[2]).view(2, H)
    (u_r, u_n), (b_r, b_n) = w[1].view(2, H, H), w[3].view(2, H)
    r = 1 / (1 + (-(x_r + u_r @ h + b_r + 0.3 * noise)).exp())
    n = (x_n + u_n @ (r * h + 0.2 * x * noise) + b_n).tanh()
    return (r * n + (1 - r) * x,)


def sru_by_hand(w, x, given, states):
    assert not given
    _, c = states
    z, f, r = (w[0] @ x + w[1]).view(3, H)
    f, r = 1 / (1 + (-f).exp()), 1 / (1 + (-r).exp())
    c = f * c + (1 - f) * z
    return r * c.tanh() + (1 - r) * x, c


BY_HAND = {"timed": timed_by_hand, "raw": raw_by_hand, "sru": sru_by_hand}
CELLS = [timed, raw, sru]
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)


def layer_of(cell, num_layers=1, bidirectional=False, **options):
    torch.manual_seed(3)
    input_size = H if cell.reads_raw_input else I
    layer = unrolled.Recurrent(
        cell, input_size, H, num_layers, bidirectional=bidirectional, **options
    )
    assert kernel_of(cell) is not None
    return layer


def data_of(layer, dtype=torch.float32):
    """Return x and the inputs of its steps, all with gradients: a number, and a number a unit."""
    generator = torch.Generator().manual_seed(4)
    shapes = {"x": (T, B, layer.input_size)}
    shapes |= {"dt": (T, B), "mask": (T, B, H), "noise": (T, B, 1)}
    names = ("x", *layer.cell.inputs)
    drawn = {name: torch.randn(shapes[name], generator=generator) for name in names}
    if "dt" in drawn:
        drawn["dt"] = drawn["dt"].abs() + 0.1
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in drawn.items()}


def plain(data):
    return {name: tensor.detach() for name, tensor in data.items()}


def by_hand(layer, data, lengths):
    """The output and the states at the end by loops over layers, directions, rows and steps."""
    x, *given = data.values()
    given = [part.unsqueeze(-1) if part.dim() == 2 else part for part in given]
    directions = 1 + layer.bidirectional
    ends = []
    for k in range(layer.num_layers):
        outputs = []
        for direction in range(directions):
            weights = layer.weights_of(layer.suffixes[k * directions + direction]).tensors()
            rows, ended = [], []
            for b, length in enumerate(lengths):
                states = [x.new_zeros(H) for _ in layer.cell.states]
                steps = [x.new_zeros(H)] * T
                for t in reversed(range(length)) if direction else range(length):
                    of_step = [part[t, b] for part in given]
                    states = BY_HAND[layer.cell.name](weights, x[t, b], of_step, states)
                    steps[t] = states[0]
                rows.append(torch.stack(steps))
                ended.append(torch.stack(list(states)))
            outputs.append(torch.stack(rows, 1))
            ends.append(torch.stack(ended, 1))
        x = torch.cat(outputs, -1)
    return x, torch.stack(ends, 1)


def gradients(layer, output, state, data):
    state = state if isinstance(state, torch.Tensor) else torch.stack(list(state))
    state = state.reshape(-1, *state.shape[-3:])
    total = (output * torch.arange(1.0, output.numel() + 1).view(output.shape).sin()).sum()
    total = total + (state * state).sum()
    found = torch.autograd.grad(total, [*data.values(), *layer.parameters()], allow_unused=True)
    return [output, state, *found]


def assert_near(got, expected, tolerance):
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        distance = float((a.detach().double() - b.detach().double()).norm())
        assert distance <= tolerance * (1e-3 + float(b.detach().norm()))


WAYS = [(1, False, None), (1, True, LENGTHS), (2, False, LENGTHS), (2, True, LENGTHS)]


@each_cell
@pytest.mark.parametrize(("num_layers", "bidirectional", "lengths"), WAYS)
def test_values_and_gradients_are_those_of_a_loop_by_hand(cell, num_layers, bidirectional, lengths):
    if cell.reads_raw_input and num_layers == 2 and bidirectional:
        pytest.skip("refused: the second layer would read 2 H")
    layer = layer_of(cell, num_layers, bidirectional)
    exact_layer = copy.deepcopy(layer).double()
    exact_data = data_of(layer, torch.float64)
    exact = by_hand(exact_layer, exact_data, lengths or [T] * B)
    expected = gradients(exact_layer, *exact, exact_data)
    for path, dtype, tolerance in (
        ("kernel", torch.float32, 1e-5),
        ("reference", torch.float64, 1e-12),
    ):
        layer, data = layer.to(dtype), data_of(layer, dtype)
        with using_path(path):
            output, state = layer(data["x"], lengths=lengths, **given_of(data))
        assert_near(gradients(layer, output, state, data), expected, tolerance)


def given_of(data):
    return {name: tensor for name, tensor in data.items() if name != "x"}


def test_the_gradient_of_a_number_is_that_of_finite_differences():
    layer = layer_of(timed).double()
    data = data_of(layer, torch.float64)

    def output_by(dt, mask):
        return layer(data["x"], lengths=LENGTHS, dt=dt, mask=mask)[0]

    assert torch.autograd.gradcheck(output_by, (data["dt"], data["mask"]), fast_mode=True)


def test_second_derivatives_are_those_of_the_loop():
    layer = layer_of(raw)

    def second(path):
        data = data_of(layer)
        with using_path(path):
            output, _ = layer(data["x"], noise=data["noise"])
            (first,) = torch.autograd.grad(output.sin().sum(), data["noise"], create_graph=True)
            return torch.autograd.grad(first.cos().sum(), [*data.values(), layer.weight_hh_l0])

    assert_near(second("kernel"), second("reference"), 1e-5)


def test_one_wanted_gradient_needs_no_other():
    layer = layer_of(timed).requires_grad_(False)
    data = data_of(layer)
    output, _ = layer(data["x"], **given_of(data))
    whole = torch.autograd.grad(output.sum(), list(data.values()))
    for index, name in enumerate(data):
        alone = plain(data)
        alone[name].requires_grad_()
        output, _ = layer(alone["x"], **given_of(alone))
        (gradient,) = torch.autograd.grad(output.sum(), alone[name])
        assert torch.equal(gradient, whole[index])


@each_cell
def test_rows_do_not_depend_on_their_company_nor_on_what_lies_past_their_end(cell):
    layer = layer_of(cell, 2)
    data = plain(data_of(layer))
    past = torch.arange(T)[:, None] >= torch.tensor(LENGTHS)
    padded = {}
    for name, part in data.items():
        mask = past[(...,) + (None,) * (part.dim() - 2)].expand_as(part)
        padded[name] = part.masked_fill(mask, torch.nan)
    with torch.no_grad():
        output, _ = layer(padded["x"], lengths=LENGTHS, **given_of(padded))
        for row, length in enumerate(LENGTHS):
            if length:
                alone = {name: part[:length, row : row + 1] for name, part in data.items()}
                expected, _ = layer(alone["x"], **given_of(alone))
                assert torch.equal(output[:length, row], expected[:, 0])


def marks(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(6)) < 0.4


def pieces_of(data, lengths, resets):
    """Return x and the inputs of each piece that marks cut rows into, with its row and steps."""
    pieces = []
    for row, length in enumerate(lengths):
        cuts = [0, *(t for t in range(1, length) if resets[t, row]), length]
        for begin, end in pairwise(cuts if length else []):
            part = {name: tensor[begin:end, row : row + 1] for name, tensor in data.items()}
            pieces.append((row, begin, end, part))
    return pieces


@each_cell
def test_marks_cut_inputs_as_they_cut_x(cell):
    layer = layer_of(cell, 2, bidirectional=not cell.reads_raw_input)
    data, resets = data_of(layer), marks(T, B)
    output, _ = layer(data["x"], lengths=LENGTHS, resets=resets, **given_of(data))
    alone = torch.zeros_like(output)
    for row, begin, end, part in pieces_of(data, LENGTHS, resets):
        alone[begin:end, row : row + 1] = layer(part["x"], **given_of(part))[0]
    assert torch.equal(output, alone)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(7))
    cut, whole = (
        torch.autograd.grad((result * weights).sum(), list(data.values()))
        for result in (output, alone)
    )
    assert_near(cut, whole, 1e-6)


def test_a_trace_of_rows_that_are_cut_has_the_inputs_where_they_were_given():
    layer = layer_of(timed)
    data, resets = plain(data_of(layer)), marks(T, B)
    (record,) = unrolled.trace(layer, data["x"], resets=resets, **given_of(data))
    assert torch.equal(record.inputs["dt"], data["dt"][..., None].expand(T, B, H))
    assert torch.equal(record.inputs["mask"], data["mask"])
    assert torch.equal(record.resets[1:], resets[1:])


@each_cell
@pytest.mark.parametrize("path", ["kernel", "reference"])
def test_streams_start_again_at_marks_and_read_inputs(cell, path):
    layer = layer_of(cell)
    data, resets = plain(data_of(layer)), marks(T, B)
    with using_path(path):
        whole, _ = layer(data["x"], resets=resets, **given_of(data))
        stepped, pushed, pool = layer.stream(B), layer.stream(B), layer.streams(B)
        rows = [pool.join() for _ in range(B)]
        steps = [{name: tensor[t] for name, tensor in data.items()} for t in range(T)]
        outputs = [stepped.step(**step, resets=resets[t]) for t, step in enumerate(steps)]
        parts = [
            {name: tensor[p] for name, tensor in data.items()} for p in (slice(4), slice(4, T))
        ]
        chunks = [
            pushed.push(chunk=part.pop("x"), resets=r, **part)
            for part, r in zip(parts, (resets[:4], resets[4:]), strict=True)
        ]
        own = [
            pool.step(steps[t]["x"], rows, resets=resets[t], **given_of(steps[t])) for t in range(T)
        ]
    for result in (torch.stack(outputs), torch.cat(chunks), torch.stack(own)):
        if path == "kernel":
            assert torch.equal(result, whole)
        torch.testing.assert_close(result, whole)


def test_a_step_with_marks_that_lacks_an_input_starts_nothing_again():
    layer = layer_of(timed)
    step = {name: tensor[0] for name, tensor in plain(data_of(layer)).items()}
    stream, pool = layer.stream(B), layer.streams(B)
    rows = [pool.join() for _ in range(B)]
    stream.step(**step)
    pool.step(step["x"], rows, **given_of(step))
    before = [part.clone() for part in stream.state]
    everyone = torch.ones(B, dtype=torch.bool)
    for wrong in ({"dt": step["dt"]}, {**given_of(step), "mask": step["mask"][:, :2]}):
        with pytest.raises((OptionError, ShapeError), match="mask"):
            stream.step(step["x"], resets=everyone, **wrong)
        with pytest.raises((OptionError, ShapeError), match="mask"):
            pool.step(step["x"], rows, resets=everyone, **wrong)
    assert all(map(torch.equal, stream.state, before))


@each_cell
def test_streams_and_chunks_give_the_bits_of_the_whole(cell):
    layer = layer_of(cell, 2)
    data = plain(data_of(layer))
    with torch.no_grad():
        whole, end = layer(data["x"], **given_of(data))
    for cut in (1, 4):
        stream, pieces = layer.stream(B), []
        for part in ({n: d[:cut] for n, d in data.items()}, {n: d[cut:] for n, d in data.items()}):
            pieces.append(stream.push(part["x"], **given_of(part)))
        assert torch.equal(torch.cat(pieces), whole)
    stream, arrays = layer.stream(B), layer.stream(B)
    pool = layer.streams(9)
    numbers = [pool.join() for _ in range(B)][::-1]
    for t in range(T):
        step = {name: part[t] for name, part in data.items()}
        assert torch.equal(stream.step(step["x"], **given_of(step)), whole[t])
        out = np.empty((B, H), np.float32)
        as_arrays = {name: part.numpy() for name, part in step.items()}
        assert arrays.step(as_arrays["x"], out=out, **given_of(as_arrays)) is out
        np.testing.assert_array_equal(out, whole[t])
        turned = {name: part.flip(0) for name, part in step.items()}
        assert torch.equal(pool.step(turned["x"], numbers, **given_of(turned)).flip(0), whole[t])
    for got, expected in zip(
        torch.as_tensor(stream.state) if cell is raw else stream.state, end, strict=True
    ):
        assert torch.equal(got, expected)


def test_streams_without_a_kernel_and_of_smaller_weights_read_them_too():
    layer = layer_of(timed, 2)
    data = plain(data_of(layer))
    with torch.no_grad():
        whole, _ = layer(data["x"], **given_of(data))
    for make in (
        lambda: layer.stream(B, weights="bf16"),
        lambda: copy.deepcopy(layer).stream(B),
    ):
        stream = make()
        with using_path("kernel" if stream._weight_cache.weights != "f32" else "reference"):
            steps = [stream.step(x, dt=dt, mask=m) for x, dt, m in zip(*data.values(), strict=True)]
        assert_near(steps, whole, 2e-2 if stream._weight_cache.weights != "f32" else 1e-5)
    pool = layer.streams(2)
    row = pool.join()
    one = {name: part[:, 2:3] for name, part in data.items()}
    with using_path("reference"):
        pushed = pool.push(one["x"], [row], **given_of(one))
    assert_near([pushed], [whole[:, 2:3]], 1e-5)


def test_both_layouts_and_no_batch_are_one_thing():
    layer = layer_of(timed)
    turned = copy.deepcopy(layer)
    turned.batch_first = True
    data = plain(data_of(layer))
    output, _ = layer(data["x"], **given_of(data))
    x, mask = data["x"].transpose(0, 1), data["mask"].transpose(0, 1)
    by_rows, _ = turned(x, dt=data["dt"].T, mask=mask)
    assert torch.equal(by_rows.transpose(0, 1), output)
    one, _ = layer(data["x"][:, 0], dt=data["dt"][:, 0], mask=data["mask"][:, 0])
    assert torch.equal(one, output[:, 0])
    number, _ = layer(data["x"], dt=data["dt"][..., None], mask=data["mask"])
    vector, _ = layer(data["x"], dt=data["dt"][..., None].expand(T, B, H), mask=data["mask"])
    assert torch.equal(number, output)
    assert torch.equal(vector, output)


def test_nan_in_an_input_stays_in_its_row_from_its_step_on():
    layer = layer_of(timed)
    data = plain(data_of(layer))
    clean, _ = layer(data["x"], **given_of(data))
    data["dt"][3, 2] = torch.nan
    output, _ = layer(data["x"], **given_of(data))
    touched = torch.zeros(T, B, dtype=torch.bool)
    touched[3:, 2] = True
    assert output[touched].isnan().all()
    assert torch.equal(output[~touched], clean[~touched])


def test_what_was_recorded_is_what_was_given():
    layer = layer_of(timed, 2, bidirectional=True)
    data = plain(data_of(layer))
    records = unrolled.trace(layer, data["x"], lengths=LENGTHS, **given_of(data))
    valid = torch.arange(T)[:, None] < torch.tensor(LENGTHS)
    for record in records:
        expected = data["dt"].where(valid, 0.0)[..., None].expand(T, B, H)
        assert torch.equal(record.inputs["dt"], expected)
        assert torch.equal(record.values["dt"], expected)  # the cell returns it, too
    assert [record.input.shape[2] for record in records] == [I, I, 2 * H, 2 * H]
    assert list(unrolled.inspection.pre_activations(records[0]))[:2] == ["x.f", "x.g"]
    assert unrolled.inspection.bounds(raw)["n"] == (-1.0, 1.0)


class Given(torch.nn.Module):
    """A layer whose inputs come in order, as exporters have them."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, *values):
        x, *given = values
        return self.layer(x, **dict(zip(self.layer.cell.inputs, given, strict=True)))[0]


@pytest.mark.parametrize("free", [False, True])
def test_torch_compile_and_export_give_the_bits_of_the_layer(free):
    layer = layer_of(timed, 2)
    data = data_of(layer)
    torch.compiler.reset()
    if free:  # x alone, as when another layer has been compiled before with another number of steps
        torch._dynamo.maybe_mark_dynamic(data["x"], 0)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    lengths = torch.tensor(LENGTHS)
    expected, got = (
        gradients(layer, *run(data["x"], lengths=lengths, **given_of(data)), data)
        for run in (layer, compiled)
    )
    assert all(map(torch.equal, got, expected))
    program = torch.export.export(Given(layer), tuple(plain(data).values()))
    with torch.no_grad():
        assert torch.equal(program.module()(*data.values()), Given(layer)(*data.values()))


def test_types_of_half_the_width_are_taken():
    layer = layer_of(timed).bfloat16()
    data = plain(data_of(layer, torch.bfloat16))
    assert layer(data["x"], **given_of(data))[0].dtype is torch.bfloat16
    wide, data = layer.float(), plain(data_of(layer))
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = wide(data["x"].bfloat16(), dt=data["dt"], mask=data["mask"].bfloat16())
    assert_near([output], [wide(data["x"].bfloat16().float(), **given_of(data))[0]], 2e-2)


def test_a_short_call_reads_x_itself():
    layer = layer_of(sru)
    x = torch.randn(2, 1, H)
    with torch.no_grad():
        first, again = layer(x)[0], layer(x)[0]
    assert torch.equal(first, again)
    plan = layer._short_calls._plan
    assert plan is not None
    assert layer_of(timed)._short_call(torch.randn(2, 1, I), None) is None


def test_a_cell_with_inputs_is_a_constant_as_others():
    assert pickle.loads(pickle.dumps(timed)) is timed
    layer = pickle.loads(pickle.dumps(layer_of(timed)))
    data = plain(data_of(layer))
    assert torch.equal(
        layer(data["x"], **given_of(data))[0], layer_of(timed)(data["x"], **given_of(data))[0]
    )


# ---- What is refused -----------------------------------------------------------------------------

x, dt, mask = torch.zeros(T, B, I), torch.zeros(T, B), torch.zeros(T, B, H)
WRONG = [
    ({}, OptionError, "the input 'dt' is missing: the cell reads it at all steps"),
    ({"dt": dt, "mask": None}, OptionError, "the input 'mask' is missing"),
    ({"dt": dt, "mask": mask, "gap": dt}, OptionError, "takes no input 'gap'.*dt, mask"),
    ({"dt": dt[0], "mask": mask}, ShapeError, r"dt must be \(6, 5\), .* got \(5,\)"),
    ({"dt": dt.T, "mask": mask}, ShapeError, r"dt must be .*\(6, 5, 7\), got \(5, 6\)"),
    ({"dt": mask[..., :2], "mask": mask}, ShapeError, r"got \(6, 5, 2\)"),
    ({"dt": dt.double(), "mask": mask}, ShapeError, r"dt is torch.float64.*dt.to\(torch.float32"),
    ({"dt": dt, "mask": mask > 0}, ShapeError, r"mask is torch.bool.*mask.to\(torch.float32"),
    ({"dt": dt.to("meta"), "mask": mask}, ShapeError, "dt is on meta, the input is on cpu"),
    ({"dt": 0.1, "mask": mask}, ShapeError, "dt must be a tensor as the input is, got a float"),
    ({"dt": dt.numpy(), "mask": mask}, ShapeError, "dt must be a tensor .*, got a numpy array"),
]


@pytest.mark.parametrize(("given", "kind", "message"), WRONG)
def test_what_does_not_fit_is_told_in_one_line(given, kind, message):
    layer = layer_of(timed)
    with pytest.raises(kind, match=f"^Recurrent: .*{message}") as caught:
        layer(x, **given)
    assert "\n" not in str(caught.value)
    if "dt" in given and isinstance(given["dt"], torch.Tensor) and given["dt"].shape[0] == T:
        of_step = {name: v if v is None else v[0] for name, v in given.items()}
        with pytest.raises(kind, match=r"^Recurrent.stream: "):
            layer.stream(B).step(x[0], **of_step)


def test_an_input_of_another_width_is_still_told_of_as_ever():
    layer, wide = layer_of(timed), torch.zeros(T, B, I + 1)
    for call in (
        lambda: layer(wide, dt=dt, mask=mask),
        lambda: layer.stream(B).step(wide[0], dt=dt[0], mask=mask[0]),
        lambda: layer.stream(B).push(wide, dt=dt, mask=mask),
    ):
        with pytest.raises(ShapeError, match=r"input must be \(T, B, 3\).*, got \(.*4\)"):
            call()
    pool = layer.streams(B)
    rows = [pool.join() for _ in range(B)]
    with pytest.raises(ShapeError, match=r"must be \(5, 3\) for 5 streams, got \(5, 4\)"):
        pool.step(wide[0], rows, dt=dt[0], mask=mask[0])


def test_layers_whose_cell_declares_none_take_none():
    with pytest.raises(OptionError, match=r"^LSTM: takes no input 'dt' .*declares: none"):
        unrolled.LSTM(I, H)(x, dt=dt)
    with pytest.raises(OptionError, match=r"^LSTM.stream: takes no input 'dt'"):
        unrolled.LSTM(I, H).stream(B).step(x[0], dt=dt[0])
    with pytest.raises(OptionError, match=r"^TCN.streams: takes no input 'dt'"):
        unrolled.TCN(I, H).eval().streams(B).step(x[0], dt=dt[0])
    layer = layer_of(sru)
    with pytest.raises(OptionError, match=r"takes no input 'x_t' .*is the input itself"):
        layer(torch.zeros(T, B, H), x_t=mask)


def test_inputs_are_packed_as_x_is():
    layer = layer_of(timed, 2, True)
    data = plain(data_of(layer))
    lengths = [4, 2, 6, 1, 6]
    expected, end = layer(data["x"], lengths=lengths, **given_of(data))
    rnn = torch.nn.utils.rnn
    packed = {
        name: rnn.pack_padded_sequence(part, torch.tensor(lengths), enforce_sorted=False)
        for name, part in data.items()
    }

    def run(x, dt, mask):
        output, state = layer(x, dt=dt, mask=mask)
        return rnn.pad_packed_sequence(output)[0], state

    for call in (run, torch.compile(run, backend="eager")):
        output, state = call(packed["x"], packed["dt"], packed["mask"])
        assert torch.equal(output, expected)
        assert torch.equal(state.c, end.c)


def test_none_is_the_default_beside_a_packed_sequence_too():
    layer = unrolled.Recurrent("phased_lstm", I, H)
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3, I), torch.ones(2, I)])
    assert torch.equal(layer(packed, dt=None)[0].data, layer(packed)[0].data)


def test_what_cannot_carry_them_says_so():
    layer = layer_of(timed)
    packed = torch.nn.utils.rnn.pack_sequence([torch.zeros(3, I)])
    with pytest.raises(ShapeError, match="dt must be a PackedSequence as the input is, got a Ten"):
        layer(packed, dt=dt, mask=mask)
    other = torch.nn.utils.rnn.pack_sequence([torch.zeros(2)])
    with pytest.raises(ShapeError, match="dt is packed for other rows than the input"):
        layer(packed, dt=other, mask=packed)
    with pytest.raises(
        ShapeError, match=r"mask must be \(3,\), \(3, 1\) or \(3, 7\), got \(3, 3\)"
    ):
        layer(packed, dt=torch.nn.utils.rnn.pack_sequence([torch.zeros(3)]), mask=packed)
    with pytest.raises(OptionError, match="the input 'dt' is missing"):
        layer(packed)
    with pytest.raises(OptionError, match=r"bind takes x alone, and each step reads dt, mask too"):
        layer.stream(B).bind(torch.zeros(B, I), torch.zeros(B, H))


def test_no_task_trains_a_cell_that_reads_what_it_has_not():
    with pytest.raises(OptionError, match=r"timed reads dt, mask at every step beside x, which no"):
        LayerOptions(cell=timed)
    assert find_layer(timed).cell is timed
    assert LayerOptions(cell=sru).kind.cell is sru


@unrolled.cell(gates="a", inputs="dt=0.5")
def leaky(x, u, h, dt):
    return dict(h=h + dt * tanh(x.a + u.a - h))


def test_an_input_with_a_default_is_that_number_where_it_is_not_given():
    torch.manual_seed(3)
    layer, x = (
        unrolled.Recurrent(leaky, I, H, num_layers=2, bidirectional=True),
        torch.randn(T, B, I),
    )
    half = torch.full((T, B), 0.5)
    expected, _ = layer(x, dt=half, lengths=LENGTHS)
    assert torch.equal(layer(x, lengths=LENGTHS)[0], expected)
    assert not torch.equal(layer(x, dt=2 * half, lengths=LENGTHS)[0], expected)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, [T] * B)
    output, _ = torch.nn.utils.rnn.pad_packed_sequence(layer(packed)[0])
    assert torch.equal(output, layer(x, dt=half)[0])
    layer = unrolled.Recurrent(leaky, I, H)
    expected, _ = layer(x, dt=half)
    model = torch.nn.Sequential(layer)
    for stream in (layer.stream(B), unrolled.stream(model, B)):
        assert torch.equal(torch.stack([stream.step(x_t) for x_t in x]), expected)
    wrapped = Zoneout(layer, 0.0).eval()
    assert wrapped.layer.cell.input_defaults == {"dt": 0.5}
    assert torch.equal(wrapped(x)[0], expected)
    assert LayerOptions(cell=leaky).kind.cell is leaky


def test_x_itself_is_read_by_layers_of_one_width_alone():
    with pytest.raises(OptionError, match="reads x_t, a number for each of its 7 units, and input"):
        unrolled.Recurrent(sru, 3, 7)
    with pytest.raises(OptionError, match="layer 1 reads 14"):
        unrolled.Recurrent(sru, 7, 7, num_layers=2, bidirectional=True)


def declared(inputs, function):
    return lambda: unrolled.cell(gates="a", inputs=inputs)(function)


def with_dt(x, u, h, dt):
    return dict(h=x.a + u.a + dt)


def with_default(x, u, h, *, dt=1.0):
    return dict(h=x.a + u.a + dt)


def without(x, u, h):
    return dict(h=x.a + u.a)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (declared("", with_dt), r"argument 'dt' is neither x, u nor a state.*inputs=\"dt\""),
        (declared("dt", without), "input 'dt' is no argument of the equations"),
        (declared("dt", with_default), "input 'dt' has a default"),
        (declared("dt=", with_dt), "input 'dt' has the default ''"),
        (declared("dt=one", with_dt), "input 'dt' has the default 'one'"),
        (declared("dt=nan", with_dt), "input 'dt' has the default 'nan'"),
        (declared("x_t=1", lambda x, u, x_t: dict(h=x.a + u.a)), "it has none|has the default '1'"),
        (declared("dt dt", with_dt), "input 'dt' is no name, or taken"),
        (declared("h", without), "input 'h' is no name, or taken"),
        (declared("lengths", without), "input 'lengths' is no name, or taken"),
        (declared("_t", without), "input '_t' is no name, or taken"),
    ],
)
def test_a_declaration_that_means_nothing_is_refused(declare, message):
    with pytest.raises(OptionError, match=message):
        declare()


def test_changing_an_input_in_place_is_refused():
    @unrolled.cell(gates="a", inputs="dt x_t")
    def changing(x, u, h, dt, x_t):
        x_t.mul_(2)
        return dict(h=tanh(x.a + u.a) + x_t + dt)

    with pytest.raises(OptionError, match="changes what"):
        unrolled.Recurrent(changing, H, H)(torch.zeros(T, B, H), dt=dt)


def test_a_program_knows_cells_without_inputs_by_the_name_they_always_had():
    def declare(**options):
        return unrolled.cell(gates="a", **options)(without)

    plain_key, given = declare().key, unrolled.cell(gates="a", inputs="dt")(with_dt)
    assert declare(inputs="").key.partition("#")[0] == plain_key.partition("#")[0]
    assert given.inputs == ("dt",)
