"""A training in a terminal of 80 columns, as its reader sees it."""

import io
import os
import re
import sys

import pytest
from rich.console import Console

from support.screen import run_in_terminal, screen
from unrolled.cli.progress import Display, LiveReporter
from unrolled.metrics import Metric
from unrolled.tasks import prepare
from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals")

UNROLLED = (sys.executable, "-m", "unrolled")


def test_the_emulated_terminal_breaks_lines_and_draws_over_what_is_there():
    assert screen("one\r\ntwo\r\x1b[2K\x1b[1A\x1b[2Kthree", 80) == ["three", ""]
    assert screen("abcdef", 4) == ["abcd", "ef"]
    assert screen("a\x1b[31mb\x1b[0m\rc", 80) == ["cb"]


@pytest.mark.parametrize("columns", [80, 60])
@pytest.mark.parametrize("update", [9, 1_000, 123_456, 12_345_678])
def test_the_display_keeps_to_its_lines_at_any_update(columns, update):
    metrics = (Metric("bits_per_character", "lower"), Metric("loss", "lower", "nats/token"))
    figures = {"update": update, "loss": 12.345, "bits_per_character": 12.345, "done": 0.4}
    figures |= {"tokens_per_second": 1_234_567.0, "seconds_left": 86_400 * 3, "elapsed_seconds": 1}
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=columns, markup=False, highlight=False)
    reporter = LiveReporter(console, lambda: None, Display(metrics, ("characters", 1.0)))
    with reporter:
        reporter.on_log(figures)
        reporter.on_evaluation(figures, True)
        for _ in range(12):
            reporter.on_evaluation(figures, False)
        reporter.on_stop_request()
        reporter._live.refresh()
    lines = [line for line in screen(file.getvalue().replace("\n", "\r\n"), columns) if line]
    assert len(lines) == 3, lines
    assert all(len(line) <= columns for line in lines)
    assert f"update {update:,}" in lines[0]
    if columns == 80:
        assert lines[1].endswith("characters/s")
        assert lines[2].endswith("best, 12 tries ago")


def test_ctrl_c_leaves_one_display(tmp_path):
    (tmp_path / "text.txt").write_text("".join(f"{n} green bottles.\n" for n in range(200)))
    train = ("train", "lm", "text.txt", "--run", "r", "--hidden-size", "4", "--batch-size", "2")
    command = (*UNROLLED, *train, "--k1", "4", "--epochs", "200", "--evaluate-every", "400")
    pressed = []

    def press(written: str) -> bytes | None:
        if not pressed and re.search(r"update \d+ .* left", written):
            pressed.append(True)
            return b"\x03"
        return None

    code, written = run_in_terminal(command, tmp_path, press)
    assert code == 130, written[-2000:]
    assert b"^C" not in written.encode()
    lines = screen(written, 80)
    assert all(len(line) <= 80 for line in lines)
    assert len([line for line in lines if line.endswith(" left")]) == 1, lines
    assert len([line for line in lines if line.startswith("training")]) == 1
    assert [line for line in lines if line.startswith("interrupted after ")]


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        (0, "begins at the start: it was stopped before its first update was saved"),
        (7, "goes on from update 7, 35% done in 0:00:0"),
    ],
)
def test_resume_says_where_it_goes_on(unrolled, tmp_path, updates, message):
    (tmp_path / "text.txt").write_text("".join(f"{n} green bottles.\n" for n in range(40)))
    trainer = prepare(
        LanguageModelTask,
        DataOptions(files=("text.txt",)),
        tmp_path / "run",
        model=ModelOptions(hidden_size=4),
        training=TrainingOptions(epochs=1, batch_size=2, k1=16),
    ).trainer
    next_loss = trainer.objective.next_loss

    def interrupted(model):
        if trainer.progress.update == updates - 1:
            trainer.request_stop()
        return next_loss(model)

    trainer.objective.next_loss = interrupted
    if updates:
        assert trainer.fit().reason == "interrupted"
    done = unrolled("resume", "run")
    assert done.code == 0, done.err
    assert message in done.err, done.err
    assert "goes on" not in unrolled("resume", "run").err


def test_at_the_end_what_there_is_and_what_to_do_is_named_and_nothing_is_cut(
    unrolled, tmp_path, monkeypatch
):
    pytest.importorskip("sacrebleu")
    monkeypatch.setenv("COLUMNS", "80")
    pairs = "".join(f"I see dog {n}\tJe vois chien {n}\n" for n in range(60))
    (tmp_path / "pairs.tsv").write_text(pairs)
    small = ("--epochs", 1, "--hidden-size", 4, "--embedding-size", 4)
    done = unrolled("train", "translate", "pairs.tsv", "--run", "r", *small)
    assert done.code == 0, done.err
    assert "\u2026" not in done.err  # an ellipsis
    assert re.search(r"^bleu signature: nrefs:1\|.*\|version:[\d.]+$", done.err, re.MULTILINE)
    lines = done.err.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("figures in results.json"))
    assert "curves in metrics.jsonl" in lines[at]
    assert [line.strip() for line in lines[at + 1 :]] == [
        "saved in r; go on with",
        "unrolled predict r FILE",
        "unrolled evaluate r FILE",
        "unrolled inspect r",
        "unrolled serve r",
    ]
    assert all(len(line) <= 80 for line in lines), max(lines, key=len)


def test_a_run_with_a_file_for_each_class_is_evaluated_on_such(unrolled, tmp_path):
    for name in ("neg", "pos"):
        (tmp_path / name).write_text("".join(f"{name} film {n}\n" for n in range(30)))
    small = ("--epochs", 1, "--hidden-size", 4)
    done = unrolled("train", "classify", "neg=neg", "pos=pos", "--run", "r", *small)
    command = next(line for line in done.err.splitlines() if "unrolled evaluate" in line).split()
    assert command == ["unrolled", "evaluate", "r", "CLASS=FILE", "CLASS=FILE"]
    assert unrolled(*command[1:-2], "neg=neg", "pos=pos").code == 0


def test_one_update_is_one_update(unrolled, tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 20)
    small = ("--hidden-size", 4, "--batch-size", 2, "--k1", 16, "--epochs", 0.01)
    done = unrolled("train", "lm", "text.txt", "--run", "r", *small)
    assert "finished after 1 update, " in done.err
