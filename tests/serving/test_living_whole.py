"""Classifiers and taggers within a report: what the file computes by itself is what Python says."""

import random
import shutil

import pytest
import torch

from support.living import asked, bare_file, loaded_run
from unrolled.data import Source
from unrolled.serving.gradient import look_back
from unrolled.serving.predictions import predict_text
from unrolled.serving.reading import read, unit_view
from unrolled.serving.runs import ServedRun
from unrolled.tasks import find_task, options_of, prepare
from unrolled.training import save_weights

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


def run_of(task, data, path, **model):
    """Return a run with random weights."""
    options = options_of(task)
    trainer = prepare(
        find_task(task),
        options.DataOptions(**data),
        path,
        model=options.ModelOptions(**{"cell": "lstm", "hidden_size": 5, "num_layers": 1} | model),
        training=options.TrainingOptions(epochs=1, seed=1),
    ).trainer
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.mul_(2).add_(0.2 * torch.randn_like(weight))
    save_weights(trainer.run.weights_path, trainer.model)
    return loaded_run(path)


def classifier(folder, name):
    data = {"files": (f"{folder}/texts.csv",), "input": ("text",), "target": "class"}
    data |= {"tokens": TOKENS[name], "vocabulary_size": 300 if TOKENS[name] == "bpe" else None}
    data = {key: value for key, value in data.items() if value is not None}
    return run_of("classify", data, folder / name, **CLASSIFIERS[name])


def tagger(folder, name):
    return run_of("tag", {"file": f"{folder}/tags.conll"}, folder / name, **TAGGERS[name])


def served(loaded):
    return ServedRun("run", 0, loaded.task, loaded.model)


def same(found, expected, tolerance=2e-6, share=1e-6):
    """Whether both are alike in all their names and texts, and nearly so in their numbers."""
    if isinstance(expected, dict):
        assert {*found} == {*expected}
        for name, value in expected.items():
            same(found[name], value, tolerance, share)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for mine, value in zip(found, expected, strict=True):
            same(mine, value, tolerance, share)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=tolerance, rel=share)
    else:
        assert found == expected


@pytest.mark.parametrize("name", [*CLASSIFIERS, *TAGGERS])
def test_a_text_is_read_and_answered_as_in_python(folder, name):
    loaded = (classifier if name in CLASSIFIERS else tagger)(folder, name)
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
