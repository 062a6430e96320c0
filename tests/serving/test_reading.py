from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled import Recurrent, cell, trace
from unrolled.data import Source
from unrolled.errors import OptionError
from unrolled.inspection.terms import terms_of_units
from unrolled.kernels import step_graph
from unrolled.serving.reading import read, unit_view

TEXT = "Before we proceed any further, hear me speak."
CELLS = ["lstm", "gru", "janet", "rnn", "deep"]


@pytest.fixture(scope="module")
def subjects(runs):
    return {name: runs.get(name).subject for name in runs.names}


def read_text(subject, text, before=None):
    return read(subject, Source.text(text), before)


def same(one, other):
    assert one.pieces == other.pieces
    assert len(one.records) == len(other.records)
    for mine, yours in zip(one.records, other.records, strict=True):
        assert mine.values.keys() == yours.values.keys()
        assert torch.equal(mine.input, yours.input)
        assert torch.equal(mine.lengths, yours.lengths)
        for name in mine.values:
            assert torch.equal(mine.values[name], yours.values[name])
    assert torch.equal(one.output, other.output)
    assert torch.equal(one.likeliest, other.likeliest)
    torch.testing.assert_close(one.surprise, other.surprise, equal_nan=True)
    torch.testing.assert_close(one.probabilities, other.probabilities)


@pytest.mark.parametrize("name", [*CELLS, "tcn"])
def test_a_text_that_is_edited_is_read_as_if_it_were_new(subjects, name):
    subject = subjects[name]

    @given(st.lists(st.text("Before wprcd\n", max_size=12), min_size=1, max_size=4))
    def check(texts):
        reading = None
        for text in texts:
            reading = read_text(subject, text, reading)
            same(reading, read_text(subject, text))

    check()


@pytest.mark.parametrize("name", CELLS)
def test_a_reading_has_the_values_of_trace(subjects, name):
    subject = subjects[name]
    reading = read_text(subject, TEXT)
    records = trace(subject.model, subject.vocabulary.encode(TEXT)[None])
    assert len(reading.records) == len(records)
    for mine, traced in zip(reading.records, records, strict=True):
        assert mine.values.keys() == traced.values.keys()
        for name, values in traced.values.items():
            assert torch.equal(mine.values[name], values)


def test_surprise_is_the_cross_entropy_in_bits(subjects):
    subject = subjects["gru"]
    tokens = subject.vocabulary.encode(TEXT)
    with torch.no_grad():
        scores = subject.model(tokens[None, :-1])[0][0].double()
    nats = torch.nn.functional.cross_entropy(scores, tokens[1:], reduction="none")
    bits = read_text(subject, TEXT).surprise
    assert bits[0].isnan()
    torch.testing.assert_close(bits[1:].double(), nats / 0.6931471805599453, rtol=1e-5, atol=1e-6)


def gates_of(name, terms):
    """The gates that the equations give for a unit's two parts, in float64."""
    a = {gate: terms.x[gate] + terms.u[gate] for gate in terms.x if gate != "n"}
    if name == "rnn":
        return {"h": torch.tanh(a["a"])}
    if name == "gru":
        r, z = a["r"].sigmoid(), a["z"].sigmoid()
        return {"r": r, "z": z, "n": torch.tanh(terms.x["n"] + r * terms.u["n"])}
    return {gate: (torch.tanh if gate == "g" else torch.sigmoid)(a[gate]) for gate in a}


@pytest.mark.parametrize("name", CELLS)
def test_the_two_parts_of_a_unit_make_its_gates(subjects, name):
    subject = subjects[name]
    reading = read_text(subject, TEXT)
    assert len(reading.records) == (2 if name == "deep" else 1)
    for part in range(len(reading.records)):
        view = unit_view(subject, reading, part, 7)
        for gate, values in gates_of(name, view.terms).items():
            torch.testing.assert_close(values.float(), view.values[gate], rtol=1e-5, atol=1e-6)


def test_a_unit_before_the_first_step_holds_nothing(subjects):
    subject = subjects["lstm"]
    view = unit_view(subject, read_text(subject, TEXT), 0, 3)
    assert view.before["c"][0] == view.before["h"][0] == 0
    assert torch.equal(view.before["c"][1:], view.values["c"][:-1])


def test_a_unit_of_a_normalised_cell_has_the_numbers_that_all_units_give():
    @cell(gates="f g")
    def normalised(x, u, h):
        f = torch.sigmoid(torch.nn.functional.layer_norm(x.f + u.f, h.shape[-1:]))
        return dict(h=f * h + (1 - f) * torch.tanh(x.g + u.g))

    layer = Recurrent(normalised, 3, 5)
    (record,) = trace(layer, torch.randn(6, 1, 3))
    subject, reading = SimpleNamespace(recurrent=layer), SimpleNamespace(records=[record])
    graph = step_graph(normalised)
    (gate,) = (node.id for node in graph.nodes if node.operation == "sigmoid")
    for unit in (0, 3):
        numbers = unit_view(subject, reading, 0, unit, graph).inner
        terms = terms_of_units(record)
        whole = terms.x["f"] + terms.u["f"]
        deviation = whole.var(-1, keepdim=True, correction=0).add(1e-5).sqrt()
        expected = torch.sigmoid((whole - whole.mean(-1, keepdim=True)) / deviation)
        torch.testing.assert_close(numbers[gate], expected[:, unit])


def test_the_memory_of_a_reading_is_that_of_its_tensors(subjects):
    """At least: the limit of all readings together is kept by this number."""
    reading = read_text(subjects["deep"], TEXT)
    values = [value for record in reading.records for value in record.values.values()]
    assert len(values) == 2 * 6
    assert reading.nbytes >= sum(value.nbytes for value in values) + reading.output.nbytes
    assert read_text(subjects["deep"], "").nbytes < 100


def test_parts_and_units_that_there_are_not_are_refused(subjects):
    subject = subjects["lstm"]
    reading = read_text(subject, TEXT)
    with pytest.raises(OptionError, match=r"part must be in 0\.\.0, got 1"):
        unit_view(subject, reading, 1, 0)
    with pytest.raises(OptionError, match=r"unit must be in 0\.\.23, got 24"):
        unit_view(subject, reading, 0, 24)
    with pytest.raises(OptionError, match="nothing has been read yet"):
        unit_view(subject, read_text(subject, ""), 0, 0)
