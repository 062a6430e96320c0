import json

import pytest

SMALL = ("--examples", "8", "--epochs", "1", "--hidden-size", "4", "--batch-size", "4")


def test_a_toy_is_trained_and_measured_against_its_levels(unrolled, tmp_path):
    done = unrolled("train", "toy", "hello", *SMALL, "--cell", "gru", "--run", "r")
    assert done.code == 0
    assert "best without memory" in done.err
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert results["task"] == "toy"
    (tmp_path / "words.txt").write_text("hell\n")
    predicted = unrolled("predict", "r", "words.txt", "--json")
    assert len(json.loads(predicted.out)["answers"]) == 4
    (tmp_path / "examples.txt").write_text("hell\tello\n")
    measured = json.loads(unrolled("evaluate", "r", "examples.txt", "--json").out)
    assert measured.keys() == {"num_examples", "loss", "accuracy"}


@pytest.mark.parametrize("initialize", ["chrono", "forget-bias"])
def test_the_gate_that_keeps_begins_as_it_is_told(unrolled, tmp_path, initialize):
    options = ("echo", "--length", "5", "--delay", "3", "--initialize", initialize)
    assert unrolled("train", "toy", *options, *SMALL, "--run", "r").code == 0
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["data"]["options"]["delay"] == 3
    assert config["model"]["initialize"] == initialize


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("adition",), "no problem 'adition'"),
        (("reber", "--length", "3"), "--length is for adding"),
        (
            ("adding", "--length", "1"),
            "adding: --length (values to read) must be at least 2, got 1",
        ),
        (("adding", "--examples", "0"), "--examples must be at least 1, got 0"),
        (("adding", "--cell", "tcn", "--initialize", "chrono"), "--initialize is for cells with"),
        (("adding", "--parameters", "3"), "no model of this kind fits in 3 parameters"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(unrolled, tmp_path, options, message):
    done = unrolled("train", "toy", *options, "--run", "r")
    assert done.code == 1
    assert done.err.startswith("unrolled: error: ")
    assert message in done.err
    assert not (tmp_path / "r").exists()
