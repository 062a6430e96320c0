"""`unrolled generate`: text from a run, to stdout as it is drawn."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.flags import chosen, parameter, parameters, with_parameters
from unrolled.cli.loading import load_run
from unrolled.cli.signals import ending_with_its_reader
from unrolled.cli.terminal import write
from unrolled.cli.trust import TrustCode
from unrolled.networks.options import GenerateOptions

__all__ = ["generate"]


def _generate(run: Path, prompt: str | None, trust_code: bool, **values: Any) -> None:
    """Write new text with a trained language model."""
    from unrolled.errors import RunError

    options = chosen(GenerateOptions, values)
    loaded = load_run(run, trust_code=trust_code)
    task = loaded.task
    if task.prompt is None:
        message = f"{run}: its task is {task.name!r}, which writes no text by itself"
        raise RunError(message, "name the run of a language model")
    prompt = task.prompt if prompt is None else prompt
    pieces = task.generate(loaded.model, prompt, options)
    with ending_with_its_reader():
        write(prompt)
        for piece in pieces:
            write(piece)
        if sys.stdout.isatty():
            write("\n")


generate = with_parameters(
    _generate,
    [
        parameter(
            "run",
            Annotated[
                Path, typer.Argument(metavar="RUN", help="Folder of a trained language model.")
            ],
        ),
        parameter(
            "prompt",
            Annotated[
                str | None,
                typer.Option(
                    help="Text to continue.",
                    show_default="a new line",
                    rich_help_panel=GenerateOptions.panel,
                ),
            ],
            None,
        ),
        *parameters(GenerateOptions),
        parameter("trust_code", TrustCode, False),
    ],
)
