"""The command itself; how trainings are run, read and judged is tested in tests/comparison."""

import json
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("plotly")
SMALL = ("toy", "hello", "--examples", "8", "--batch-size", "4", "--parameters", "300")


def test_cells_are_compared_at_one_budget_and_one_that_fails_is_named(unrolled, tmp_path):
    options = (*SMALL, "--epochs", "1", "--seeds", "1", "--processes", "2", "--out", "c")
    done = unrolled("compare", *options, "--cells", "conv --kernel-size 2,kite")
    assert done.code == 1
    assert "conv --kernel-size 2, seed 0: hidden size 22, 290 parameters, 2 updates" in done.err
    assert "kite, seed 0: failed: cell must be one of rnn" in done.err
    assert "failed: kite, seed 0" in done.err
    assert "Best accuracy: conv --kernel-size 2" in done.out
    assert "<figure>" in (tmp_path / "c" / "comparison.html").read_text()

    again = unrolled("compare", *options, "--cells", "conv --kernel-size 2")
    assert again.code == 0, again.err
    assert "1 training, 1 of them done" in again.err
    comparison = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert [row["contestant"] for row in comparison["rows"]] == ["conv --kernel-size 2"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--cells", "gru,"), 1, "expected the name of a cell"),
        (("--seeds", "0"), 1, "--seeds must be at least 1, got 0"),
        (("--processes", "0"), 1, "--processes must be at least 1, got 0"),
        (("--seed", "3"), 1, "--seed is not for a single training here"),
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


def test_nothing_is_said_to_be_written_where_all_trainings_failed(unrolled, tmp_path):
    done = unrolled("compare", *SMALL, "--cells", "nonsense", "--seeds", "1", "--out", "c")
    assert done.code == 1
    assert "failed: nonsense, seed 0" in done.err
    assert "written" not in done.err
    assert not (tmp_path / "c" / "comparison.html").exists()


def test_ctrl_c_ends_all_trainings_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-P", "-m", "unrolled", "compare", *SMALL, "--cells", "dense"]
    command += ["--seeds", "1", "--minutes", "5", "--out", "c"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "c" / "dense-0" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "dense, seed 0: interrupted" in said
    assert "interrupted; the same command with --out c goes on" in said
    assert "interrupted after" in (tmp_path / "c" / "dense-0.log").read_text()
