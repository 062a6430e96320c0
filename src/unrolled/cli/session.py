"""A training in the user's view, new or resumed: its display, its signals, its last words."""

import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import typer
from rich.console import Console

from unrolled.cli.progress import LiveReporter, PlainReporter, make_console, make_reporter
from unrolled.data import load_vocabulary
from unrolled.generation import default_prompt, generate
from unrolled.models.language_model import LanguageModel
from unrolled.training import Trainer, TrainingResult

__all__ = ["fit"]

_SAMPLE_LENGTH = 300
_SECONDS_BETWEEN_SIGNALS = 1.0


def fit(trainer: Trainer) -> None:
    """Train to the end or to a signal, and say how to go on.

    SIGINT (Ctrl-C) and SIGTERM let the update at hand finish and save; a second one aborts.

    Raises:
        typer.Exit: A signal ended the training.
    """
    model, vocabulary = trainer.average, load_vocabulary(trainer.run.vocabulary_path)
    assert isinstance(model, LanguageModel)
    prompt = default_prompt(vocabulary)

    def sample() -> str:
        seed = trainer.progress.update
        return "".join(generate(model, vocabulary, prompt, length=_SAMPLE_LENGTH, seed=seed))

    console = make_console(quiet=not trainer.processes.is_first)
    folder = shlex.quote(str(trainer.run.path))
    size = sum(file["bytes"] for file in trainer.run.config["data"]["files"])
    config = model.config
    console.print(
        f"{folder}: {config.cell} {config.num_layers} x {config.hidden_size}, "
        f"{model.num_parameters:,} parameters; {size:,} bytes of text, "
        f"vocabulary of {config.vocabulary_size:,} ({vocabulary.kind})"
    )
    received: list[int] = []
    try:
        with make_reporter(console, sample) as reporter:
            with _stopping_on_signals(trainer, reporter, received):
                result = trainer.fit(reporter)
    except KeyboardInterrupt:
        console.print(f"aborted; from the last checkpoint: unrolled resume {folder}")
        raise typer.Exit(_exit_code(received)) from None
    _say_how_it_ended(console, result, folder)
    if result.reason == "interrupted":
        raise typer.Exit(_exit_code(received))


def _exit_code(received: list[int]) -> int:
    """Return the shell's code for a death by signal; none received: another process was told."""
    return 128 + (received[0] if received else signal.SIGINT)


@contextmanager
def _stopping_on_signals(
    trainer: Trainer, reporter: LiveReporter | PlainReporter, received: list[int]
) -> Iterator[None]:
    """Have the first signal stop the training after its update, and a second one at once."""
    first_time = 0.0

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal first_time
        if not received:
            first_time = time.monotonic()
            trainer.request_stop()
            reporter.on_stop_request()
        elif time.monotonic() - first_time > _SECONDS_BETWEEN_SIGNALS:
            raise KeyboardInterrupt  # not sooner: torchrun and `timeout` pass on what we got too
        received.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _say_how_it_ended(console: Console, result: TrainingResult, folder: str) -> None:
    elapsed = timedelta(seconds=round(result.elapsed_seconds))
    console.print(
        f"{result.reason} after {result.update:,} updates, {result.epoch:.2f} epochs, {elapsed}; "
        f"best held-out loss {result.best_loss:.4f} nats/token"
    )
    if result.reason == "interrupted":
        commands = [f"unrolled resume {folder}"]
    else:
        commands = [f"unrolled generate {folder}", f"unrolled evaluate {folder} FILE"]
    console.print(f"saved in {folder}; go on with")
    for command in commands:
        console.print(f"  {command}", style="bold")
