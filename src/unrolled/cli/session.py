"""A training in the user's view, new or resumed: its display, its signals, its last words."""

import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from unrolled.cli.options import new_run_path
from unrolled.cli.progress import LiveReporter, PlainReporter, make_console, make_reporter
from unrolled.cli.signals import handling_signals
from unrolled.cli.tables import confusion_table, results_table
from unrolled.networks.sequence_layers import default_num_layers
from unrolled.tasks import Task
from unrolled.tasks.runs import Prepared, prepare
from unrolled.training import Results, Trainer, TrainingResult, initialize_distributed

__all__ = ["Session", "fit", "fit_language_model", "fit_task", "train_task"]

_SAMPLE_LENGTH = 300
_SECONDS_BETWEEN_SIGNALS = 1.0


@dataclass(frozen=True)
class Session:
    """What the user's view of a training depends on, beside the trainer.

    Args:
        unit: Of the loss, such as "nats/token".
        data: What is learned from, in a few words.
        notes: Sentences about the data that the user should read.
        sample: Draws something to read from the model as it is now, without a trace on the
            training; None if there is nothing to read.
        finish: Measures what was kept when the training is over.
        commands: What to do with the run, each after `unrolled` and with RUN for its folder.
    """

    unit: str
    data: str
    notes: list[str]
    sample: Callable[[], str] | None
    finish: Callable[[], Results]
    commands: list[str]


def fit_language_model(trainer: Trainer) -> None:
    """Train a language model to the end or to a signal."""
    from unrolled.data import load_vocabulary
    from unrolled.networks import LanguageModel
    from unrolled.tasks.lm.sampling import default_prompt, generate
    from unrolled.tasks.lm.task import finish_language_model

    model, vocabulary = trainer.average, load_vocabulary(trainer.run.vocabulary_path)
    assert isinstance(model, LanguageModel)
    prompt = default_prompt(vocabulary)

    def sample() -> str:
        seed = trainer.progress.update
        return "".join(generate(model, vocabulary, prompt, length=_SAMPLE_LENGTH, seed=seed))

    size = sum(file["bytes"] for file in trainer.run.config["data"]["files"])
    vocabulary_of = f"vocabulary of {len(vocabulary):,} ({vocabulary.kind})"
    session = Session(
        unit="nats/token",
        data=f"{size:,} bytes of text, {vocabulary_of}",
        notes=[],
        sample=sample,
        finish=lambda: finish_language_model(trainer),
        commands=["generate RUN", "evaluate RUN FILE"],
    )
    fit(trainer, session)


def train_task(task: type[Task[Any]], data: Any, run: Path | None, **settings: Any) -> None:
    """Train a task's model in a new run, to the end or to a signal.

    Args:
        task: What is learned.
        data: Its `Options`.
        run: The folder; None makes one that is named after task, cell and time.
        settings: Arguments of `tasks.runs.prepare`. In `model`, num_layers=None takes what suits
            the cell.
    """
    model = settings["model"]
    if model["num_layers"] is None:
        model["num_layers"] = default_num_layers(model["cell"])
    with initialize_distributed() as processes:
        path = run or processes.from_first(lambda: new_run_path(task.name, model["cell"]))
        fit_task(prepare(task, data, path, processes=processes, **settings))


def fit_task(prepared: Prepared) -> None:
    """Train a task's model to the end or to a signal."""
    splits = prepared.splits
    sizes = {"training": splits.training, "held out": splits.held_out, "test": splits.test}
    parts = [f"{len(part):,} {name}" for name, part in sizes.items() if part]
    session = Session(
        unit=prepared.task.unit,
        data=f"examples: {', '.join(parts)}",
        notes=splits.notes,
        sample=None,
        finish=prepared.finish,
        commands=["predict RUN FILE", "evaluate RUN FILE"],
    )
    fit(prepared.trainer, session)


def fit(trainer: Trainer, session: Session) -> None:
    """Train to the end or to a signal, and say how to go on.

    SIGINT (Ctrl-C) and SIGTERM let the update at hand finish and save; a second one aborts.

    Raises:
        typer.Exit: A signal ended the training.
    """
    console = make_console(quiet=not trainer.processes.is_first)
    folder = shlex.quote(str(trainer.run.path))
    config = trainer.run.config["model"]
    num_parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    console.print(
        f"{folder}: {config['cell']} {config['num_layers']} x {config['hidden_size']}, "
        f"{num_parameters:,} parameters; {session.data}"
    )
    for note in session.notes:
        console.print(f"note: {note}")
    received: list[int] = []
    try:
        with make_reporter(console, session.sample, session.unit) as reporter:
            with _stopping_on_signals(trainer, reporter, received):
                result = trainer.fit(reporter)
    except KeyboardInterrupt:
        console.print(f"aborted; from the last checkpoint: unrolled resume {folder}")
        raise typer.Exit(_exit_code(received)) from None
    _say_how_it_ended(console, result, session, folder)
    if result.reason == "interrupted":
        raise typer.Exit(_exit_code(received))
    if trainer.processes.is_first:
        results = session.finish()
        console.print(results_table(results))
        if (confusion := confusion_table(results.metrics)) is not None:
            console.print(confusion)
    console.print(f"saved in {folder}; go on with")
    for command in session.commands:
        console.print(f"  unrolled {command.replace('RUN', folder)}", style="bold")


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


def _say_how_it_ended(
    console: Console, result: TrainingResult, session: Session, folder: str
) -> None:
    elapsed = timedelta(seconds=round(result.elapsed_seconds))
    console.print(
        f"{result.reason} after {result.update:,} updates, {result.epoch:.2f} epochs, {elapsed}; "
        f"best held-out loss {result.best_loss:.4f} {session.unit}"
    )
    if result.reason == "interrupted":
        console.print(f"saved in {folder}; go on with")
        console.print(f"  unrolled resume {folder}", style="bold")
