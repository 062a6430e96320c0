"""What is held, and what a prediction is made of, over the API: the numbers of the library."""

import pytest
import torch

from support.asking import ask, written
from support.asking import post as post_question
from unrolled import Hold, intervene
from unrolled.data import Source
from unrolled.inspection import attribute
from unrolled.tasks.lm import generate

TEXT = "Before we proceed any further, hear me speak."


def post(client, path, **question):
    return post_question(client, path, question)


def expected(loaded, holds, position):
    model, tokens = loaded.model, loaded.task.vocabulary.encode(TEXT)[None]
    with torch.no_grad():
        free = model(tokens)[0][0].softmax(-1)
        with intervene(model, holds):
            held = model(tokens)[0][0].softmax(-1)
    changed = (free - held).abs().amax(1)
    return free[position], held[position], changed


def test_what_is_expected_while_values_are_held(client, loaded):
    holds = [
        {"name": "f", "value": 0},
        {"name": "c", "value": -0.5, "units": [3, 1], "start": 7, "stop": 20},
    ]
    got = ask(client, "intervene", run="lstm", text=TEXT, holds=holds, position=12)
    same = {"f": 0.0, "c": Hold(-0.5, units=[1, 3], steps=slice(7, 20))}
    free, held, changed = expected(loaded["lstm"], same, 12)
    symbols = loaded["lstm"].task.vocabulary.symbols
    for answer, shares in ((got["free"], free), (got["held"], held)):
        order = shares.argsort(descending=True)[: len(answer)].tolist()
        assert [each["text"] for each in answer] == [symbols(id) for id in order]
        told = [each["probability"] for each in answer]
        assert told == pytest.approx(shares[order].tolist(), abs=1e-5)
    assert got["free"] != got["held"]
    assert got["changed"] == pytest.approx(changed.tolist(), abs=1e-5)
    assert len(got["changed"]) == len(TEXT)
    read = ask(client, "read", run="lstm", text=TEXT, position=12)
    assert read["candidates"] == got["free"]  # nothing is left of it
    known = [bits for bits in read["surprise"] if bits is not None]
    assert got["surprise"][0] == pytest.approx(sum(known) / len(known), abs=1e-3)
    assert got["surprise"][1] != got["surprise"][0]


def test_one_layer_of_several_is_held(client, loaded):
    hold = {"name": loaded["deep"].model.layer.cell.gates[0], "value": 1.0}
    both = ask(client, "intervene", run="deep", text=TEXT, holds=[hold])
    upper = ask(client, "intervene", run="deep", text=TEXT, holds=[{**hold, "part": 1}])
    assert both["held"] != upper["held"]
    _, held, _ = expected(loaded["deep"], {hold["name"]: Hold(1.0, layer=1)}, -1)
    told = [each["probability"] for each in upper["held"]]
    assert told == pytest.approx(held.sort(descending=True).values[: len(told)].tolist(), abs=1e-5)


WRONG = {
    "name": ({"name": "q", "value": 1}, 422, "no gate or state 'q'; there are: "),
    "unit": ({"name": "f", "value": 1, "units": [10**6]}, 422, "unit must be in 0.."),
    "part": ({"name": "f", "value": 1, "part": 4}, 422, "part must be in 0..0, got 4"),
    "number": ({"name": "f", "value": 1e9}, 422, "less than or equal to 1000000"),
    "many": ({"name": "f", "value": 1, "units": [*range(33)]}, 422, "at most 32 entries"),
    "word": ({"name": "f", "value": "open"}, 422, "valid number"),
}


@pytest.mark.parametrize(("hold", "status", "message"), WRONG.values(), ids=list(WRONG))
def test_what_cannot_be_held_is_refused_in_a_sentence(client, hold, status, message):
    answer = post(client, "intervene", run="lstm", text=TEXT, holds=[hold])
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


def test_a_model_without_a_cell_and_a_text_of_nothing_are_refused(client):
    holds = [{"name": "y", "value": 0}]
    answer = post(client, "intervene", run="tcn", text=TEXT, holds=holds)
    assert answer.json()["error"]["code"] == "no_cell"
    holds = [{"name": "f", "value": 0}]
    answer = post(client, "intervene", run="lstm", text="", holds=holds)
    assert answer.json()["error"]["code"] == "nothing_read"
    answer = post(client, "intervene", run="lstm", text=TEXT, holds=holds, position=99)
    assert answer.json()["error"]["code"] == "position"
    answer = post(client, "intervene", run="lstm", text=TEXT, holds=holds * 33)
    assert answer.status_code == 422


@pytest.mark.parametrize("method", ["integrated", "gradient", "leave-one-out"])
def test_what_a_prediction_is_made_of(client, loaded, method):
    got = ask(client, "attribute", run="gru", text=TEXT, position=9, method=method)
    subject = loaded["gru"].task.subject(loaded["gru"].model)
    passage = next(iter(subject.read(Source.text(TEXT))))
    found = attribute(subject, passage, step=9, method=method)
    assert (got["text"], got["first"]) == (TEXT[10], 0)
    assert got["values"][:10] == pytest.approx(found.values[:10].tolist(), abs=1e-5)
    assert not any(got["values"][10:])
    assert (got["residual"] is None) == (method != "integrated")


def test_of_a_long_text_the_last_steps_are_explained(client, loaded):
    text = TEXT * 12
    got = ask(client, "attribute", run="lstm", text=text, position=500, method="gradient")
    assert got["first"] == 101
    subject = loaded["lstm"].task.subject(loaded["lstm"].model)
    passage = next(iter(subject.read(Source.text(text))))
    found = attribute(subject, passage, step=500, method="gradient")
    assert got["text"] == found.text
    assert got["values"][:400] == pytest.approx(found.values[101:501].tolist(), abs=1e-5)


def test_nothing_to_explain_is_refused(client):
    answer = post(client, "attribute", run="lstm", text="")
    assert answer.json()["error"]["code"] in ("nothing_read", "position")


def test_a_text_is_written_while_values_are_held(client, loaded):
    asked = {"run": "lstm", "text": "Before", "length": 40, "temperature": 0.5, "seed": 7}
    holds = [{"name": "o", "value": 0.0, "start": 3}]
    free, held = (
        "".join(line.get("text", "") for line in written(client, **asked, **more))
        for more in ({}, {"holds": holds})
    )
    run = loaded["lstm"]
    with intervene(run.model, {"o": Hold(0.0, steps=slice(3, None))}):
        options = {"length": 40, "temperature": 0.5, "seed": 7}
        expected = "".join(generate(run.model, run.task.vocabulary, "Before", **options))
    assert held == expected != free
    assert free == "".join(line.get("text", "") for line in written(client, **asked))
    answer = post(client, "generate", **asked, holds=[{"name": "q", "value": 0}])
    assert answer.json()["error"]["code"] == "signal"
    for wrong, said in (
        ({"units": []}, "none is named"),
        ({"start": 5, "stop": 3}, "none lies in"),
    ):
        answer = post(client, "generate", **asked, holds=[{"name": "f", "value": 1} | wrong])
        assert answer.status_code == 422
        assert said in answer.json()["error"]["message"]
