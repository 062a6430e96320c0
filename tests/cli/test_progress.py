import io
import re

import pytest
from rich.console import Console

from unrolled.cli.progress import (
    Display,
    LiveReporter,
    PlainReporter,
    make_console,
    make_reporter,
)
from unrolled.metrics import Metric

LOG = {
    "update": 1200,
    "epoch": 0.25,
    "done": 0.25,
    "loss": 2.0,
    "bits_per_character": 1.4427,
    "elapsed_seconds": 100.0,
    "seconds_left": 300.0,
    "tokens_per_second": 1000.0,
}
HELD_OUT = {"update": 1100, "loss": 2.5, "bits_per_character": 1.8, "elapsed_seconds": 90.0}
METRICS = (
    Metric("bits_per_character", "lower"),
    Metric("loss", "lower", "nats/token"),
    Metric("num_tokens", None),
)
DISPLAY = Display(METRICS, ("characters", 2.0))  # a token has two of them


def console(terminal: bool) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=100, highlight=False, markup=False
    )


def plain_text(of: Console) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", of.file.getvalue())


@pytest.mark.parametrize("terminal", [False, True])
def test_speed_and_time_left_follow_from_the_measurements(terminal):
    out = console(terminal)
    with make_reporter(out, lambda: "", DISPLAY) as reporter:
        reporter.on_log(LOG)
    for expected in ("25%", "update 1,200", "2.000 nats/token", "bits per character 1.443"):
        assert expected in plain_text(out)
    assert "2,000 characters/s" in plain_text(out)
    assert "0:05:00 left" in plain_text(out)


def test_figures_that_rank_are_shown_as_far_as_a_line_has_room():
    long = Metric("a_long_name_of_a_figure_that_is_far_too_long_for_a_line", "higher")
    metrics = (Metric("f1", "higher"), long, Metric("loss", "lower", "nats/word"))
    display = Display((*metrics, Metric("num_words", None)), ("words", 1.0))
    figures = {"loss": 0.5, long.name: 1.0, "f1": 0.25, "num_words": 9}
    assert display.figures(figures) == ["0.500 nats/word", "f1 0.250"]


def test_the_line_of_an_evaluation_has_at_most_80_columns():
    out = console(terminal=False)
    PlainReporter(out, lambda: None, DISPLAY).on_evaluation(HELD_OUT, True)
    assert len(out.file.getvalue().rstrip("\n")) == 80


def test_a_name_between_colons_is_no_sign_for_a_picture(capsys):
    make_console().print("cells.py:key: no such file")
    assert capsys.readouterr().err == "cells.py:key: no such file\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_better_model_shows_a_sample(terminal):
    out = console(terminal)
    with make_reporter(out, lambda: "\nto be\nor not", DISPLAY) as reporter:
        reporter.on_evaluation(HELD_OUT, True)
    for expected in ("update 1,100", "2.500 nats/token", "best so far", "to be", "or not"):
        assert expected in plain_text(out)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(("update", "improved"), [(0, True), (7, False)])
def test_no_sample_of_an_untrained_or_worse_model(terminal, update, improved):
    def sample():
        raise AssertionError

    with make_reporter(console(terminal), sample, DISPLAY) as reporter:
        reporter.on_evaluation(HELD_OUT | {"update": update}, improved)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_sample_cannot_steer_the_terminal(terminal):
    out = console(terminal)
    with make_reporter(out, lambda: "a\x1b[2Jb\x07c\rd [red]e", DISPLAY) as reporter:
        reporter.on_evaluation(HELD_OUT, True)
    assert "\x1b[2J" not in out.file.getvalue()
    assert "a\ufffd[2Jb\ufffdc\ufffdd [red]e" in plain_text(out)


def test_a_log_has_one_line_in_five_seconds(monkeypatch):
    seconds = 0.0
    monkeypatch.setattr("time.monotonic", lambda: seconds)
    out = console(terminal=False)
    reporter = PlainReporter(out, lambda: "", DISPLAY)
    for second in range(11):
        seconds = float(second)
        reporter.on_log(LOG)
    assert len(out.file.getvalue().splitlines()) == 3  # at 0, 5 and 10
    assert "\x1b" not in out.file.getvalue()


def test_the_best_stays_in_view_while_nothing_better_comes():
    out = console(terminal=True)
    with LiveReporter(out, lambda: "", DISPLAY) as reporter:
        reporter.on_evaluation(HELD_OUT, True)
        reporter.on_evaluation(HELD_OUT | {"loss": 3.0}, False)
        reporter.on_evaluation(HELD_OUT | {"loss": 3.1}, False)
    last = plain_text(out).splitlines()[-1]
    assert "2.500 nats/token" in last
    assert "best, 2 tries ago" in last


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_is_called_the_best_where_the_last_weights_are_kept(terminal):
    out, samples = console(terminal), iter(["first", "second"])
    with make_reporter(out, lambda: next(samples), DISPLAY) as reporter:
        reporter.on_evaluation(HELD_OUT, None)
        reporter.on_evaluation(HELD_OUT | {"loss": 3.0}, None)
    text = plain_text(out)
    assert "best" not in text
    assert "better" not in text
    assert "second" in text  # a sample of the weights that are kept by now
    last = [line for line in text.splitlines() if "held out" in line][-1]
    assert "3.000 nats/token" in last
    assert last.rstrip().endswith("kept")


def test_only_terminals_get_a_live_display(monkeypatch):
    assert isinstance(make_reporter(console(terminal=True), str, DISPLAY), LiveReporter)
    assert isinstance(make_reporter(console(terminal=False), str, DISPLAY), PlainReporter)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_reporter(console(terminal=True), str, DISPLAY), PlainReporter)


def test_colours_can_be_declined(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert make_console().no_color


def test_processes_other_than_the_first_are_quiet(capsys):
    with make_reporter(make_console(quiet=True), str, DISPLAY) as reporter:
        reporter.on_log(LOG)
        reporter.on_message("hello")
    assert capsys.readouterr() == ("", "")
