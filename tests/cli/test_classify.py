"""`unrolled train classify`, as a user meets it."""

import inspect
import json
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from unrolled.cli.train_classify import train_classify
from unrolled.networks.sequence_layers import CELLS
from unrolled.tasks.classify.model import ClassifierConfig
from unrolled.tasks.classify.options import ClassifyOptions
from unrolled.training import Run

SMALL = ("--hidden-size", 4, "--embedding-size", 4, "--epochs", 2, "--run", "run")
WORDS = {"pos": "good great fine", "neg": "bad poor weak"}


@pytest.fixture
def reviews(tmp_path):
    for label, words in WORDS.items():
        lines = [f"a {w} film {n}\n" for n in range(20) for w in words.split()]
        (tmp_path / f"{label}.txt").write_text("".join(lines))
    rows = [
        f"{line.strip()},{label}\n"
        for label in WORDS
        for line in (tmp_path / f"{label}.txt").read_text().splitlines()
    ]
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\n" + "".join(rows))
    return path


def test_train_predict_evaluate_and_resume_work_together(unrolled, reviews):
    made = unrolled("train", "classify", "neg=neg.txt", "pos=pos.txt", *SMALL)
    assert (made.code, made.out) == (0, "")
    assert "note: 2 classes in the training part: " in made.err
    assert "bag of words" in made.err
    assert "true class, and what it was taken for" in made.err

    said = unrolled("predict", "run", "pos.txt", "--json", "--running")
    assert (said.code, said.err) == (0, "")
    first = json.loads(said.out.splitlines()[0])
    assert [step["token"] for step in first["running"]] == ["a", "good", "film", "0"]
    assert len(unrolled("predict", "run", "pos.txt").out.splitlines()) == 60

    measured = json.loads(unrolled("evaluate", "run", "neg=neg.txt", "--json").out)
    assert measured["num_examples"] == 60
    assert measured["confusion"]["classes"] == ["neg", "pos"]
    assert "taken for" in unrolled("evaluate", "run", "neg=neg.txt").out
    assert "finished" in unrolled("resume", "run").err


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_classifies(unrolled, reviews, cell):
    given = ("--input", "text", "--target", "label", "--cell", cell, "--no-bidirectional")
    assert unrolled("train", "classify", reviews, *given, *SMALL).code == 0
    results = json.loads(Run.open(Path("run")).results_path.read_text())
    assert results["cell"] == cell


def test_every_option_is_handed_on(monkeypatch, reviews):
    """Each parameter, set to what is not its default, changes what the run is made of."""

    def take(task, options, run, *, training, model, **rest):
        made = {**rest, "run": run, **vars(options), **vars(training(100)), **model}
        raise _TakenError({name: value for name, value in made.items() if name != "processes"})

    monkeypatch.setattr("unrolled.cli.session.train_task", take)
    columns = {"inputs": ["text"], "target": "label", "run": reviews.parent}
    other = {
        "inputs": ["body"],
        "id": "case",
        "time": "t",
        "target": "y",
        "held_out_file": reviews,
        "test_file": reviews,
        "tokens": "char",
        "lowercase": False,
        "class_weights": "balanced",
        "encoding": "latin-1",
        "cell": "tcn",
        "bidirectional": False,
        "pooling": "last",
        "run": reviews,
        "epochs": 3.0,
        "minutes": 2.0,
    }
    extra = {"time": {"id": "case"}, "vocabulary_size": {"tokens": "bpe"}}
    extra["kernel_size"] = {"cell": "tcn"}
    for name, parameter in inspect.signature(train_classify).parameters.items():
        if name == "files":
            continue
        default = parameter.default
        value = other.get(
            name, 300 if default is None else default * 2 or 0.5 * (name != "seed") or 1
        )
        without = columns | extra.get(name, {})
        before, after = (_taken([str(reviews)], **without | new) for new in ({}, {name: value}))
        assert after != before, name


def test_the_defaults_are_those_of_the_library():
    names = {"vocabulary_size": None, "bpe_size": "vocabulary_size"}
    options, compared = inspect.signature(train_classify).parameters, set()
    for owner in (ClassifierConfig, ClassifyOptions):
        for field in fields(owner):
            name = names.get(field.name, field.name)
            if name in options and field.default is not MISSING:
                assert options[name].default == field.default or field.default == (), name
                compared.add(name)
    alone = {"files", "run", "parameters", "layers", "epochs", "minutes"}
    trained = {"batch_size", "learning_rate", "weight_decay", "clip_norm", "patience"}
    assert set(options) - compared == alone | trained


def _taken(files, **options):
    with pytest.raises(_TakenError) as caught:
        train_classify(files, **options)
    return caught.value.args[0]


class _TakenError(Exception):
    pass


def test_the_run_has_every_option_of_data_and_model(unrolled, reviews):
    unrolled("train", "classify", reviews, "--input", "text", "--target", "label", *SMALL)
    config = Run.open(Path("run")).config
    assert config["data"]["options"].keys() == {field.name for field in fields(ClassifyOptions)}
    assert config["model"].keys() == {field.name for field in fields(ClassifierConfig)}
    assert all(field.default is not MISSING for field in fields(ClassifierConfig)[1:])


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["reviews.csv"], "a table needs the column of the class", "--target COLUMN"),
        (["reviews.csv", "--target", "label", "--input", "txt"], "no column 'txt'", "'text'"),
        (["pos.txt"], "has the texts of one class", "a file for each class"),
        (["pos=pos.txt", "neg=nix.txt"], "nix.txt: no such file", "check the path"),
        (["pos=pos.txt", "neg=neg.txt", "--pooling", "sum"], "pooling must be one of", ""),
    ],
)
def test_a_mistake_ends_in_a_line_and_a_hint(unrolled, reviews, arguments, message, hint):
    result = unrolled("train", "classify", *arguments, "--run", "run")
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert hint in result.err
    assert not (reviews.parent / "run").exists()
