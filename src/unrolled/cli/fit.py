"""A training in the user's view, new or resumed: its display, its signals, its last words."""

import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import typer
from rich.console import Console

from unrolled.cells import Cell
from unrolled.cli.flags import option_name
from unrolled.cli.program import program
from unrolled.cli.progress import Display, LiveReporter, PlainReporter, make_console, make_reporter
from unrolled.cli.signals import handling_signals
from unrolled.cli.tables import confusion_table, results_table
from unrolled.errors import render
from unrolled.networks import count_parameters
from unrolled.tasks import Prepared
from unrolled.training import FEWEST, Trainer, TrainingResult

__all__ = ["fit"]

_SECONDS_BETWEEN_SIGNALS = 1.0


def fit(prepared: Prepared) -> None:
    """Train to the end or to a signal, and say how to go on.

    SIGINT (Ctrl-C) and SIGTERM let the update at hand finish and save; a second one aborts.

    Raises:
        typer.Exit: A signal ended the training.
    """
    task, trainer = prepared.task, prepared.trainer
    console = make_console(quiet=not trainer.processes.is_first)
    model, folder = task.options.model, shlex.quote(str(trainer.run.path))
    trust = " --trust-code" * isinstance(model.cell, Cell)
    resume = f"{program()} resume {folder}{trust}"
    console.print(
        f"{folder}: {model.kind.name} {model.num_layers} x {model.hidden_size}, "
        f"{count_parameters(trainer.model):,} parameters; {task.describe(prepared.splits)}"
    )
    for note in prepared.splits.notes:
        console.print(f"note: {render(note, option_name, program())}")
    if few := _too_few(trainer):
        console.print(f"note: {few}")
    display = Display(task.metrics, trainer.objective.counted, trainer.metric.name)
    received: list[int] = []
    try:
        with make_reporter(console, lambda: _sample(prepared), display) as reporter:
            with _stopping_on_signals(trainer, reporter, received):
                result = trainer.fit(reporter)
    except KeyboardInterrupt:
        console.print(f"aborted; from the last checkpoint: {resume}")
        raise typer.Exit(_exit_code(received)) from None
    _say_how_it_ended(console, result, trainer)
    if result.reason == "interrupted":
        _say_next(console, folder, [resume])
        raise typer.Exit(_exit_code(received))
    if trainer.processes.is_first:
        results = prepared.finish()
        console.print(results_table(results))
        if (confusion := confusion_table(results.metrics)) is not None:
            console.print(confusion)
        if result.still_improving and not trainer.keeps_last:
            console.print(f"still improving when it ended: {resume} {_twice(trainer)}")
    commands = [f"{command}{trust}".replace("RUN", folder) for command in task.commands]
    _say_next(console, folder, [f"{program()} {command}" for command in commands])


def _sample(prepared: Prepared) -> str | None:
    trainer = prepared.trainer
    return prepared.task.sample(trainer.average, seed=trainer.progress.update)


def _exit_code(received: list[int]) -> int:
    """Return the shell's code for a death by signal; none received: another process was told."""
    return 128 + (received[0] if received else signal.SIGINT)


@contextmanager
def _stopping_on_signals(
    trainer: Trainer, reporter: LiveReporter | PlainReporter, received: list[int]
) -> Iterator[None]:
    """Have the first signal stop the training after its update, and a second one at once."""
    first_time = 0.0

    def handle(number: int) -> None:
        nonlocal first_time
        if not received:
            first_time = time.monotonic()
            trainer.request_stop()
            reporter.on_stop_request()
        elif time.monotonic() - first_time > _SECONDS_BETWEEN_SIGNALS:
            raise KeyboardInterrupt  # not sooner: torchrun and `timeout` pass on what we got too
        received.append(number)

    with handling_signals(handle):
        yield


def _too_few(trainer: Trainer) -> str | None:
    """Return why the held-out part chooses nothing, where that is because it is small."""
    number = trainer.objective.num_held_out
    if not trainer.keeps_last or not 0 < number < FEWEST:
        return None
    return (
        f"{number} held-out examples are too few to choose by: the last weights, averaged, are kept"
    )


def _say_how_it_ended(console: Console, result: TrainingResult, trainer: Trainer) -> None:
    elapsed = timedelta(seconds=round(result.elapsed_seconds))
    metric, kept = trainer.metric, "the last weights, averaged, are kept"
    if not trainer.keeps_last and result.best_figure is not None:
        best = f"{result.best_figure:.4f} {metric.unit}".rstrip()
        kept = f"best held-out {metric.plain_label} {best}, of update {result.kept_update:,}"
    console.print(
        f"{result.reason} after {result.update:,} updates, {result.epoch:.2f} epochs, {elapsed}; "
        f"{_too_few(trainer) or kept}"
    )
    if result.kept_update == 0 and result.update > 0:
        console.print("nothing was better than the weights before the first update: those are kept")


def _twice(trainer: Trainer) -> str:
    """Return the option that makes a run twice as long."""
    ((name, value),) = ((k, v) for k, v in (trainer.options.length or {}).items() if v is not None)
    return f"{option_name(name)} {2 * value:g}"


def _say_next(console: Console, folder: str, commands: list[str]) -> None:
    console.print(f"saved in {folder}; go on with")
    for command in commands:
        console.print(f"  {command}", style="bold")
