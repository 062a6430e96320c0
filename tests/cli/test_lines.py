"""Predictions as text: a line for each input, whatever that holds; what is done is written."""

import csv
import json
import sys
import warnings

import pytest

from unrolled.tasks import find_task, options_of, prepare
from unrolled.tasks.classify import ClassifyTask

TEXTS = (
    *("good film", "two\nlines", "carriage\rreturn", "both\r\nof them", "\x1b[2Jcleared"),
    *("a\x0bb\x0cc\x1cd\x1ee", "next\x85line", "\u2028\u2029", "\x9b31m", "\u202eright"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier, a tagger, and a table of texts that have more than one line."""
    folder = tmp_path_factory.mktemp("lines")
    rows = [[f"film {i % 5} {'good' if i % 2 else 'bad'}", "np"[i % 2]] for i in range(40)]
    for name, content in (("train", rows), ("odd", [[text, "p"] for text in TEXTS])):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["text", "label"], *content])
    (folder / "words.conll").write_text("".join(f"Ana\tB-X\nruns{n}\tO\n\n" for n in range(20)))
    (folder / "numbers.ts").write_text(
        "@classLabel true a b\n@data\n" + "".join(f"1,2,{i}:{'ab'[i % 2]}\n" for i in range(30))
    )
    reviews = {"files": (f"{folder}/train.csv",), "input": ("text",), "target": "label"}
    for name, task, data in (
        ("classifier", "classify", reviews),
        ("tagger", "tag", {"file": f"{folder}/words.conll"}),
        ("series", "classify", {"files": (f"{folder}/numbers.ts",)}),
    ):
        options = options_of(task)
        prepare(
            find_task(task),
            options.DataOptions(**data),
            folder / name,
            model=options.ModelOptions(hidden_size=4),
            training=options.TrainingOptions(epochs=1),
        ).trainer.fit()
    return folder


def test_every_input_has_one_line_in_a_pipe_too(unrolled, folder):
    done = unrolled("predict", folder / "classifier", folder / "odd.csv")
    assert done.code == 0, done.err
    lines = done.out.splitlines()  # at all that Python, editors and terminals take for an end
    assert len(lines) == len(TEXTS) == done.out.count("\n")
    assert all(len(line.split("\t")) == 3 for line in lines)
    assert done.out.replace("\n", "").isprintable() or "\t" in done.out
    assert not any(mark in done.out for mark in ("\x1b", "\r", "\x9b", "\u202e"))
    assert r"two\nlines" in done.out


def test_json_has_the_texts_as_they_are(unrolled, folder):
    done = unrolled("predict", folder / "classifier", folder / "odd.csv", "--json")
    read = [json.loads(line)["text"] for line in done.out.split("\n")[:-1]]
    assert read == list(TEXTS)
    assert "\x1b" not in done.out


@pytest.mark.parametrize(
    ("run", "lines", "bad", "message"),
    [
        ("classifier", "good film", b"\xff", "line 3: not UTF-8"),
        ("tagger", "Ana runs", b"\xff", "line 3: not UTF-8"),
        ("series", "1,2,3", b"1,x,3", "line 3"),
    ],
)
def test_what_comes_before_an_input_that_cannot_be_read_is_written(
    unrolled, folder, tmp_path, run, lines, bad, message
):
    file = tmp_path / ("in.ts" if run == "series" else "in.txt")
    head = "@classLabel true a b\n@data\n" if run == "series" else ""
    file.write_bytes(head.encode() + f"{lines}\n{lines}\n".encode() + bad + b"\n")
    done = unrolled("predict", folder / run, file)
    assert (done.code, done.out.count("\n")) == (1, 2), done
    assert done.err.startswith("unrolled: error: ")


def test_a_warning_cannot_steer_a_terminal_and_is_a_line(unrolled, folder, monkeypatch):
    def predict(*_):  # what Python does with a warning, where pytest does not keep it
        message = UserWarning("class \x1b[2J\nunrolled: done")
        sys.stderr.write(warnings.formatwarning(message, UserWarning, "file.py", 3, "line"))
        return iter(())

    monkeypatch.setattr(ClassifyTask, "predict", predict)
    before = warnings.formatwarning
    done = unrolled("predict", folder / "classifier", folder / "odd.csv")
    assert done.err == "unrolled: warning: class \\x1b[2J\\nunrolled: done\n"
    assert warnings.formatwarning is before


@pytest.mark.parametrize("number", [1, 2])
def test_inputs_that_are_read_in_part_are_counted(unrolled, folder, tmp_path, number):
    lines = ["good film", *["good film " * 5000] * number]
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n")
    done = unrolled("predict", folder / "classifier", "in.txt", "--json")
    assert (done.code, done.out.count("\n")) == (0, number + 1)
    were = "1 input was" if number == 1 else "2 inputs were"
    assert done.err == f"note: {were} too long for this model, which read the beginning\n"
