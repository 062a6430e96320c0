"""`unrolled evaluate`: how well a run's model predicts a text."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a trained language model.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Text, in the encoding of the training text.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how well a trained language model predicts a text.

    Every token of the text after the first counts once.
    """
    from unrolled.data import read_text
    from unrolled.training import evaluate_text, load_language_model

    model, vocabulary, config = load_language_model(run)
    text = read_text([file], config["data"]["encoding"])
    metrics = asdict(evaluate_text(model, vocabulary, text))
    if as_json:
        typer.echo(json.dumps(metrics))
        return
    for name, value in metrics.items():
        number = f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"
        typer.echo(f"{name.removeprefix('num_').replace('_', ' '):<22}{number:>14}")
