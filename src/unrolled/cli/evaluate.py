"""`unrolled evaluate`: how good a run's model is on a file with the answers."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained model.")],
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Text, or examples in the format of the training."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a trained model on a file: a text, or examples with their answers.

    For a language model every token of the text after the first counts once.
    """
    from unrolled.training import Run

    name = Run.open(run).task
    unit, metrics = _language_model(run, file) if name == "lm" else _task(name, run, file)
    if as_json:
        typer.echo(json.dumps(metrics, ensure_ascii=False))
        return
    from rich.console import Console

    from unrolled.cli.tables import confusion_table, shown

    for metric, value in metrics.items():
        if isinstance(value, int | float | str):
            label = metric.removeprefix("num_").replace("_", " ")
            label += f" ({unit})" if metric == "loss" else ""
            typer.echo(f"{label:<22}{shown(value):>14}")
    if (confusion := confusion_table(metrics)) is not None:
        Console(highlight=False, markup=False, soft_wrap=True).print(confusion)


def _language_model(run: Path, file: Path) -> tuple[str, dict[str, Any]]:
    from unrolled.data import read_text
    from unrolled.tasks.lm.task import evaluate_text, load_language_model

    model, vocabulary, config = load_language_model(run)
    text = read_text([file], config["data"]["encoding"])
    return "nats/token", asdict(evaluate_text(model, vocabulary, text))


def _task(name: str, run: Path, file: Path) -> tuple[str, dict[str, Any]]:
    from unrolled.tasks import task_class
    from unrolled.tasks.runs import load

    task, model = load(run, task_class(name))
    examples, notes = task.read_examples(file)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    return task.unit, {"num_examples": len(examples), **task.evaluate(model, examples)}
