"""`unrolled predict`: what a run's model says of new input, as text or JSON lines."""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["predict"]


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained model.")],
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A file, or - for the standard input.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each input.")
    ] = False,
    running: Annotated[
        bool | None,
        typer.Option("--running", help="classify: also the opinion after every token."),
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(metavar="N", help="translate, caption: unfinished outputs kept; 1 is greedy."),
    ] = None,
    n_best: Annotated[
        int | None, typer.Option(metavar="N", help="translate, caption: outputs for each input.")
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(metavar="A", help="translate, caption: scores by ((5 + length) / 6)^A."),
    ] = None,
    no_repeat: Annotated[
        int | None,
        typer.Option(metavar="N", help="translate, caption: never write N tokens twice."),
    ] = None,
) -> None:
    """Predict with a trained model: a class, tags, a translation or a caption for each input."""
    from unrolled.data.source import Source
    from unrolled.errors import OptionError
    from unrolled.tasks import task_class
    from unrolled.tasks.runs import load
    from unrolled.training import Run

    name = Run.open(run).task
    if name == "lm":
        hint = f"write with it: unrolled generate {run}"
        raise OptionError(f"{run}: a language model has nothing to predict from", hint)
    task, model = load(run, task_class(name))
    given: dict[str, Any] = {
        "running": running,
        "beam": beam,
        "n_best": n_best,
        "length_penalty": length_penalty,
        "no_repeat": no_repeat,
    }
    options = {option: value for option, value in given.items() if value is not None}
    if excess := sorted(options.keys() - task.predict_options):
        option = excess[0].replace("_", "-")
        raise OptionError(f"--{option} is not for {task.name}", "leave it out")
    if hasattr(signal, "SIGPIPE"):  # `| head` ends us as it ends any other program
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for prediction in task.predict(
        model, Source(None if str(source) == "-" else source), **options
    ):
        line = json.dumps(prediction, ensure_ascii=False) if as_json else task.to_text(prediction)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
