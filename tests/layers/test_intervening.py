"""What is held is what the equations compute with: against loops by hand, however it is read."""

import copy

import pytest
import torch
from torch import sigmoid, tanh
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled
from unrolled import Hold, intervene
from unrolled.cells import CELLS
from unrolled.cells.catalogue import CATALOGUE
from unrolled.data import CharVocabulary
from unrolled.errors import OptionError, ShapeError
from unrolled.inspection import gradient_reach
from unrolled.kernels import named_values, using_path
from unrolled.layers import observing_graph
from unrolled.networks import LayerOptions
from unrolled.tasks.lm import LanguageModel

T, B, I, H = 6, 3, 4, 5  # noqa: E741 - the letters of all shapes


def lstm_by_hand(layer, x, hold):
    """Return outputs and states; `hold` changes the values by name, a stage of a step at a time."""
    h = c = torch.zeros(x.shape[1], layer.hidden_size)
    outputs = []
    for t, x_t in enumerate(x):
        a = x_t @ layer.weight_ih_l0.T + layer.bias_ih_l0
        a = a + h @ layer.weight_hh_l0.T + layer.bias_hh_l0
        i, f, g, o = a.chunk(4, -1)
        v = {"i": sigmoid(i), "f": sigmoid(f), "g": tanh(g), "o": sigmoid(o)}
        hold(v, t)
        v["c"] = v["f"] * c + v["i"] * v["g"]
        hold(v, t)
        h = v["h"] = v["o"] * tanh(v["c"])
        hold(v, t)
        h, c = v["h"], v["c"]
        outputs.append(h)
    return torch.stack(outputs), h, c


def some_of_an_lstm(v, t):
    """What `SOME` says, by hand."""
    v["f"] = torch.ones_like(v["f"])
    v["i"] = v["i"].index_fill(1, torch.tensor([1, 3]), 0.0)
    if "c" in v and t in (2, 4):
        v["c"] = torch.full_like(v["c"], 0.5)
    if "h" in v and t == 3:
        v["h"] = v["h"].index_fill(1, torch.tensor([0]), -0.25)


SOME = {
    "f": 1.0,
    "i": Hold(0.0, units=[1, 3]),
    "c": Hold(0.5, steps=[4, 2]),
    "h": Hold(-0.25, units=0, steps=3),
}


def test_an_lstm_computes_with_what_it_is_held_at():
    layer, x = unrolled.LSTM(I, H), torch.randn(T, B, I)
    before = layer(x)[0]
    with intervene(layer, SOME):
        output, (h, c) = layer(x)
    expected = lstm_by_hand(layer, x, some_of_an_lstm)
    for ours, by_hand in zip((output, h[0], c[0]), expected, strict=True):
        torch.testing.assert_close(ours, by_hand)
    assert torch.equal(layer(x)[0], before)  # nothing is left of it


def test_gradients_flow_through_what_is_held_and_not_through_what_it_replaces():
    layer, x = unrolled.LSTM(I, H), torch.randn(T, B, I)
    to = torch.rand(H, requires_grad=True)
    with intervene(layer, {"f": to, "i": 0.0}):
        output, _ = layer(x)
    output.sum().backward()
    assert torch.equal(to.grad, torch.zeros(H))  # c stays 0: there is nothing to keep
    rows = layer.weight_ih_l0.grad.split(H)
    assert not torch.cat(rows[:2]).any()
    with intervene(layer, {"f": to}):
        output, _ = layer(x)
    (gradient,) = torch.autograd.grad(output.sum(), to)

    def hold(v, _):
        v["f"] = to.expand_as(v["f"])

    (expected,) = torch.autograd.grad(lstm_by_hand(layer, x, hold)[0].sum(), to)
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().min() > 0


PUBLISHED = {**CELLS, **CATALOGUE}


@pytest.mark.parametrize("cell", PUBLISHED.values(), ids=list(PUBLISHED))
def test_every_named_value_of_a_published_cell_is_held_or_is_refused(cell):
    size = H * cell.heads
    layer, x = unrolled.Recurrent(cell, size, size), torch.randn(2, 1, size)
    given = {name: torch.rand(2, 1, size) for name in cell.inputs}
    with using_path("reference"):  # no kernel is wanted, nor the time that compiling it takes
        (free,) = unrolled.trace(layer, x, **given)
    for name in named_values(cell, size):
        try:
            with intervene(layer, {name: free.values[name][1] + 1.0}):
                (held,) = unrolled.trace(layer, x, **given)
        except OptionError as error:
            assert "nothing is computed from it" in str(error)  # noqa: PT017 - either will do
            continue
        assert torch.equal(held.values[name][1], free.values[name][1] + 1.0)
        assert list(held.inputs) == list(cell.inputs)
        with intervene(layer, {name: free.values[name]}):
            (same,) = unrolled.trace(layer, x, **given)
        for other, value in free.values.items():
            torch.testing.assert_close(same.values[other], value, rtol=1e-4, atol=1e-5)


@unrolled.cell(gates="f g", states="h c", inputs="dt")
def awkward(x, u, h, c, dt, *, slope=1.0):
    """A value changed in place, one of several results, one that is given, an `if`."""
    f = x.f + u.f
    f.sigmoid_()
    if float(dt.sum()) > 3:
        f = f * 1.0
    shut, opened = torch.stack([f - 1, f]).unbind(0)
    g = torch.autograd.Function and tanh(slope * (x.g + u.g)) * dt
    c = opened * c - shut * g
    return dict(h=tanh(c), c=c, f=f, opened=opened, dt=dt, xg=x.g)


@pytest.mark.filterwarnings("ignore:cell awkward")
@pytest.mark.parametrize("name", ["f", "opened", "dt", "xg", "c", "h"])
def test_equations_in_any_style_are_held(name):
    layer, x = unrolled.Recurrent(awkward, I, H), torch.randn(T, B, I)
    dt = torch.full((T, B), 0.1)
    dt[3] = 9.0  # another way through the equations
    with intervene(layer, {name: 0.75}):
        (record,) = unrolled.trace(layer, x, dt=dt)
    v = record.values
    assert (v[name] == 0.75).all()
    before = torch.cat([torch.zeros(1, B, H), v["c"][:-1]])
    h_before = torch.cat([torch.zeros(1, B, H), v["h"][:-1]])
    a = h_before @ layer.weight_hh_l0.T + layer.bias_hh_l0
    b = x @ layer.weight_ih_l0.T + layer.bias_ih_l0
    xg = v["xg"] if name == "xg" else b[..., H:]
    f = v["f"] if name == "f" else sigmoid(a[..., :H] + b[..., :H])
    opened = v["opened"] if name == "opened" else f
    g = tanh(layer.slope_l0 * (xg + a[..., H:])) * (0.75 if name == "dt" else dt[..., None])
    c = v["c"] if name == "c" else opened * before - (f - 1) * g
    torch.testing.assert_close(v["f"], f)
    torch.testing.assert_close(v["c"], c)
    torch.testing.assert_close(v["h"], v["h"] if name == "h" else tanh(c))


@unrolled.cell(gates="a", states="h s")
def hands_on(x, u, h, s):
    """A state that is handed on as it is, and a value that nobody reads."""
    return dict(h=tanh(x.a + u.a) + s, s=s, seen=tanh(h))


def test_a_state_that_is_handed_on_is_held_when_it_is():
    layer, x = unrolled.Recurrent(hands_on, I, H), torch.randn(3, 1, I)
    with intervene(layer, {"s": Hold(2.0, steps=1)}):
        (record,) = unrolled.trace(layer, x)
    assert record.values["s"].mean((1, 2)).tolist() == [0, 2, 2]
    assert record.values["h"][1].abs().max() <= 1 < record.values["h"][2].min()
    with (
        pytest.raises(OptionError, match="nothing is computed from it"),
        intervene(layer, {"seen": 1.0}),
    ):
        layer(x)


# ---- Ways of reading --------------------------------------------------------------------------


def test_ragged_packed_and_reset_rows_are_held_at_their_own_steps():
    layer, x = unrolled.LSTM(I, H, 2, bidirectional=True), torch.randn(T, B, I)
    lengths = [4, 6, 1]
    series = torch.rand(T, B, H)
    holds = {"f": [Hold(series, layer=1), Hold(0.1, layer=1, reverse=True, units=[2])], "o": 0.5}
    alone = []
    for row, length in enumerate(lengths):
        own = Hold(series[:length, row, None], layer=1)
        with intervene(layer, {**holds, "f": [own, holds["f"][1]]}):
            alone.append(layer(x[:length, row, None])[0][:, 0])
    with intervene(layer, holds):
        ragged, _ = layer(x, lengths=lengths)
        packed, _ = layer(pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False))
        marks = torch.zeros(T, B, dtype=torch.bool)
        marks[3, 1] = True
        (first, *_) = unrolled.trace(layer, x, lengths=lengths, resets=marks)
        records = unrolled.trace(layer, x, lengths=lengths)
    padded, _ = pad_packed_sequence(packed)
    for row, length in enumerate(lengths):
        for output in (ragged, padded):
            torch.testing.assert_close(output[:length, row], alone[row])
    assert (first.values["o"][:4, 0] == 0.5).all()
    assert torch.equal(records[2].values["f"][:4, 0], series[:4, 0])
    backwards = series[:, 1].clone()
    backwards[:, 2] = 0.1
    assert torch.equal(records[3].values["f"][:, 1], backwards)
    assert not torch.equal(records[0].values["f"][:, 1], series[:, 1])


def test_streams_count_steps_from_the_beginning_of_the_block():
    layer, x = unrolled.LSTM(I, H), torch.randn(T, B, I)
    layer.eval()
    expected = lstm_by_hand(layer, x, some_of_an_lstm)[0]
    stream = layer.stream(B)
    for _ in range(3):  # it steps by its kernel
        stream.step(x[0])
    stream.reset()
    with intervene(layer, SOME):
        parts = [stream.push(x[:2]), stream.step(x[2])[None], stream.push(x[3:])]
        out = torch.empty(B, H)
        pool = layer.streams(B)
        for _ in range(B):
            pool.join()
        with pytest.raises(OptionError, match="pool of streams"):
            pool.step(x[0], out=out)
    torch.testing.assert_close(torch.cat(parts), expected)
    bound = layer.stream(B).bind(x[0], out)
    bound.step()
    with intervene(layer, {"o": 0.0}):
        assert not bound.step().any()
        assert not layer.stream(B).step(x[0].numpy()).any()
        assert not pool.step(x[0]).any()
    assert bound.step().any()
    assert pool.step(x[0]).any()
    with intervene(layer, {"o": 0.0}), pytest.raises(OptionError):
        layer.stream(B, weights="int8").step(x[0])  # which only a kernel reads


def test_a_copy_of_a_stream_goes_on_at_its_step():
    layer, x = unrolled.GRU(I, H), torch.randn(T, B, I)
    with intervene(layer, {"h": Hold(0.5, steps=[1, 4])}):
        expected, _ = layer(x)
        stream = layer.stream(B)
        stream.push(x[:3])
        other = copy.copy(stream)  # over the same layer
        torch.testing.assert_close(other.push(x[3:]), expected[3:])
        torch.testing.assert_close(stream.push(x[3:]), expected[3:])
        with intervene(layer, {"h": Hold(0.25, steps=0)}):  # which counts for itself
            output = stream.push(x)
    assert (output[0] == 0.25).all()
    assert not (output[1:] == 0.25).any()


def test_blocks_may_end_in_any_order():
    layer, x = unrolled.LSTM(I, H), torch.randn(T, B, I)
    free, compiled = layer(x)[0], torch.compile(layer, backend="eager")
    with intervene(layer, {"i": 0.0}):
        expected = layer(x)[0]
    first, second = intervene(layer, {"f": 1.0}), intervene(layer, {"i": 0.0})
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.equal(layer(x)[0], expected)
    with pytest.raises(OptionError, match="compiled or exported"):
        compiled(x)
    second.__exit__(None, None, None)
    assert torch.equal(layer(x)[0], free)
    compiled(x)


def test_a_state_of_another_text_is_put_in():
    layer, x, other = unrolled.GRU(I, H), torch.randn(T, 1, I), torch.randn(T, 1, I)
    (record,) = unrolled.trace(layer, other)
    with intervene(layer, {"h": Hold(record.values["h"][2], steps=2)}):
        output, _ = layer(x)
    expected, _ = layer(torch.cat([other[:3], x[3:]]))
    torch.testing.assert_close(output[2:], expected[2:])


def test_inner_blocks_count_and_others_stay_as_they_are():
    layer, other, x = unrolled.GRU(I, H), unrolled.GRU(I, H), torch.randn(T, B, I)
    with intervene(layer, {"z": 0.25, "r": 1.0}), intervene(layer, {"z": Hold(0.75, units=[1])}):
        (record,) = unrolled.trace(layer, x)
        (free,) = unrolled.trace(other, x)
    assert record.values["z"][0, 0].tolist() == [0.25, 0.75, 0.25, 0.25, 0.25]
    assert (record.values["r"] == 1).all()
    assert not (free.values["r"] == 1).any()


def test_a_projected_output_is_held_before_it_is_projected():
    layer, x = unrolled.LSTM(I, H, proj_size=2), torch.randn(T, B, I)
    with intervene(layer, {"h": 1.0}):
        output, _ = layer(x)
    expected = layer.weight_hr_l0.sum(1).expand(T, B, 2)
    torch.testing.assert_close(output, expected)


def test_the_reach_of_a_held_network_is_that_of_its_gate():
    layer = unrolled.JANET(I, H)
    with intervene(layer, {"f": 0.5, "g": 0.0}):
        reach = gradient_reach(layer, torch.randn(12, 1, I)).relative()["h"][0]
    torch.testing.assert_close(reach, 0.5 ** torch.arange(12).double())


def test_the_graph_of_a_held_step_can_be_followed():
    layer, x = unrolled.LSTM(I, H), torch.randn(T, B, I)
    with intervene(layer, {"f": 1.0}), observing_graph() as records:
        layer(x)
    assert records[0].input.shape == (T * B, I)
    assert (records[0].steps[2]["f"] == 1).all()


# ---- What is refused --------------------------------------------------------------------------

WRONG = {
    "no such name": ({"q": 1.0}, "no gate or state 'q' in lstm .*h, c, i, f, g, o"),
    "no number": ({"f": "open"}, "a number, a tensor"),
    "a truth": ({"f": True}, "a number, a tensor"),
    "a list of numbers": ({"f": [1.0, 0.0]}, "numbers for the units go into a tensor"),
    "unit out of range": ({"f": Hold(1.0, units=H)}, f"units must lie in 0..{H - 1}, got {H}"),
    "negative unit": ({"f": Hold(1.0, units=[-1])}, "units must lie in"),
    "no unit": ({"f": Hold(1.0, units=[])}, "units: none is named"),
    "a unit twice": ({"f": Hold(1.0, units=[1, 1])}, "named twice"),
    "a unit of no number": ({"f": Hold(1.0, units=[0.5])}, "whole numbers"),
    "layer out of range": ({"f": Hold(1.0, layer=1)}, "layer must lie in 0..0"),
    "no such direction": ({"f": Hold(1.0, reverse=True)}, "reads forwards"),
    "no finite number": ({"f": float("inf")}, "not finite"),
    "too large": ({"f": torch.tensor(1e39).double()}, "not finite in torch.float32"),
    "layer in words": ({"f": Hold(1.0, layer="0")}, "layer must lie in 0..0, got '0'"),
    "direction in words": ({"f": Hold(1.0, reverse="no")}, "reverse must be True, False or None"),
    "units in words": ({"f": Hold(1.0, units="3")}, "units must be whole numbers, got '3'"),
    "a slice of words": ({"f": Hold(1.0, steps=slice("a"))}, "steps must be whole numbers"),
    "a slice in no steps": ({"f": Hold(1.0, units=slice(0, 2, 0))}, "must be whole numbers"),
    "units beyond": ({"f": Hold(1.0, units=slice(H, None))}, "units: none lies in slice"),
    "steps of nothing": ({"f": Hold(1.0, steps=slice(3, 3))}, "steps: none lies in slice"),
    "value in words": ({"f": Hold("open")}, "the value must be a number, .* got a str"),
    "sparse value": ({"f": torch.zeros(H).to_sparse()}, "the value must be a number"),
    "no dict": (["f"], "holds must be a dict, got a list"),
    "step beyond": ({"f": Hold(1.0, steps=T)}, f"steps must lie in 0..{T - 1}"),
    "steps beyond": (
        {"f": Hold(1.0, steps=slice(T, None))},
        rf"held at steps slice\({T}, None, None\), and only {T} are read",
    ),
    "negative step": ({"f": Hold(1.0, steps=slice(-2, None))}, "counted from 0"),
    "shape of units": ({"f": torch.zeros(H + 1)}, "must go with .*U units"),
    "shape of rows": ({"f": torch.zeros(B + 1, H)}, "must go with"),
    "too many dims": ({"f": torch.zeros(1, 1, 1, H)}, "must be a number"),
    "too few steps": ({"f": Hold(torch.zeros(2, 1, H))}, "there are values for 2"),
    "other steps": ({"f": Hold(torch.zeros(3, 1, H), steps=[1, 2])}, "there are values for 3"),
}


@pytest.mark.parametrize(("holds", "problem"), WRONG.values(), ids=list(WRONG))
def test_what_cannot_be_held_is_said_in_one_line(holds, problem):
    layer = unrolled.LSTM(I, H)
    with pytest.raises((OptionError, ShapeError), match=problem) as raised, intervene(layer, holds):
        layer(torch.randn(T, B, I))
    assert "\n" not in str(raised.value)


def test_what_has_no_recurrent_layer_is_refused():
    for target in (unrolled.TCN(I, H), torch.nn.LSTM(I, H), "runs/hello"):
        with pytest.raises(OptionError, match="no recurrent layer"), intervene(target, {"f": 1.0}):
            pass


def test_a_former_state_is_held_when_it_is_new():
    layer = unrolled.Recurrent(CATALOGUE["hornn"], I, H)
    late = next(iter(layer.cell.delayed))
    with pytest.raises(OptionError, match="hold h there"), intervene(layer, {late: 1.0}):
        pass


def test_a_compiled_layer_says_that_nothing_is_held_in_it():
    layer, x = unrolled.GRU(I, H), torch.randn(T, B, I)
    compiled = torch.compile(layer, backend="eager")
    compiled(x)
    with intervene(layer, {"z": 1.0}), pytest.raises(OptionError, match="compiled or exported"):
        compiled(x)
    compiled(x)


@pytest.mark.parametrize("strict", [False, True])
def test_nothing_is_exported_as_if_it_were_held(strict):
    layer, x = unrolled.GRU(I, H), torch.randn(T, B, I)
    with intervene(layer, {"z": 1.0}), pytest.raises(Exception, match="where nothing can be held"):
        torch.export.export(layer, (x,), strict=strict)
    torch.export.export(layer, (x,), strict=strict)


def test_a_language_model_writes_with_what_is_held():
    vocabulary = CharVocabulary.from_text("hello")
    model = LanguageModel(LayerOptions(hidden_size=8), vocabulary_size=len(vocabulary)).eval()

    def written():
        return "".join(unrolled.generate(model, vocabulary, "hel", length=12, seed=3))

    free = written()
    with intervene(model, {"o": 0.0}), torch.no_grad():
        silent = written()  # by the biases of the scores alone
        scores = model.scores(torch.zeros(1, 8))[0]
    assert silent != free == written()
    with intervene(model, {"o": Hold(0.0, steps=slice(3, None))}):
        assert written()[1:] == silent[1:]  # the prompt was read as ever
    with torch.no_grad():
        model.scores.bias += 30 * torch.nn.functional.one_hot(scores.argmin(), len(scores))
    with intervene(model, {"o": 0.0}):
        assert written() == vocabulary.decode([int(scores.argmin())]) * 12
