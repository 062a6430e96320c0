"""A cell of the user's own, from a file: trained, compared, kept in the run, run only when told."""

import json
import re
from pathlib import Path

import pytest

from support.runs import without_checksums
from unrolled.networks import LAYERS

CELL = """
from pathlib import Path

import unrolled
from torch import sigmoid, tanh

with Path("runs_of_this_file.txt").open("a") as file:
    file.write("x")


@unrolled.cell(gates="f g", keeps="f")
def leaky(x, u, h):
    f = sigmoid(x.f + u.f)
    return dict(h=f * h + (1 - f) * tanh(x.g + u.g), f=f)


@unrolled.cell(gates="g")
def forgetful(x, u, h):
    return dict(h=tanh(x.g + u.g) + 0 * h)


number = 3
"""
SMALL = ("--hidden-size", 4, "--epochs", 1, "--batch-size", 4)


@pytest.fixture
def cells(tmp_path):
    path = tmp_path / "cells.py"
    path.write_text(CELL)
    return path


@pytest.fixture
def texts(tmp_path):
    for label, words in {"pos": "good great fine", "neg": "bad poor weak"}.items():
        lines = [f"a {word} film {n}\n" for n in range(20) for word in words.split()]
        (tmp_path / f"{label}.txt").write_text("".join(lines))
    return ("neg=neg.txt", "pos=pos.txt")


def num_runs_of_the_file():
    counted = Path("runs_of_this_file.txt")
    return len(counted.read_text()) if counted.exists() else 0


@pytest.mark.parametrize("named", ["cells.py:leaky", "./cells.py:leaky", "cells:leaky"])
def test_a_language_model_is_trained_with_a_cell_from_a_file(unrolled, text_file, cells, named):
    trained = unrolled("train", "lm", text_file, "--cell", named, *SMALL, "--k1", 16, "--run", "r")
    assert (trained.code, trained.out) == (0, "")
    assert trained.err.startswith("r: leaky 1 x 4, ")
    assert "  unrolled generate r --trust-code\n" in trained.err
    assert json.loads(Path("r/config.json").read_text())["model"]["cell"] == {"own": "leaky"}
    assert Path("r/cell.py").read_text() == CELL
    assert json.loads(Path("r/results.json").read_text())["cell"] == "leaky"


def test_the_cell_of_the_readme_is_trained_by_the_command_of_the_readme(unrolled, text_file):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (block,) = (block for block in blocks if "@unrolled.cell" in block)
    (command,) = re.findall(r"^unrolled (train lm .* --cell mycell.py:.*)", readme, re.MULTILINE)
    Path("mycell.py").write_text(block)
    text_file.rename("book.txt")
    trained = unrolled(*command.split(), *SMALL, "--k1", 16)
    assert trained.code == 0, trained.err
    assert "--trust-code" in trained.err


def test_a_run_does_without_the_file_that_its_cell_came_from(unrolled, text_file, cells):
    unrolled("train", "lm", text_file, "--cell", "cells.py:leaky", *SMALL, "--k1", 16, "--run", "r")
    cells.unlink()
    written = unrolled("generate", "r", "--length", 9, "--trust-code")
    assert (written.code, written.err) == (0, "")
    assert len(written.out) == 10
    assert unrolled("evaluate", "r", text_file, "--trust-code").code == 0
    assert "finished" in unrolled("resume", "r", "--trust-code").err


@pytest.mark.parametrize("command", [("generate",), ("resume",), ("evaluate", "bottles.txt")])
def test_code_of_a_run_is_run_only_when_told(unrolled, text_file, cells, command):
    unrolled("train", "lm", text_file, "--cell", "cells.py:leaky", *SMALL, "--k1", 16, "--run", "r")
    name, *rest = command
    without_checksums(Path("r"))
    Path("r/cell.py").write_text(f"{CELL}# {name}: a text that this process has not run yet\n")
    Path("runs_of_this_file.txt").unlink(missing_ok=True)
    refused = unrolled(name, "r", *rest)
    assert (refused.code, refused.out) == (1, "")
    lines = len(CELL.splitlines()) + 1
    assert f"its cell leaky is code, {lines} lines in r/cell.py, which has not" in refused.err
    assert "hint: read that file; if you trust it, add --trust-code\n" in refused.err
    assert num_runs_of_the_file() == 0
    assert unrolled(name, "r", *rest, "--trust-code").code == 0
    assert num_runs_of_the_file() == 1


def test_a_classifier_is_trained_with_a_cell_from_a_file(unrolled, texts, cells):
    options = ("--cell", "cells.py:leaky", "--embedding-size", 4, *SMALL, "--run", "r")
    trained = unrolled("train", "classify", *texts, *options)
    assert (trained.code, trained.out) == (0, "")
    assert "  unrolled predict r FILE --trust-code\n" in trained.err
    assert "cell leaky is code" in unrolled("predict", "r", "pos.txt").err
    predicted = unrolled("predict", "r", "pos.txt", "--trust-code")
    assert (predicted.code, len(predicted.out.splitlines())) == (0, 60)


@pytest.mark.parametrize("cell", [*LAYERS, "mgu"])
def test_every_built_in_layer_can_be_named(unrolled, cell):
    options = ("--examples", 8, "--cell", cell, *SMALL, "--run", "r")
    trained = unrolled("train", "toy", "hello", *options)
    assert trained.code == 0, trained.err
    assert json.loads(Path("r/results.json").read_text())["cell"] == cell
    assert "--trust-code" not in trained.err
    assert not Path("r/cell.py").exists()


def test_there_are_layers_of_all_cells():
    assert LAYERS.keys() >= {"rnn", "rnn_relu", "lstm", "gru", "gru_reset_before", "janet", "tcn"}


def test_cells_of_ones_own_are_compared_with_the_built_in_ones(unrolled, cells):
    pytest.importorskip("plotly")
    options = ("--examples", 8, "--batch-size", 4, "--parameters", 300, "--seeds", 1)
    own = "gru_reset_before,cells.py:leaky,cells:forgetful --learning-rate 0.001"
    done = unrolled(
        "compare", "toy", "hello", *options, "--epochs", 1, "--cells", own, "--out", "c"
    )
    assert done.code == 0, done.err
    rows = json.loads(Path("c/comparison.json").read_text())["rows"]
    assert [row["contestant"] for row in rows] == [
        "gru_reset_before",
        "cells.py:leaky",
        "cells:forgetful --learning-rate 0.001",
    ]


def test_the_gate_that_a_cell_declares_to_keep_is_the_one_that_is_initialized(unrolled, cells):
    toy = ("train", "toy", "echo", "--length", 5, "--examples", 8, *SMALL, "--initialize", "chrono")
    assert unrolled(*toy, "--cell", "cells.py:leaky", "--run", "r").code == 0
    refused = unrolled(*toy, "--cell", "cells.py:forgetful", "--run", "s")
    assert refused.code == 1
    assert "--initialize is for cells with a gate that keeps the old state" in refused.err
    assert "the cell is forgetful" in refused.err
    assert not Path("s").exists()


@pytest.mark.parametrize(
    ("named", "message", "hint"),
    [
        ("cells.py:laeky", "cell laeky", "cells.py declares leaky, forgetful"),
        ("cells.py:number", "is not a cell", "cells.py declares leaky, forgetful"),
        ("cells.py:", "does not exist", "cells.py declares leaky, forgetful"),
        ("nowhere.py:leaky", "nowhere.py: cannot be read: No such file", ""),
        ("nowhere:leaky", "no module 'nowhere' with a source file", "FILE.py:NAME"),
        ("raising.py:leaky", "ZeroDivisionError", "the file must stand alone"),
        ("unfinished.py:leaky", "SyntaxError", "the file must stand alone"),
        ("needy.py:leaky", "No module named 'absent_neighbour'", "it may import what is installed"),
        ("binary.py:leaky", "binary.py: cannot be read: not UTF-8 text", ""),
    ],
)
@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_cell_that_cannot_be_had_is_said_in_one_line_before_anything_is_made(
    unrolled, cells, named, message, hint, command
):
    Path("raising.py").write_text("1 / 0\n")
    Path("unfinished.py").write_text("def\n")
    Path("needy.py").write_text("import absent_neighbour\n")
    Path("binary.py").write_bytes(b"\xff\xfe\x00")
    option, folder = {"train": ("--cell", "--run"), "compare": ("--cells", "--out")}[command]
    small = ("--examples", 8, "--batch-size", 4, "--epochs", 1)
    refused = unrolled(command, "toy", "hello", *small, option, named, folder, "made")
    assert (refused.code, refused.out) == (1, "")
    lines = refused.err.splitlines()
    assert lines[0].startswith("unrolled: error: ")
    assert len(lines) <= 2
    assert message in lines[0]
    assert hint in refused.err
    assert not Path("made").exists()
