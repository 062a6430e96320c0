"""How a training shows itself: a live display in a terminal, plain lines anywhere else.

Both are reporters for `training.Trainer` and write to stderr. What is measured, and when, is the
trainer's business.
"""

import math
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = ["LiveReporter", "PlainReporter", "make_console", "make_reporter"]

Metrics = Mapping[str, float]
Sample = Callable[[], str]

_SECONDS_BETWEEN_LINES = 5.0
_SAMPLE_LINES = 8
_OF_EVERY_TASK = frozenset(
    "update epoch done loss gradient_norm learning_rate elapsed_seconds tokens_per_second "
    "seconds_left".split()
)


def make_console(*, quiet: bool = False) -> Console:
    """Return a console on stderr. Colours only where they are wanted (NO_COLOR), lines unbroken."""
    return Console(stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True)


def make_reporter(
    console: Console, sample: Sample | None, unit: str = "nats/token"
) -> "LiveReporter | PlainReporter":
    """Return the reporter that suits the console.

    Args:
        console: Where to write.
        sample: Draws a text from the model as it is now, without a trace on the training; None if
            the model writes none.
        unit: Of the loss.
    """
    live = console.is_interactive and not console.quiet
    return (LiveReporter if live else PlainReporter)(console, sample, unit)


class PlainReporter:
    """A line every few seconds, and one at every evaluation: for logs and pipes.

    Args:
        console: Where to write.
        sample: Draws a text from the model, if it can.
        unit: Of the loss.
    """

    def __init__(self, console: Console, sample: Sample | None, unit: str = "nats/token") -> None:
        self._console = console
        self._sample = sample
        self._unit = unit
        self._next_line = -math.inf

    def __enter__(self) -> Self:
        """Return the reporter."""
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: all lines are out."""

    def on_log(self, metrics: Metrics) -> None:
        """Write a line, unless the last one is too recent."""
        if time.monotonic() < self._next_line:
            return
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        losses, speed = _losses(metrics, self._unit), _speed(metrics, self._unit)
        parts = [f"{metrics['done']:4.0%}", _place(metrics), *losses, speed]
        self._console.print("  ".join([*parts, _time_left(metrics)]))

    def on_evaluation(self, metrics: Metrics, improved: bool) -> None:
        """Write the held-out loss; if it is the best so far, a sample as well."""
        verdict = "best so far" if improved else "not better"
        parts = ["held out:", _place(metrics), *_losses(metrics, self._unit), verdict]
        self._console.print("  ".join(parts))
        if self._sample is not None and _worth_a_sample(metrics, improved):
            for line in _presentable(self._sample()):
                self._console.print(f"    | {line}")

    def on_message(self, message: str) -> None:
        """Write the sentence."""
        self._console.print(message)

    def on_stop_request(self) -> None:
        """Do nothing: the end comes within one update, and says so itself."""


class LiveReporter:
    """A bar and the latest numbers at the foot of a terminal; samples roll by above them.

    Args:
        console: Where to draw.
        sample: Draws a text from the model, if it can.
        unit: Of the loss.
    """

    def __init__(self, console: Console, sample: Sample | None, unit: str = "nats/token") -> None:
        self._console = console
        self._sample = sample
        self._unit = unit
        self._training: Metrics = {}
        self._best: Metrics = {}
        self._evaluations_since_best = 0
        self._notice = ""
        self._live = Live(get_renderable=self._render, console=console, redirect_stdout=False)

    def __enter__(self) -> Self:
        """Take the foot of the terminal."""
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the last numbers standing, and the cursor below them."""
        self._notice = ""
        self._live.stop()

    def on_log(self, metrics: Metrics) -> None:
        """Show the numbers at the next refresh."""
        self._training = metrics

    def on_evaluation(self, metrics: Metrics, improved: bool) -> None:
        """Show the held-out loss if it is the best so far, and a sample above the display."""
        self._evaluations_since_best = 0 if improved else self._evaluations_since_best + 1
        if not improved:
            return
        self._best = metrics
        if self._sample is not None and _worth_a_sample(metrics, improved):
            title = "  ".join([_place(metrics), "held out", *_losses(metrics, self._unit)])
            self._console.print(_panel(self._sample(), title))

    def on_message(self, message: str) -> None:
        """Write the sentence above the display."""
        self._console.print(message, style="dim")

    def on_stop_request(self) -> None:
        """Show that the signal was heard. Only sets a value, as it is called by its handler."""
        self._notice = "stopping after this update; once more to abort without saving"

    def _render(self) -> Group:
        """Return the display. Called by the refreshing thread."""
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim")
        rows.add_column(style="bold")
        if self._training:
            losses, speed = _losses(self._training, self._unit), _speed(self._training, self._unit)
            rows.add_row("training", "  ".join([*losses, speed, _place(self._training)]))
        if self._best:
            tries = self._evaluations_since_best
            verdict = f"best, {tries} tries ago" if tries else "best so far"
            losses = _losses(self._best, self._unit)
            rows.add_row("held out", "  ".join([*losses, verdict, _place(self._best)]))
        notice = [Text(self._notice, style="bold yellow")] if self._notice else []
        return Group(_bar(self._training), *([rows] if rows.row_count else []), *notice)


def _bar(metrics: Metrics) -> Table:
    done = metrics.get("done", 0.0)
    left = _time_left(metrics) if metrics else "starting"
    bar = Table.grid(expand=True, padding=(0, 2))
    bar.add_column(ratio=1)
    bar.add_row(ProgressBar(total=1.0, completed=done), f"{done:.0%}", left)
    return bar


def _panel(sample: str, title: str) -> Panel:
    text = Text("\n".join(_presentable(sample)), no_wrap=False, overflow="fold")
    return Panel(text, title=Text(title, style="bold"), title_align="left", border_style="dim")


def _place(metrics: Metrics) -> str:
    return f"update {metrics['update']:,.0f}"


def _losses(metrics: Metrics, unit: str) -> list[str]:
    """Return the loss, and what else the task measures."""
    shown = [f"{metrics['loss']:.3f} {unit}"]
    if "bits_per_character" in metrics:
        return [*shown, f"{metrics['bits_per_character']:.3f} bits/character"]
    others = [name for name in metrics if name not in _OF_EVERY_TASK]
    return [*shown, *(f"{name.replace('_', ' ')} {metrics[name]:.3f}" for name in others[:2])]


def _speed(metrics: Metrics, unit: str) -> str:
    """Return the speed in what the loss is a mean over; for a text, in characters.

    How many characters a token has, the two units of a text's loss say.
    """
    per_second = metrics["tokens_per_second"]
    if "bits_per_character" not in metrics:
        return f"{per_second:,.0f} {unit.rpartition('/')[2]}s/s"
    bits_per_token = metrics["loss"] / math.log(2)
    characters_per_token = bits_per_token / max(metrics["bits_per_character"], 1e-12)
    return f"{per_second * characters_per_token:,.0f} characters/s"


def _time_left(metrics: Metrics) -> str:
    return f"{timedelta(seconds=round(metrics['seconds_left']))} left"


def _worth_a_sample(metrics: Metrics, improved: bool) -> bool:
    return improved and metrics["update"] > 0  # before the first update there is only noise


def _presentable(sample: str) -> list[str]:
    """Return the first lines of a sample; what would steer the terminal is made visible."""
    visible = (c if c.isprintable() or c in "\n\t" else "\ufffd" for c in sample)
    return "".join(visible).strip("\n").expandtabs(4).split("\n")[:_SAMPLE_LINES]
