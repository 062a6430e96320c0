import json

import pytest

LINES = "".join(f"{n % 5} 9 | {n % 3} | 9 {n % 4}\n" for n in range(60))
SMALL = ("--epochs", "1", "--hidden-size", "4", "--run", "r")


def test_label_sets_are_trained_measured_predicted_and_written(unrolled, tmp_path):
    (tmp_path / "sets.txt").write_text(LINES)
    done = unrolled("train", "multilabel", "sets.txt", *SMALL)
    assert done.code == 0
    assert "each label after" in done.err
    assert "loss (nats/step)" in done.err
    assert "unrolled generate r" in done.err
    predicted = unrolled("predict", "r", "sets.txt", "--json", "--threshold", "0.001")
    assert len(predicted.out.splitlines()) == 60
    assert set(json.loads(predicted.out.splitlines()[0])["next"]) <= set("012349")
    measured = json.loads(unrolled("evaluate", "r", "sets.txt", "--json").out)
    assert measured["num_examples"] == 60
    assert measured["num_steps"] == 120
    written = unrolled("generate", "r", "--prompt", "9 | 1", "--length", "6", "--seed", "1")
    assert written.out.startswith("9 | 1 |")
    assert written.out.count("|") == 7
    texts = unrolled("generate", "r", "--samples", "2", "--length", "2").out
    assert texts.count("--- ") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("generate", "r", "--top-p", "0.5"), "--top-p is for text"),
        (("generate", "r", "--prompt", "77"), "labels that the model does not know: 77"),
        (("evaluate", "r", "sets.txt", "--skip-unknown"), "--skip-unknown is not for runs of"),
        (("predict", "r", "sets.txt", "--threshold", "1"), "--threshold must be in (0, 1), got 1"),
        (("train", "multilabel", "sets.txt", "--labels", "x"), "--labels must be a range"),
        (("train", "multilabel", "sets.csv"), "which column of the table holds the labels?"),
    ],
)
def test_a_mistake_is_one_line(unrolled, tmp_path, words, message):
    (tmp_path / "sets.txt").write_text(LINES)
    (tmp_path / "sets.csv").write_text("a,b\n1,2\n")
    assert unrolled("train", "multilabel", "sets.txt", *SMALL).code == 0
    done = unrolled(*words)
    assert done.code == 1
    assert message in done.err
    assert done.err.count("error: ") == 1
