"""`unrolled generate`: text from a run, to stdout as it is drawn."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["generate"]


def generate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a trained language model.")
    ],
    prompt: Annotated[
        str | None, typer.Option(help="The text to continue.", show_default="a new line")
    ] = None,
    length: Annotated[int, typer.Option(help="Tokens to draw.")] = 500,
    temperature: Annotated[
        float, typer.Option(help="Below 1 safer, above 1 bolder; 0 takes the likeliest each time.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(help="Draw from the K likeliest only.", metavar="K")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Draw from the likeliest that together reach P.", metavar="P"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text.", show_default="random")
    ] = None,
) -> None:
    """Write new text with a trained language model."""
    from unrolled.tasks.lm import sampling
    from unrolled.tasks.lm.task import load_language_model

    model, vocabulary, _ = load_language_model(run)
    if prompt is None:
        prompt = sampling.default_prompt(vocabulary)
    pieces = sampling.generate(
        model,
        vocabulary,
        prompt,
        length=length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    if hasattr(signal, "SIGPIPE"):  # `| head` ends us as it ends any other program
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    if sys.stdout.isatty():
        sys.stdout.write("\n")
