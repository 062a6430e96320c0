"""Classifiers and taggers within a report: what the file computes by itself is what Python says."""

import random
import shutil

import pytest
import torch

from support.living import asked, bare_file, content_of, loaded_run, same
from support.runs import run_of
from unrolled import Hold, generate, intervene
from unrolled.data import Source
from unrolled.serving.acting import held_answer
from unrolled.serving.gradient import look_back
from unrolled.serving.predictions import predict_text
from unrolled.serving.reading import read, unit_view
from unrolled.serving.runs import ServedRun
from unrolled.serving.schema import HoldQuestion

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")

WORDS = [
    "It's",
    "a",
    "well-made",
    "film",
    "café",
    "12",
    "fim",
    ",",
    "Good",
    "bad",
    "São",
    "1.160/2016",
]
TEXT = "It's NEW: a Well-made  film, cafe\u0301 12\u00b2 \u2013 Good 日本 ß!"
UNIT = 2
CLASSIFIERS = {
    "both ends": {"pooling": "max", "num_layers": 2},
    "last": {"pooling": "last", "evidence": False, "cell": "gru"},
    "attention": {"pooling": "attention", "bidirectional": False, "cell": "janet"},
    "mean": {"pooling": "mean", "bidirectional": False, "num_layers": 2},
}
TOKENS = {"both ends": "word", "last": "char", "attention": "bpe", "mean": "char"}
TAGGERS = {
    "crf": {},
    "plain": {"crf": False, "letter_size": 0, "affix_size": 0, "num_layers": 2},
    "delay": {"delay": 2, "cell": "gru"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    drawn = random.Random(1)
    texts = [" ".join(drawn.choices(WORDS, k=5)) for _ in range(40)]
    rows = [f'"{text}",{("pos", "neg", "so so")[n % 3]}' for n, text in enumerate(texts)]
    (folder / "texts.csv").write_text("\n".join(["text,class", *rows, ""]))
    tags = ["B-PER", "I-PER", "O", "B-X_Y"]
    lines = ["".join(f"{w}\t{tags[n % 4]}\n" for n, w in enumerate(text.split())) for text in texts]
    (folder / "tags.conll").write_text("\n".join(lines))
    return folder


def small_run(task, data, path, **model):
    return loaded_run(run_of(task, data, path, spread=0.2, **{"hidden_size": 5} | model))


def classifier(folder, name):
    data = {"files": (f"{folder}/texts.csv",), "input": ("text",), "target": "class"}
    data |= {"tokens": TOKENS[name], "vocabulary_size": 300 if TOKENS[name] == "bpe" else None}
    data = {key: value for key, value in data.items() if value is not None}
    return small_run("classify", data, folder / name, **CLASSIFIERS[name])


def tagger(folder, name):
    return small_run("tag", {"file": f"{folder}/tags.conll"}, folder / name, **TAGGERS[name])


def whole(folder, name):
    """Return a run, made once."""
    if (folder / name).exists():
        return loaded_run(folder / name)
    return (classifier if name in CLASSIFIERS else tagger)(folder, name)


def served(loaded):
    return ServedRun("run", 0, loaded.task, loaded.model)


@pytest.mark.parametrize("name", [*CLASSIFIERS, *TAGGERS])
def test_a_text_is_read_and_answered_as_in_python(folder, name):
    loaded = whole(folder, name)
    run, position = served(loaded), 4
    parts = range(len(run.parts))
    questions = [
        ("read", {"text": TEXT, "expected": True, "position": position}),
        ("predict", {"text": TEXT}),
        ("gradient", {"text": TEXT, "position": position}),
        *(("unit", {"text": TEXT, "part": part, "unit": UNIT}) for part in parts),
    ]
    answered, predicted, gradient, *units = asked(bare_file(loaded), *questions)
    reading = read(run.subject, Source.text(TEXT))
    assert answered["pieces"] == [*reading.pieces]
    likeliest = [run.subject.labels[best] for best in reading.likeliest[:, 0].tolist()]
    said = [each for each in answered["expected"] if each]
    assert [each["text"] for each in said] == likeliest
    same([each["probability"] for each in said], reading.probabilities[:, 0].tolist())
    options = loaded.task.option_classes.predict
    expected = predict_text(run, TEXT, options(running=True) if name in CLASSIFIERS else options())
    expected.pop("text", None)
    same(predicted["prediction"], expected)
    reach = look_back(run, reading, position)
    assert gradient.get("lags", gradient) == reach.lags
    states = run.subject.recurrent.cell.states
    same(gradient["reach"], {state: reach.reach[state] for state in states}, 1e-7, share=1e-3)
    for part, unit in zip(parts, units, strict=True):
        view = unit_view(run.subject, reading, part, UNIT, run.step.graph)
        groups = {"x": view.terms.x, "u": view.terms.u, "values": view.values}
        groups |= {"before": view.before, "inner": view.inner}
        for group, values in groups.items():
            same(unit[group], {name: value.tolist() for name, value in values.items()})


HOLDS = [
    {"name": "f", "value": 0.0, "part": None, "units": None, "start": None, "stop": None},
    {"name": "c", "value": -0.5, "part": 0, "units": [1, 3], "start": 2, "stop": None},
]


@pytest.mark.parametrize("name", ["deep", "both ends", "crf"])
def test_values_are_held_as_in_python(folder, small_runs, name):
    if name == "deep":
        loaded, text = loaded_run(small_runs["deep"]), "hear me speak"
    else:
        loaded, text = whole(folder, name), TEXT
    run = served(loaded)
    (found,) = asked(bare_file(loaded), ("intervene", {"text": text, "holds": HOLDS}))
    question = HoldQuestion(run="run", text=text, holds=HOLDS)
    expected = held_answer(run, read(run.subject, Source.text(text)), question).model_dump()
    for key in ("free", "held"):
        same(*([each["probability"] for each in told[key]] for told in (found, expected)))
        assert [each["text"] for each in found[key]] == [each["text"] for each in expected[key]]
    assert found["held"] != found["free"]
    same(found["changed"], expected["changed"])
    same(found["surprise"], expected["surprise"], 1e-4)


def test_a_text_is_written_on_while_values_are_held(small_runs):
    loaded = loaded_run(small_runs["lstm"])
    question = {"text": "hear me", "length": 12, "temperature": 0, "holds": HOLDS}
    (lines,) = asked(bare_file(loaded), ("generate", question))
    holds = {"f": 0.0, "c": Hold(-0.5, units=[1, 3], steps=slice(2, None))}
    how = {"length": 12, "temperature": 0}
    with intervene(loaded.model, holds):
        written = "".join(generate(loaded.model, loaded.task.vocabulary, "hear me", **how))
    assert "".join(line.get("text", "") for line in lines) == written


def test_of_a_long_text_that_is_read_from_both_ends_the_answer_is_that_of_the_whole(folder):
    loaded = whole(folder, "both ends")
    text = " ".join(WORDS * 10)
    read_, told = asked(
        bare_file(loaded), ("read", {"text": text, "expected": True}), ("predict", {"text": text})
    )
    expected = predict_text(served(loaded), text, loaded.task.option_classes.predict())
    same(told["prediction"]["probabilities"], expected["probabilities"])
    assert told["prediction"]["running"] == {"most": 100}
    assert [each is not None for each in read_["expected"]] == [False] * (
        len(read_["pieces"]) - 1
    ) + [True]


@pytest.mark.parametrize("text", ["", " ", "\u2028"])
def test_a_text_without_words_has_no_steps(folder, text):
    loaded = whole(folder, "crf")
    read_, told = asked(bare_file(loaded), ("read", {"text": text}), ("predict", {"text": text}))
    assert read_["pieces"] == []
    assert told["prediction"]["tags"] == []


def test_a_classifier_whose_weights_are_no_numbers_says_so(folder):
    loaded = whole(folder, "mean")
    with torch.no_grad():
        loaded.model.layer.weight_hh_l0[:] = torch.nan
    questions = [(name, {"text": TEXT}) for name in ("predict", "read", "gradient")]
    questions[2][1]["position"] = 3
    told = asked(bare_file(loaded), *questions, ("intervene", {"text": TEXT, "holds": HOLDS[:1]}))
    assert told == [{"failed": "diverged"}] * 4


def test_classifiers_that_are_not_computed_in_a_browser_stand_alone_and_say_why(folder):
    data = {"files": (f"{folder}/texts.csv",), "input": ("text",), "target": "class"}
    loaded = small_run("classify", data, folder / "tcn", cell="tcn", num_layers=2)
    content = content_of(bare_file(loaded))
    assert content["run"]["outside"]["why"] == "layer"
    assert content["run"]["views"] == ["report"]
