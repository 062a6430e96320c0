"""`unrolled train classify`, as a user meets it."""

import json
from pathlib import Path

import pytest

from unrolled.networks import LAYERS
from unrolled.training import Run

SMALL = ("--hidden-size", 4, "--embedding-size", 4, "--epochs", 2, "--run", "run")
READ = ("--input", "text", "--target", "label")
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
    both = json.loads(unrolled("evaluate", "run", "neg=neg.txt", "pos=pos.txt", "--json").out)
    assert both["num_examples"] == 120
    assert both["accuracy"] > measured["accuracy"] / 2  # those of the second file are among them
    assert [sum(row) for row in both["confusion"]["counts"]] == [60, 60]
    assert "finished" in unrolled("resume", "run").err


@pytest.mark.parametrize("cell", LAYERS)
def test_every_layer_classifies(unrolled, reviews, cell):
    given = ("--input", "text", "--target", "label", "--cell", cell, "--no-bidirectional")
    assert unrolled("train", "classify", reviews, *given, *SMALL).code == 0
    results = json.loads(Run.open(Path("run")).results_path.read_text())
    assert results["cell"] == cell


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["reviews.csv"], "a table needs the column of the class", "--target COLUMN"),
        (["reviews.csv", "--target", "label", "--input", "txt"], "no column 'txt'", "'text'"),
        (["pos.txt"], "has the texts of one class", "a file for each class"),
        (["pos=pos.txt", "neg=nix.txt"], "nix.txt: no such file", "check the path"),
        (["pos=pos.txt", "neg=neg.txt", "--pooling", "sum"], "--pooling must be one of", ""),
    ],
)
def test_a_mistake_ends_in_a_line_and_a_hint(unrolled, reviews, arguments, message, hint):
    result = unrolled("train", "classify", *arguments, "--run", "run")
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert hint in result.err
    assert not (reviews.parent / "run").exists()


def test_a_figure_that_is_higher_by_chance_is_not_passed_over_in_silence(
    unrolled, reviews, monkeypatch
):
    """The loss decides among accuracies within a standard error, here against the higher one."""
    measured = iter([{"loss": 0.5, "accuracy": 0.70}, {"loss": 0.6, "accuracy": 0.72}])
    monkeypatch.setattr(
        "unrolled.tasks.classify.ClassifyTask.monitor",
        lambda *_: next(measured) | {"macro_f1": 0.7},
    )
    options = ("--updates", 1, "--evaluate-every", 1, "--held-out", 0.4)
    done = unrolled("train", "classify", "reviews.csv", *READ, *SMALL[:4], *options, "--run", "run")
    assert done.code == 0
    said = " ".join(done.err.split())
    assert "best held-out" not in said
    assert (
        "kept: update 0, held-out accuracy 0.7000; that 0.7200 is more, chance may explain, and "
        "the loss was higher nothing was clearly better than the weights before the first update"
    ) in said


def test_without_a_part_to_measure_on_there_is_no_table_of_figures(unrolled, reviews):
    none = ("--held-out", 0, "--test", 0)
    done = unrolled("train", "classify", "reviews.csv", *READ, *SMALL, *none)
    lines = done.err.splitlines()
    place = lines.index("no part is left to measure on")
    assert lines[place - 1] == "the last weights, averaged, are kept"
    assert not any(line.split()[-1:] == ["model"] for line in lines)


@pytest.mark.parametrize(("select", "said"), [((), 1), (("--select", "last"), 0)])
def test_that_few_are_held_out_is_said_once_and_not_to_who_chose(unrolled, reviews, select, said):
    done = unrolled(
        *("train", "classify", "reviews.csv", *READ, *SMALL, "--held-out", 0.05, *select)
    )
    assert done.err.count("too few to choose by") == said
    assert done.err.count("the last weights, averaged, are kept") == 1
