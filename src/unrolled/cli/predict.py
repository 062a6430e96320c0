"""`unrolled predict`: what a run's model says of new input, as text or JSON lines."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.flags import chosen_of_any, parameter, parameters_of_any, with_parameters
from unrolled.cli.loading import load_run
from unrolled.cli.signals import ending_with_its_reader
from unrolled.cli.terminal import json_line, visible_parts, write
from unrolled.cli.trust import TrustCode
from unrolled.tasks.registry import TASKS, options_of

__all__ = ["predict"]


def _predict(run: Path, source: Path, as_json: bool, trust_code: bool, **values: Any) -> None:
    """Predict with a trained model.

    Writes a class, tags, a translation or a caption for each input; with a language model, how well
    it predicts each line and what it expects next.
    """
    from unrolled.data import Source

    loaded = load_run(run, trust_code=trust_code)
    task = loaded.task
    options = chosen_of_any(task.option_classes.predict, task.name, values)
    inputs = Source.stdin() if str(source) == "-" else Source.file(source)
    to_text = json_line if as_json else task.to_text
    as_exact = as_json or not sys.stdout.isatty()
    with ending_with_its_reader():
        for prediction in task.predict(loaded.model, inputs, options):
            told = prediction if as_exact else visible_parts(prediction)
            write(to_text(told) + "\n")


predict = with_parameters(
    _predict,
    [
        parameter(
            "run",
            Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained model.")],
        ),
        parameter(
            "source",
            Annotated[
                Path,
                typer.Argument(metavar="INPUT", help="File to read, or - for the standard input."),
            ],
        ),
        parameter(
            "as_json",
            Annotated[bool, typer.Option("--json", help="Print a JSON object for each input.")],
            False,
        ),
        parameter("trust_code", TrustCode, False),
        *parameters_of_any({name: options_of(name).PredictOptions for name in TASKS}),
    ],
)
