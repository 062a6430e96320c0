"""The command itself; how trainings are run, read and judged is tested in tests/comparison."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unrolled.cli.compare import _selected
from unrolled.tasks import TaskOptions
from unrolled.training import TrainingOptions

pytest.importorskip("plotly")
SMALL = ("toy", "hello", "--examples", "8", "--batch-size", "4", "--parameters", "300")


def test_cells_are_compared_at_one_budget_and_what_is_done_is_not_done_again(unrolled, tmp_path):
    options = (*SMALL, "--epochs", "1", "--seeds", "1", "--out", "c")
    done = unrolled("compare", *options, "--cells", "conv --kernel-size 2,dense", "--processes", 2)
    assert done.code == 0, done.err
    assert "conv --kernel-size 2, seed 0: hidden size 22, 290 parameters, 2 updates" in done.err
    assert "Best accuracy: " in done.out
    assert "<figure>" in (tmp_path / "c" / "comparison.html").read_text()

    again = unrolled("compare", *options, "--cells", "conv --kernel-size 2")
    assert again.code == 0, again.err
    assert "1 training, 1 of them done" in again.err
    comparison = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert [row["contestant"] for row in comparison["rows"]] == ["conv --kernel-size 2"]


def test_cells_are_ranked_by_what_their_weights_are_chosen_by(unrolled):
    small = (*SMALL, "--cells", "dense", "--epochs", "1", "--seeds", "1", "--out", "c")
    done = unrolled("compare", *small, "--select", "loss", "--language", "pt-BR")
    assert "Best loss (nats/step): dense" in done.out, done.err
    assert "Melhor loss (nats/step): dense" in Path("c", "comparison.html").read_text()


@pytest.mark.parametrize(
    ("selects", "metric"),
    [(("loss", "loss"), "loss"), (("loss", None), None), (("last", "last"), None)],
)
def test_what_is_chosen_by_ranks_where_it_is_one_metric_for_all(selects, metric):
    options = [TaskOptions(None, None, TrainingOptions(select=select)) for select in selects]
    assert _selected(options) == metric


DIVERGES = "gru --learning-rate 1e30 --epochs 30"


def test_a_training_that_fails_is_named_with_its_last_words_and_how_to_try_again(
    unrolled, tmp_path
):
    done = unrolled("compare", *SMALL, "--cells", f"dense,{DIVERGES}", "--seeds", 1, "--out", "c")
    assert done.code == 1
    assert f"{DIVERGES}, seed 0: failed: training diverged at update " in done.err
    assert "Best accuracy: dense" in done.out
    said, command = done.err.splitlines()[-2:]
    assert said == f"failed: {DIVERGES}, seed 0; try again with"
    again = unrolled(*shlex.split(command)[1:])
    assert "2 trainings, 1 of them done" in again.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--cells", "gru,"), 1, "--cells: expected the name of a cell"),
        (("--cells", "lstm,gruu"), 1, "--cells must be one of rnn, rnn_relu, lstm"),
        (("--cells", "gru --hidden-size 3"), 1, "--parameters decides it for each contestant"),
        (("--cells", "gru --layers 0"), 1, "--layers must be at least 1, got 0"),
        (("--parameters", "0"), 1, "--parameters must be at least 1, got 0"),
        (
            ("--parameters", "3", "--cells", "dense,tcn --layers 2"),
            *(1, "--parameters: dense: no model of this kind fits in 3 parameters"),
        ),
        (("--language", "xx"), 1, "--language must be one of en, pt-BR, got 'xx'"),
        (("--seeds", "0"), 1, "--seeds must be at least 1, got 0"),
        (("--processes", "0"), 1, "--processes must be at least 1, got 0"),
        (("--seed", "3"), 1, "--seed is set by the comparison, for all trainings"),
        (("--legnth", "3"), 2, "--legnth"),
        (("--cells", "gru --legnth 3"), 2, "--legnth"),
        (("--examples", "many"), 2, "--examples"),
    ],
)
def test_a_mistake_is_one_line_before_any_training(unrolled, tmp_path, options, code, message):
    done = unrolled("compare", *SMALL, "--out", "c", *options)
    assert (done.code, done.err.count("unrolled: error: ")) == (code, 1)
    assert message in done.err
    assert not (tmp_path / "c").exists()


def test_a_misspelt_cell_is_said_with_the_one_that_is_meant(unrolled, tmp_path):
    done = unrolled("compare", *SMALL, "--cells", "lstm,gruu", "--out", "c")
    assert done.err.splitlines()[1] == "hint: did you mean gru?"
    assert done.err.splitlines()[0].endswith(", got 'gruu'")
    assert not (tmp_path / "c").exists()


def test_another_comparison_in_the_folder_is_left_alone(unrolled, tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    done = unrolled("compare", *SMALL, "--cells", "gru", "--out", ".")
    assert done.code == 1
    assert "not empty, and not a comparison\nhint: choose another --out" in done.err


def test_an_unknown_task_is_a_mistake(unrolled):
    done = unrolled("compare", "tyo", "hello")
    assert done.code == 2
    assert "no task 'tyo', there are lm, " in done.err


def test_figures_without_their_library_are_refused_before_any_training(
    unrolled, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    done = unrolled("compare", *SMALL, "--out", "c")
    assert done.code == 1
    assert 'pip install "unrolled[figures]"' in done.err
    assert not (tmp_path / "c").exists()


def test_contestants_that_read_other_data_are_refused(unrolled, tmp_path):
    cells = "gru --length 5,gru --length 6"
    done = unrolled("compare", "toy", "copy", "--cells", cells, "--out", "c")
    assert done.code == 1
    assert "gru --length 6 reads other data than gru --length 5" in done.err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("name", ["accurcy", "num_examples"])
def test_a_metric_that_does_not_rank_is_refused_before_any_training(unrolled, tmp_path, name):
    done = unrolled("compare", *SMALL, "--metric", name, "--out", "c")
    assert done.code == 1
    assert f"--metric: toy cannot be ranked by '{name}'" in done.err
    assert "choose one of accuracy, loss" in done.err
    assert not (tmp_path / "c").exists()


def test_nothing_is_said_to_be_written_where_all_trainings_failed(unrolled, tmp_path):
    done = unrolled("compare", *SMALL, "--cells", DIVERGES, "--seeds", "1", "--out", "c")
    assert done.code == 1
    assert f"failed: {DIVERGES}, seed 0" in done.err
    assert "written" not in done.err
    assert not (tmp_path / "c" / "comparison.html").exists()


def test_ctrl_c_ends_all_trainings_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-P", "-m", "unrolled", "compare", *SMALL, "--cells", "dense"]
    command += ["--seeds", "1", "--minutes", "5", "--out", "c"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "c" / "dense-0" / "metrics.jsonl"
    while not (log.exists() and log.stat().st_size):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert "dense, seed 0: interrupted" in said
    assert "interrupted; go on with\n  " in said
    assert " -m unrolled compare toy hello --examples 8 " in said
    assert said.endswith(" --out c --processes 1\n")
    assert "interrupted after" in (tmp_path / "c" / "dense-0.log").read_text()


CELL = """import unrolled
from torch import sigmoid, tanh


@unrolled.cell(gates="f g", keeps="f")
def leaky(x, u, h):
    f = sigmoid(x.f + u.f)
    g = tanh(x.g + u.g)
    return dict(h=f * h + (1 - f) * g, f=f, g=g)
"""


def test_replaced_data_or_another_cell_of_the_same_name_are_refused(unrolled, tmp_path):
    """They would be in one mean with what was trained before."""
    words = [f"{i % 5} {'good' if i % 2 else 'bad'}" for i in range(40)]
    table = [f"{each},{each.split()[1]}" for each in words]
    (tmp_path / "t.csv").write_text("\n".join(["text,class", *table]) + "\n")
    (tmp_path / "own.py").write_text(CELL)
    options = ("classify", "t.csv", "--input", "text", "--target", "class", "--epochs", "1")
    options += ("--parameters", "2000", "--cells", "own.py:leaky", "--out", "c")
    first = unrolled("compare", *options, "--seeds", 1)
    assert first.code == 0, first.err
    plan = (tmp_path / "c" / "plan.json").read_bytes()

    (tmp_path / "own.py").write_text(CELL.replace("tanh(x.g", "sigmoid(x.g"))
    again = unrolled("compare", *options, "--seeds", 2)
    assert again.code == 1
    assert "the file of its cell has changed since" in again.err
    assert "choose another --out" in again.err

    (tmp_path / "own.py").write_text(CELL)
    (tmp_path / "t.csv").write_text("\n".join(["text,class", *reversed(table)]) + "\n")
    again = unrolled("compare", *options, "--seeds", 2)
    assert again.code == 1
    assert "a file of its data has changed since" in again.err
    assert not (tmp_path / "c" / "own.py_leaky-1").exists()
    assert (tmp_path / "c" / "plan.json").read_bytes() == plan

    (tmp_path / "t.csv").write_text("\n".join(["text,class", *table]) + "\n")
    assert unrolled("compare", *options, "--seeds", 1).code == 0


def test_progress_shows_the_metric_that_is_ranked_by(unrolled):
    options = (*SMALL, "--epochs", "1", "--seeds", "1", "--cells", "dense", "--metric", "loss")
    done = unrolled("compare", *options, "--out", "c")
    (line,) = (line for line in done.err.splitlines() if line.startswith("dense, seed 0: hidden"))
    assert " s: loss " in line
    assert "accuracy" not in line
