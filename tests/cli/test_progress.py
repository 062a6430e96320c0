import io
import re

import pytest
from rich.console import Console

from unrolled.cli.progress import LiveReporter, PlainReporter, make_console, make_reporter

LOG = {
    "update": 1200,
    "epoch": 0.25,
    "done": 0.25,
    "loss": 2.0,  # nats per token
    "bits_per_character": 1.4427,  # half as many as 2 / ln 2: a token has two characters
    "elapsed_seconds": 100.0,
    "seconds_left": 300.0,
    "tokens_per_second": 1000.0,
}
HELD_OUT = {"update": 1100, "loss": 2.5, "bits_per_character": 1.8, "elapsed_seconds": 90.0}


def console(terminal: bool) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=100, highlight=False, markup=False
    )


def plain_text(of: Console) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", of.file.getvalue())


@pytest.mark.parametrize("terminal", [False, True])
def test_speed_and_time_left_follow_from_the_measurements(terminal):
    out = console(terminal)
    with make_reporter(out, lambda: "") as reporter:
        reporter.on_log(LOG)
    for expected in ("25%", "update 1,200", "2.000 nats/token", "1.443 bits/character"):
        assert expected in plain_text(out)
    assert "2,000 characters/s" in plain_text(out)
    assert "0:05:00 left" in plain_text(out)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_better_model_shows_a_sample(terminal):
    out = console(terminal)
    with make_reporter(out, lambda: "\nto be\nor not") as reporter:
        reporter.on_evaluation(HELD_OUT, True)
    for expected in ("update 1,100", "2.500 nats/token", "best so far", "to be", "or not"):
        assert expected in plain_text(out)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(("update", "improved"), [(0, True), (7, False)])
def test_no_sample_of_an_untrained_or_worse_model(terminal, update, improved):
    def sample():
        raise AssertionError

    with make_reporter(console(terminal), sample) as reporter:
        reporter.on_evaluation(HELD_OUT | {"update": update}, improved)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_sample_cannot_steer_the_terminal(terminal):
    out = console(terminal)
    with make_reporter(out, lambda: "a\x1b[2Jb\x07c\rd [red]e") as reporter:
        reporter.on_evaluation(HELD_OUT, True)
    assert "\x1b[2J" not in out.file.getvalue()
    assert "a\ufffd[2Jb\ufffdc\ufffdd [red]e" in plain_text(out)


def test_a_log_has_one_line_in_five_seconds(monkeypatch):
    seconds = 0.0
    monkeypatch.setattr("time.monotonic", lambda: seconds)
    out = console(terminal=False)
    reporter = PlainReporter(out, lambda: "")
    for second in range(11):
        seconds = float(second)
        reporter.on_log(LOG)
    assert len(out.file.getvalue().splitlines()) == 3  # at 0, 5 and 10
    assert "\x1b" not in out.file.getvalue()


def test_the_best_stays_in_view_while_nothing_better_comes():
    out = console(terminal=True)
    with LiveReporter(out, lambda: "") as reporter:
        reporter.on_evaluation(HELD_OUT, True)
        reporter.on_evaluation(HELD_OUT | {"loss": 3.0}, False)
        reporter.on_evaluation(HELD_OUT | {"loss": 3.1}, False)
    last = plain_text(out).splitlines()[-1]
    assert "2.500 nats/token" in last
    assert "best, 2 tries ago" in last


def test_only_terminals_get_a_live_display(monkeypatch):
    assert isinstance(make_reporter(console(terminal=True), str), LiveReporter)
    assert isinstance(make_reporter(console(terminal=False), str), PlainReporter)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_reporter(console(terminal=True), str), PlainReporter)


def test_colours_can_be_declined(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert make_console().no_color


def test_processes_other_than_the_first_are_quiet(capsys):
    with make_reporter(make_console(quiet=True), str) as reporter:
        reporter.on_log(LOG)
        reporter.on_message("hello")
    assert capsys.readouterr() == ("", "")
