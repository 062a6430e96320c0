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
from unrolled.cli.program import program, program_of_all
from unrolled.cli.progress import Display, LiveReporter, PlainReporter, make_console, make_reporter
from unrolled.cli.signals import handling_signals
from unrolled.cli.tables import confusion_table, results_table, results_texts
from unrolled.cli.terminal import counted
from unrolled.errors import render
from unrolled.networks import count_parameters, device_of
from unrolled.tasks import Prepared
from unrolled.training import FEWEST, Run, Trainer, TrainingResult

__all__ = ["fit"]

_SECONDS_BETWEEN_SIGNALS = 1.0


def fit(prepared: Prepared) -> None:
    """Train to the end or to a signal, and say how to go on.

    SIGINT (Ctrl-C) and SIGTERM let the update at hand finish and save; a second one aborts.

    Args:
        prepared: A run.

    Raises:
        typer.Exit: A signal ended the training.
    """
    task, trainer = prepared.task, prepared.trainer
    console = make_console(quiet=not trainer.processes.is_first)
    model, folder = task.options.model, shlex.quote(str(trainer.run.path))
    trust = " --trust-code" * isinstance(model.cell, Cell)
    resume = f"{program_of_all()} resume {folder}{trust}"
    device = device_of(trainer.model)
    where = "" if device.type == "cpu" else f", on {device}"
    console.print(
        f"{folder}: {model.kind.name} {model.num_layers} x {model.hidden_size}, "
        f"{count_parameters(trainer.model):,} parameters{where}"
    )
    _print_words(console, task.describe(prepared.splits))
    for note in prepared.splits.notes:
        _print_words(console, f"note: {render(note, option_name, program())}")
    if trainer.is_new and task.options.training.select is None and (few := _too_few(trainer)):
        _print_words(console, f"note: {few}")
    if not trainer.is_new and not trainer.finished:
        _print_words(console, _where_from(trainer))
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
        if results.metrics:
            console.print(results_table(results))
        else:
            _print_words(console, "no part is left to measure on")
        for text in results_texts(results):
            console.print(text)
        if results.calibrated is not None:
            _print_words(console, f"note: {results.calibrated}")
        if (confusion := confusion_table(results.metrics)) is not None:
            console.print(confusion)
        if result.still_improving and not trainer.keeps_last:
            console.print(f"still improving when it ended: {resume} {_twice(trainer)}")
    _say_what_is_there(console, trainer.run)
    commands = [f"{each}{trust}" for each in (*task.commands, "inspect RUN", "serve RUN")]
    _say_next(console, folder, [f"{program()} {each.replace('RUN', folder)}" for each in commands])


def _sample(prepared: Prepared) -> str | None:
    trainer = prepared.trainer
    return prepared.task.sample(trainer.learner.average, seed=trainer.progress.update)


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
    few = f"{number} held-out examples are" if number > 1 else "1 held-out example is"
    return f"{few} too few to choose by: the last average is kept"


def _say_how_it_ended(console: Console, result: TrainingResult, trainer: Trainer) -> None:
    elapsed = timedelta(seconds=round(result.elapsed_seconds))
    metric, top = trainer.metric, trainer.progress.top_figure
    sentence, better = "the last weights, averaged, are kept", "better"
    if not trainer.keeps_last and result.best_figure is not None:
        best = f"{result.best_figure:.4f} {metric.unit}".rstrip()
        sentence = f"best held-out {metric.plain_label} {best}, of update {result.kept_update:,}"
        if top is not None and metric.is_better(top, result.best_figure):
            sentence = (
                f"kept: update {result.kept_update:,}, held-out {metric.plain_label} {best}; that "
                f"{top:.4f} is more, chance may explain, and the loss was higher"
            )
            better = "clearly better"
    updates, epochs = counted(result.update, "update"), f"{result.epoch:.2f} epochs"
    console.print(f"{result.reason} after {updates}, {epochs}, {elapsed}")
    _print_words(console, sentence)
    if not trainer.keeps_last and result.kept_update == 0 and result.update > 0:
        words = f"nothing was {better} than the weights before the first update: those are kept"
        _print_words(console, words)


def _twice(trainer: Trainer) -> str:
    """Return the option that makes a run twice as long."""
    ((name, value),) = ((k, v) for k, v in (trainer.options.length or {}).items() if v is not None)
    return f"{option_name(name)} {2 * value:g}"


def _where_from(trainer: Trainer) -> str:
    """Return where a run goes on that has begun before."""
    progress = trainer.progress
    if progress.update == 0:
        return "begins at the start: it was stopped before its first update was saved"
    elapsed = timedelta(seconds=round(progress.elapsed_seconds))
    done = trainer.schedule.done(progress)
    return f"goes on from update {progress.update:,}, {done:.0%} done in {elapsed}"


def _print_words(console: Console, text: str) -> None:
    """Print a text for people, whose lines end between two words."""
    console.print(text, soft_wrap=not console.is_interactive)


def _say_what_is_there(console: Console, run: Run) -> None:
    """Say which files are worth a look beside the weights."""
    curves = "curves in metrics.jsonl"
    if run.tensorboard_path.is_dir():
        curves += " and tensorboard/"
    _print_words(console, f"figures in results.json, {curves}")


def _say_next(console: Console, folder: str, commands: list[str]) -> None:
    each = ", on each computer with its own number," if "--node-rank" in commands[0] else ""
    console.print(f"saved in {folder}; go on{each} with")
    for command in commands:
        console.print(f"  {command}", style="bold")
