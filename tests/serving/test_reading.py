import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled import trace
from unrolled.errors import OptionError, ShapeError
from unrolled.inspection.terms import unit_terms
from unrolled.layers import GRU, JANET, LSTM, RNN
from unrolled.serving.reading import read, unit_view
from unrolled.tasks.lm.task import load_language_model

TEXT = "Before we proceed any further, hear me speak."
CELLS = ["lstm", "gru", "janet", "rnn", "deep"]


@pytest.fixture(scope="module")
def loaded(small_runs):
    return {name: load_language_model(path)[:2] for name, path in small_runs.items()}


def same(one, other):
    assert one.pieces == other.pieces
    assert len(one.layers) == len(other.layers)
    for mine, yours in zip(one.layers, other.layers, strict=True):
        assert mine.keys() == yours.keys()
        for name in mine:
            assert torch.equal(mine[name], yours[name])
    assert torch.equal(one.likeliest, other.likeliest)
    torch.testing.assert_close(one.surprise, other.surprise, equal_nan=True)
    torch.testing.assert_close(one.probabilities, other.probabilities)


@pytest.mark.parametrize("name", [*CELLS, "tcn"])
def test_a_text_that_is_edited_is_read_as_if_it_were_new(loaded, name):
    model, vocabulary = loaded[name]

    @given(st.lists(st.text("Before wprcd\n", max_size=12), min_size=1, max_size=4))
    def check(texts):
        reading = None
        for text in texts:
            reading = read(model, vocabulary, text, reading)
            same(reading, read(model, vocabulary, text))

    check()


@pytest.mark.parametrize("name", CELLS)
def test_a_reading_has_the_values_of_trace(loaded, name):
    model, vocabulary = loaded[name]
    reading = read(model, vocabulary, TEXT)
    records = trace(model, vocabulary.encode(TEXT)[None])
    assert len(reading.layers) == len(records)
    for layer, record in zip(reading.layers, records, strict=True):
        for values, recorded in zip(layer.values(), record.values.values(), strict=True):
            assert torch.equal(values, recorded[:, 0])


def test_surprise_is_the_cross_entropy_in_bits(loaded):
    model, vocabulary = loaded["gru"]
    tokens = vocabulary.encode(TEXT)
    with torch.no_grad():
        scores = model(tokens[None, :-1])[0][0].double()
    nats = torch.nn.functional.cross_entropy(scores, tokens[1:], reduction="none")
    bits = read(model, vocabulary, TEXT).surprise
    assert bits[0].isnan()
    torch.testing.assert_close(bits[1:].double(), nats / 0.6931471805599453, rtol=1e-5, atol=1e-6)


def gates_of(name, view):
    """The gates that the equations give for a unit's two parts, in float64."""
    a = {gate: view.x[gate] + view.u[gate] for gate in view.x if gate != "n"}
    if name == "rnn":
        return {"h": torch.tanh(a["a"])}
    if name == "gru":
        r, z = a["r"].sigmoid(), a["z"].sigmoid()
        return {"r": r, "z": z, "n": torch.tanh(view.x["n"] + r * view.u["n"])}
    return {gate: (torch.tanh if gate == "g" else torch.sigmoid)(a[gate]) for gate in a}


@pytest.mark.parametrize("name", CELLS)
def test_the_two_parts_of_a_unit_make_its_gates(loaded, name):
    model, vocabulary = loaded[name]
    reading = read(model, vocabulary, TEXT)
    for layer in range(model.config.num_layers):
        view = unit_view(model, reading, layer, 7)
        for gate, values in gates_of(name, view).items():
            torch.testing.assert_close(values.float(), view.values[gate], rtol=1e-5, atol=1e-6)


def test_a_unit_before_the_first_step_holds_nothing(loaded):
    model, vocabulary = loaded["lstm"]
    view = unit_view(model, read(model, vocabulary, TEXT), 0, 3)
    assert view.before["c"][0] == view.before["h"][0] == 0
    assert torch.equal(view.before["c"][1:], view.values["c"][:-1])


@pytest.mark.parametrize("layer", [RNN, LSTM, GRU, JANET])
def test_terms_are_rows_of_the_products(layer):
    made = layer(3, 4, bias=False)
    x, h = torch.randn(5, 3), torch.randn(5, 4)
    terms = unit_terms(made, 0, x, h, 2)
    for number, gate in enumerate(made.cell.gates):
        row = made.weight_ih_l0[4 * number + 2].double()
        torch.testing.assert_close(terms.x[gate], x.double() @ row, rtol=1e-12, atol=1e-12)


def test_what_cannot_be_split_is_refused():
    x, h = torch.zeros(5, 3), torch.zeros(5, 4)
    with pytest.raises(OptionError, match="applies a gate inside a product"):
        unit_terms(GRU(3, 4, reset="before"), 0, x, h, 0)
    with pytest.raises(OptionError, match="reads both ways"):
        unit_terms(LSTM(3, 4, bidirectional=True), 0, x, h, 0)
    with pytest.raises(OptionError, match=r"unit must be in 0\.\.3, got 4"):
        unit_terms(LSTM(3, 4), 0, x, h, 4)
    with pytest.raises(OptionError, match=r"layer must be in 0\.\.0, got 1"):
        unit_terms(LSTM(3, 4), 1, x, h, 0)
    with pytest.raises(ShapeError, match=r"x must be \(T, 3\)"):
        unit_terms(LSTM(3, 4), 0, h, h, 0)
