"""`unrolled train translate` and what is done with its runs."""

import json

import pytest

SMALL = ("--epochs", "1", "--hidden-size", "8", "--tokens", "word", "--held-out", "0.2")
SMALL = (*SMALL, "--test", "0.2", "--batch-size", "8")


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    numbers = ["zero", "one", "two", "three", "four"]
    sentences = [f"{a} and {b}\t{b} et {a}" for a in numbers for b in numbers]
    path.write_text("english\tfrench\n" + "\n".join([*sentences, "\tempty"]) + "\n")
    return path


NAMED = ("--source-column", "english", "--target-column", "french")


def test_a_run_is_trained_measured_resumed_and_used(unrolled, pairs, tmp_path):
    done = unrolled("train", "translate", pairs, "--run", "run", *SMALL, *NAMED)
    assert done.code == 0, done.err
    assert "1 pair has an empty side and is left out" in done.err
    assert "nearest" in done.err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["part"] == "test"
    assert 0 <= results["metrics"]["chrf"] <= 100
    assert results["baselines"].keys() == {"most frequent", "copy", "nearest"}
    (tmp_path / "in.txt").write_text("one and two\n\nthree and four\n")
    said = unrolled("predict", "run", "in.txt")
    assert (said.code, said.out.count("\n")) == (0, 3)
    said = unrolled("predict", "run", "in.txt", "--json", "--beam", "3", "--n-best", "2")
    first, empty, last = map(json.loads, said.out.splitlines())
    assert len(first["attention"]) == len(first["tokens"])
    assert len(last["alternatives"]) == 2
    assert empty == {"source": "", "translation": ""}
    measured = unrolled("evaluate", "run", pairs, "--json")
    assert json.loads(measured.out)["num_examples"] == 25
    assert "left out" in measured.err
    assert unrolled("resume", "run").code == 0


def test_a_delayed_run_has_its_own_network_and_no_search(unrolled, pairs, tmp_path):
    done = unrolled("train", "translate", pairs, "--run", "run", *SMALL, *NAMED, "--delay", "2")
    assert done.code == 0, done.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["task"], config["model"]["delay"]) == ("translate", 2)
    (tmp_path / "in.txt").write_text("one and two\n")
    assert unrolled("predict", "run", "in.txt", "--json").code == 0
    refused = unrolled("predict", "run", "in.txt", "--beam", "2")
    assert refused.code == 1
    assert "--beam is for an encoder and a decoder" in refused.err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--delay", "2", "--attention", "additive"), "--attention is for an encoder and a"),
        (("--delay", "2", "--bidirectional"), "--bidirectional is for an encoder"),
        (("--delay", "2", "--sampling", "0.5"), "--sampling is for an encoder and a decoder"),
        (("--attention", "dot"), "attention must be one of additive"),
        (("--source-column", "german"), "line 1: no column 'german'"),
        (("--target-column", "3"), "line 1: source and target are in columns 1 and 3, got 2"),
        (("--cell", "lst"), "did you mean lstm?"),
        (("--limit", "1"), "too few to hold out"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_no_folder_is_made(
    unrolled, pairs, tmp_path, options, complaint
):
    refused = unrolled("train", "translate", pairs, "--run", "run", *SMALL, *options)
    assert refused.code == 1
    assert complaint in " ".join(refused.err.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("attention", ["multiplicative", "none"])
def test_attention_and_the_encoder_are_chosen(unrolled, pairs, tmp_path, attention):
    options = ("--attention", attention, "--no-bidirectional", "--cell", "conv")
    options = (*options, "--sampling", "0.5", "--label-smoothing", "0", "--parameters", "40000")
    at = SMALL.index("--hidden-size")
    small = (*SMALL[:at], *SMALL[at + 2 :])  # the budget decides it
    done = unrolled("train", "translate", pairs, "--run", "run", *small, *NAMED, *options)
    assert done.code == 0, done.err
    model = json.loads((tmp_path / "run" / "config.json").read_text())["model"]
    chosen = (model["attention"], model["bidirectional"], model["sampling"])
    assert chosen == (attention, False, 0.5)
    assert model["hidden_size"] != 8
    (tmp_path / "in.txt").write_text("one and two\n")
    found = json.loads(unrolled("predict", "run", "in.txt", "--json").out)
    assert ("attention" in found) == (attention != "none")


def test_a_run_of_two_files_side_by_side_is_measured_on_a_table_too(unrolled, pairs, tmp_path):
    rows = [line.split("\t") for line in pairs.read_text().splitlines()[1:-1]]
    for place, name in enumerate(("a.en", "a.fr")):
        (tmp_path / name).write_text("".join(f"{row[place]}\n" for row in rows))
    assert unrolled("train", "translate", "a.en", "a.fr", "--run", "run", *SMALL).code == 0
    (tmp_path / "new.tsv").write_text("".join("\t".join(row) + "\n" for row in rows[:7]))
    measured = unrolled("evaluate", "run", "new.tsv", "--json")
    assert (measured.code, json.loads(measured.out)["num_examples"]) == (0, 7)
