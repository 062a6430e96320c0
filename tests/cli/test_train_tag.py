import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled.training import Run

SENTENCES = "\n".join(
    f"{subject} NOUN\n{verb} VERB\n{thing} NOUN\n. PUNCT\n"
    for subject in ("Ana", "Rui", "Eva", "Noa")
    for verb in ("come", "vende", "perde")
    for thing in ("pão", "uvas", "tudo")
)
SMALL = ("--hidden-size", "6", "--embedding-size", "4", "--letter-size", "2", "--epochs", "4")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "words.conll"
    path.write_text(SENTENCES)
    return path


@pytest.fixture
def train(unrolled: Callable[..., Any], file: Path) -> Callable[..., Any]:
    return lambda *options: unrolled("train", "tag", file, "--run", "run", *SMALL, *options)


def test_train_predict_evaluate_and_resume_work_together(
    unrolled, train, file, monkeypatch
) -> None:
    trained = train("--learning-rate", 0.05, "--batch-size", 4, "--dropout", 0)
    assert (trained.code, trained.out) == (0, "")
    assert "always NOUN" in trained.err
    results = json.loads(Path("run/results.json").read_text())
    assert results["task"] == "tag"
    assert results["metrics"]["accuracy"] > results["baselines"]["always NOUN"]["accuracy"] == 0.5

    Path("in.txt").write_text("Ana vende tudo .\nRui come\n")
    written = unrolled("predict", "run", "in.txt")
    assert (written.code, written.err) == (0, "")
    assert written.out.splitlines()[1].startswith("Rui/")
    predictions = unrolled("predict", "run", "in.txt", "--json").out.splitlines()
    assert json.loads(predictions[0])["words"] == ["Ana", "vende", "tudo", "."]

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Eva come\n\nAna vende\n")))
    lines = unrolled("predict", "run", "-").out.split("\n")
    assert [line.split("/")[0] for line in lines] == ["Eva", "", "Ana", ""]

    Path("bad.conll").write_text("Ana\tNOUN\ncome\n")
    refused = unrolled("predict", "run", "bad.conll")
    assert refused.code == 1
    assert "bad.conll, line 2: 2 columns between tabs or blanks expected" in refused.err
    refused = unrolled("predict", "run", "in.txt", "--beam", 2)
    assert "--beam is not for runs of tag" in refused.err

    measured = json.loads(unrolled("evaluate", "run", file, "--json").out)
    assert (measured["num_examples"], measured["num_words"]) == (36, 144)
    assert "finished" in unrolled("resume", "run").err


def test_a_delay_makes_a_network_of_one_direction(train) -> None:
    assert train("--delay", 2, "--cell", "tcn").code == 0
    model = Run.open(Path("run")).config["model"]
    assert (model["delay"], model["cell"], model["num_layers"]) == (2, "tcn", 4)


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("Ana NOUN\ncome\n", (), "words.conll, line 2: 2 columns between tabs or blanks"),
        ("Ana\ncome\n", (), "words.conll, line 1: a word and its tag expected"),
        ("1\tAna\tNOUN\n", ("--column", "upos"), "no column 'upos' of tags among 3 columns"),
        (
            "".join(f"{n} NOUN\n\n" for n in range(40)),
            (),
            "all words of the training part have one tag, NOUN",
        ),
        ("\n \n", (), "no word in it"),
        ("Ana NOUN\n\ncome VERB\n", (), "too few to hold out 0.1"),
        ("Ana NOUN\n\ncome VERB\n", ("--held-out-file", "no.conll"), "no.conll: no such file"),
        (SENTENCES, ("--delay", "-1"), "--delay must be at least 0"),
        (SENTENCES, ("--layers", "0"), "--layers must be at least 1, got 0"),
        (SENTENCES, ("--held-out", "1"), "--held-out must be in [0, 1), got 1"),
        (SENTENCES, ("--encoding", "klingon"), "unknown encoding"),
    ],
)
def test_data_and_options_that_cannot_be_used_end_in_one_line(
    train, file, content: str, options: tuple[str, ...], expected: str
) -> None:
    file.write_text(content)
    result = train("--test", "0", *options)
    assert (result.code, result.out) == (1, "")
    assert expected in " ".join(result.err.split())
    assert result.err.startswith("unrolled: error: ")
    assert not Path("run").exists()


def test_a_table_whose_sentences_are_not_named_is_told_how_they_are(unrolled, tmp_path) -> None:
    (tmp_path / "words.csv").write_text("sentence,word,tag\n1,Ana,B-PER\n1,runs,O\n")
    refused = unrolled("train", "tag", "words.csv", "--run", "run", *SMALL)
    assert (refused.code, refused.err.splitlines()[-1]) == (
        1,
        "hint: is it a table? training on one names its column of sentences: --sentence",
    )
