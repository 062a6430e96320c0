"""Named values equal what the equations say, on every path."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled
from unrolled.inspection.record import pre_activations, states_before
from unrolled.kernels import using_path
from unrolled.layers import observing_values
from unrolled.networks import LayerOptions
from unrolled.tasks.lm import LanguageModel

LAYERS = {
    "rnn": lambda *a, **k: unrolled.RNN(*a, **k),
    "lstm": lambda *a, **k: unrolled.LSTM(*a, **k),
    "gru": lambda *a, **k: unrolled.GRU(*a, **k),
    "gru, reset before": lambda *a, **k: unrolled.GRU(*a, reset="before", **k),
    "janet": lambda *a, **k: unrolled.JANET(*a, **k),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=list(LAYERS))


@every_layer
@pytest.mark.parametrize("lengths", [None, [3, 7, 0, 5]], ids=["even", "ragged"])
def test_every_path_names_the_same_values(make, lengths):
    layer, x = make(3, 19, 2, bidirectional=True), torch.randn(7, 4, 3)
    found = {}
    for path in ("kernel", "reference"):
        with using_path(path):
            found[path] = unrolled.trace(layer, x, lengths=lengths)
    assert len(found["kernel"]) == 4
    for ours, loops in zip(found["kernel"], found["reference"], strict=True):
        assert (ours.layer, ours.reverse) == (loops.layer, loops.reverse)
        assert ours.lengths.tolist() == loops.lengths.tolist() == (lengths or [7] * 4)
        assert ours.values.keys() == loops.values.keys() >= {"h"}
        for name, value in ours.values.items():
            torch.testing.assert_close(value, loops.values[name], rtol=1e-4, atol=1e-5)


@every_layer
def test_the_recorded_output_has_the_bits_of_the_layers_own(make):
    layer, x = make(3, 8), torch.randn(7, 4, 3)
    (record,) = unrolled.trace(layer, x)
    assert torch.equal(record.values["h"], layer(x)[0])


def test_an_lstms_values_fulfil_its_equations():
    layer, x = unrolled.LSTM(3, 8), torch.randn(7, 4, 3)
    (record,) = unrolled.trace(layer, x)
    v = record.values
    c_before = torch.cat([torch.zeros(1, 4, 8), v["c"][:-1]])
    torch.testing.assert_close(v["c"], v["f"] * c_before + v["i"] * v["g"])
    torch.testing.assert_close(v["h"], v["o"] * torch.tanh(v["c"]))


def test_packed_input_is_recorded_row_by_row():
    layer, x, lengths = unrolled.GRU(3, 4), torch.randn(6, 3, 3), [2, 6, 3]
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    (record,) = unrolled.trace(layer, packed)
    (expected,) = unrolled.trace(layer, x, lengths=lengths)
    assert record.lengths.tolist() == lengths
    for name, value in expected.values.items():
        assert torch.equal(record.values[name], value)


def test_a_whole_model_is_recorded_and_nothing_after_it():
    model = torch.nn.Sequential(unrolled.JANET(3, 4))
    records = unrolled.trace(model, torch.randn(5, 2, 3))
    assert [sorted(record.values) for record in records] == [["f", "g", "h"]]
    model(torch.randn(5, 2, 3))
    assert len(records) == 1


def test_a_users_cell_is_recorded_by_its_own_names():
    @unrolled.cell(gates="f g")
    def leaky(x, u, h):
        open_ = torch.sigmoid(x.f + u.f)
        return dict(h=open_ * h + (1 - open_) * torch.tanh(x.g + u.g), leak=1 - open_, on=h > 0)

    layer, x = unrolled.Recurrent(leaky, 3, 4), torch.randn(5, 2, 3)
    (record,) = unrolled.trace(layer, x)
    assert set(record.values) == {"h", "leak", "on"}
    assert record.values["on"].unique().tolist() in ([0.0, 1.0], [0.0], [1.0])
    with using_path("reference"):
        (loop,) = unrolled.trace(layer, x)
    torch.testing.assert_close(record.values["leak"], loop.values["leak"])


@pytest.mark.parametrize("path", ["kernel", "reference"])
def test_rows_without_steps_have_their_names(path):
    with using_path(path):
        (record,) = unrolled.trace(unrolled.LSTM(3, 4), torch.randn(5, 2, 3), lengths=[0, 0])
    assert {value.shape for value in record.values.values()} == {(5, 2, 4)}
    assert record.values.keys() == {"c", "f", "g", "h", "i", "o"}


@every_layer
@pytest.mark.parametrize("lengths", [None, [3, 7, 0, 5]], ids=["even", "ragged"])
def test_a_step_from_what_was_recorded_gives_what_was_recorded(make, lengths):
    """The input, the initial state and the pre-activations fit the values: by the cell itself."""
    layer, x = make(3, 6, 2, bidirectional=True, dtype=torch.float64), torch.randn(7, 4, 3).double()
    initial = layer(torch.randn(2, 4, 3).double())[1]  # not zeros
    with observing_values() as records:
        layer(x, initial, lengths=lengths)
    for record in records:
        parts = {name: value.flatten(0, 1) for name, value in pre_activations(record).items()}
        before = {n: states_before(record, n).flatten(0, 1) for n in layer.cell.states}
        gates = {
            side: {name[2:]: part for name, part in parts.items() if name[0] == side}
            for side in "xu"
        }
        if layer.cell.applied:  # u.n is a function of what the equations compute
            suffix = layer.suffixes[2 * record.layer + record.reverse]
            weights = layer.weights_of(suffix)
            gates["u"]["n"] = lambda v, w=weights: v @ w.weight_hh[12:].T + w.bias_hh[12:]
        found = layer.cell(gates["x"], gates["u"], before, {})
        valid = (torch.arange(7)[:, None] < record.lengths).flatten()
        for name, values in record.values.items():
            torch.testing.assert_close(found[name][valid], values.flatten(0, 1)[valid])


def test_projected_states_are_those_of_the_next_step():
    layer, x = unrolled.LSTM(3, 6, proj_size=2), torch.randn(7, 4, 3)
    (record,) = unrolled.trace(layer, x)
    output, _ = layer(x)
    torch.testing.assert_close(states_before(record, "h")[1:], output[:-1])
    assert pre_activations(record)["u.f"].shape == (7, 4, 6)


@pytest.mark.parametrize("lengths", [None, [3, 7, 0, 5]], ids=["even", "ragged"])
def test_a_tcns_levels_are_recorded_with_what_they_see(lengths):
    layer, x = unrolled.TCN(3, 6, 3, kernel_size=3), torch.randn(7, 4, 3)
    records = unrolled.trace(layer, x, lengths=lengths)
    assert [record.receptive_field for record in records] == [5, 13, 29]
    assert layer.receptive_field == 29
    output, _ = layer(x, lengths=lengths)
    assert torch.equal(records[-1].values["y"], output)
    for record in records:
        padding = torch.arange(7)[:, None] >= record.lengths
        assert (record.values["y"][padding] == 0).all()
    # each level sees that far and no farther: by positive numbers, that no ReLU ends on the way
    if lengths is None:
        for weight in layer.parameters():
            weight.detach().abs_()
        long = torch.rand(40, 1, 3)
        other = long.clone()
        other[0] += 1
        pairs = zip(unrolled.trace(layer, long), unrolled.trace(layer, other), strict=True)
        for before, after in pairs:
            moved = (before.values["y"] != after.values["y"]).any(-1).any(-1)
            assert int(moved.nonzero().max()) == before.receptive_field - 1


@pytest.mark.parametrize(("kind", "seen"), [("conv", 8), ("dense", 1), ("tcn", 61)])
def test_language_models_of_finite_memory_can_be_traced(kind, seen):
    options = LayerOptions(cell=kind, hidden_size=6, num_layers=4 if kind == "tcn" else 1)
    model = LanguageModel(options, vocabulary_size=7)
    records = unrolled.trace(model, torch.randint(0, 7, (2, 9)))
    assert records[-1].receptive_field == seen
    assert records[-1].values["y"].shape == (9, 2, 6)


def test_what_cannot_be_looked_into_is_said():
    with pytest.raises(unrolled.UnrolledError, match="no layer of this package"):
        unrolled.trace(torch.nn.Linear(3, 4), torch.randn(5, 3))
    compiled = torch.compile(unrolled.GRU(3, 4), backend="eager")
    with pytest.raises(unrolled.UnrolledError, match="compiled"):
        unrolled.trace(compiled, torch.randn(5, 2, 3))


def test_a_record_prints_in_a_line():
    (record,) = unrolled.trace(unrolled.LSTM(3, 4), torch.randn(5, 2, 3))
    assert len(repr(record)) < 200
    assert "c (5, 2, 4)" in repr(record)
