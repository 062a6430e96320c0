"""How a training shows itself: a live display in a terminal, plain lines anywhere else.

Both are reporters for `training.Trainer` and write to stderr. What is measured, and when, is the
trainer's business.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from unrolled.cli.terminal import visible
from unrolled.metrics import Metric, find_metric

__all__ = [
    "Display",
    "LiveReporter",
    "PlainReporter",
    "make_console",
    "make_reporter",
    "plain_console",
]

Figures = Mapping[str, float]
Sample = Callable[[], str | None]

_SECONDS_BETWEEN_LINES = 5.0
_SAMPLE_LINES = 8
_WIDTH_OF_FIGURES = 46  # so that the line of an evaluation keeps within 80 columns
_VERDICTS = {True: "best so far", False: "not better", None: "kept"}


@dataclass(frozen=True)
class Display:
    """How the figures of a training are shown.

    Args:
        metrics: What they mean.
        counted: What the speed is counted in, and how many of them a term of the loss stands for.
        chooses: The name of the metric that chooses weights, which is shown first.
    """

    metrics: Sequence[Metric]
    counted: tuple[str, float]
    chooses: str = "loss"

    @property
    def loss_unit(self) -> str:
        """The unit of the loss."""
        loss = find_metric(self.metrics, "loss")
        return "" if loss is None else loss.unit

    def figures(self, figures: Figures) -> list[str]:
        """Return the loss, and of the other figures those that fit beside it, two at most."""
        others = [m for m in self.metrics if m.name != "loss" and m.better and m.name in figures]
        others.sort(key=lambda metric: metric.name != self.chooses)
        words = [f"{figures['loss']:.3f} {self.loss_unit}"]
        for metric in others[:2]:
            word = f"{metric.label} {figures[metric.name]:.3f}"
            if sum(map(len, [*words, word])) <= _WIDTH_OF_FIGURES:
                words.append(word)
        return words

    def speed(self, figures: Figures) -> str:
        """Return the speed in what people count."""
        noun, number = self.counted
        return f"{figures['tokens_per_second'] * number:,.0f} {noun}/s"


def make_console(*, quiet: bool = False) -> Console:
    """Return a console on stderr. Colours only where they are wanted (NO_COLOR), lines unbroken."""
    return plain_console(stderr=True, quiet=quiet, soft_wrap=True)


def plain_console(**options: Any) -> Console:
    """Return a console that prints a text as it is: nothing in it is markup, or stands for a sign.

    What would steer a terminal is shown, as everywhere (`terminal.visible`).

    Args:
        options: Those of rich's `Console`.
    """
    return _Console(highlight=False, markup=False, emoji=False, **options)


class _Console(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        """Print each text as a line of its own: line ends inside are those of others."""
        super().print(*(visible(o) if isinstance(o, str) else o for o in objects), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield what is drawn: rich's own control codes as they are, texts visible."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=visible(segment.text, lines=True))


def make_reporter(
    console: Console, sample: Sample, display: Display
) -> "LiveReporter | PlainReporter":
    """Return the reporter that suits the console.

    Args:
        console: Where to write.
        sample: Draws a text from the model as it is now, without a trace on the training; returns
            None if the model writes none.
        display: How figures are shown.
    """
    live = console.is_interactive and not console.quiet
    return (LiveReporter if live else PlainReporter)(console, sample, display)


class PlainReporter:
    """A line every few seconds, and one at every evaluation: for logs and pipes.

    Args:
        console: Where to write.
        sample: Draws a text from the model, if it can.
        display: How figures are shown.
    """

    def __init__(self, console: Console, sample: Sample, display: Display) -> None:
        self._console = console
        self._sample = sample
        self._display = display
        self._next_line = -math.inf

    def __enter__(self) -> Self:
        """Return the reporter."""
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing: all lines are out."""

    def on_log(self, metrics: Figures) -> None:
        """Write a line, unless the last one is too recent."""
        if time.monotonic() < self._next_line:
            return
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        figures, speed = self._display.figures(metrics), self._display.speed(metrics)
        parts = [f"{metrics['done']:4.0%}", _place(metrics), *figures, speed]
        self._console.print("  ".join([*parts, _time_left(metrics)]))

    def on_evaluation(self, metrics: Figures, improved: bool | None) -> None:
        """Write the held-out figures; if these weights are kept, a sample as well."""
        verdict = _VERDICTS[improved]
        parts = ["held out:", _place(metrics), *self._display.figures(metrics), verdict]
        self._console.print("  ".join(parts))
        if _worth_a_sample(metrics, improved) and (sample := self._sample()) is not None:
            for line in _presentable(sample):
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
        display: How figures are shown.
    """

    def __init__(self, console: Console, sample: Sample, display: Display) -> None:
        self._console = console
        self._sample = sample
        self._display = display
        self._training: Figures = {}
        self._kept: Figures = {}
        self._verdict = ""
        self._tries_since_kept = 0
        self._notice = ""
        self._keys = ExitStack()
        self._live = Live(get_renderable=self._render, console=console, redirect_stdout=False)

    def __enter__(self) -> Self:
        """Take the foot of the terminal."""
        self._keys.enter_context(_unechoed_keys())
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the last numbers standing, and the cursor below them."""
        self._notice = ""
        self._live.stop()
        self._keys.close()

    def on_log(self, metrics: Figures) -> None:
        """Show the numbers at the next refresh."""
        self._training = metrics

    def on_evaluation(self, metrics: Figures, improved: bool | None) -> None:
        """Show the held-out figures if these weights are kept, and a sample above the display."""
        self._tries_since_kept = self._tries_since_kept + 1 if improved is False else 0
        if improved is False:
            return
        self._kept, self._verdict = metrics, _VERDICTS[improved]
        if _worth_a_sample(metrics, improved) and (sample := self._sample()) is not None:
            title = "  ".join([_place(metrics), "held out", *self._display.figures(metrics)])
            self._console.print(_panel(sample, title))

    def on_message(self, message: str) -> None:
        """Write the sentence above the display."""
        self._console.print(message, style="dim")

    def on_stop_request(self) -> None:
        """Show that the signal was heard. Only sets a value, as it is called by its handler."""
        self._notice = "stopping after this update and a measurement; once more to abort"

    def _render(self) -> Group:
        """Return the display, whose rows keep to a line. Called by the refreshing thread."""
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True, min_width=8)
        rows.add_column(style="bold", no_wrap=True, overflow="ellipsis")
        if self._training:
            figures = self._display.figures(self._training)
            rows.add_row("training", "  ".join([*figures, self._display.speed(self._training)]))
        if self._kept:
            tries = self._tries_since_kept
            verdict = f"best, {_tries(tries)} ago" if tries else self._verdict
            rows.add_row("held out", "  ".join([*self._display.figures(self._kept), verdict]))
        notice = [Text(self._notice, style="bold yellow", no_wrap=True)] if self._notice else []
        return Group(_bar(self._training), *([rows] if rows.row_count else []), *notice)


@contextmanager
def _unechoed_keys() -> Iterator[None]:
    """Have the terminal show no `^C` inside the `with` block: the display would stand twice.

    What is drawn again is drawn over itself, from where the cursor was left.
    """
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):  # no terminal
        yield
        return
    quiet = [*before]
    quiet[3] &= ~termios.ECHOCTL
    termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _tries(number: int) -> str:
    return "1 try" if number == 1 else f"{number:,} tries"


def _bar(metrics: Figures) -> Table:
    done = metrics.get("done", 0.0)
    place, left = (_place(metrics), _time_left(metrics)) if metrics else ("", "starting")
    bar = Table.grid(expand=True, padding=(0, 2))
    bar.add_column(ratio=1)
    for _ in range(3):
        bar.add_column(no_wrap=True)
    bar.add_row(ProgressBar(total=1.0, completed=done), f"{done:.0%}", place, left)
    return bar


def _panel(sample: str, title: str) -> Panel:
    text = Text("\n".join(_presentable(sample)), no_wrap=False, overflow="fold")
    return Panel(text, title=Text(title, style="bold"), title_align="left", border_style="dim")


def _place(metrics: Figures) -> str:
    return f"update {metrics['update']:,.0f}"


def _time_left(metrics: Figures) -> str:
    if metrics["done"] >= 1:
        return "done"
    return f"{timedelta(seconds=round(metrics['seconds_left']))} left"


def _worth_a_sample(metrics: Figures, improved: bool | None) -> bool:
    return (
        improved is not False and metrics["update"] > 0
    )  # before the first update there is only noise


def _presentable(sample: str) -> list[str]:
    """Return the first lines of a sample; what would steer the terminal is made visible."""
    visible = (c if c.isprintable() or c in "\n\t" else "\ufffd" for c in sample)
    return "".join(visible).strip("\n").expandtabs(4).split("\n")[:_SAMPLE_LINES]
