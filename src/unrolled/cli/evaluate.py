"""`unrolled evaluate`: how good a run's model is on a file with the answers."""

from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.encoding import InputEncoding, reading_in
from unrolled.cli.loading import load_run
from unrolled.cli.terminal import json_line, say
from unrolled.cli.trust import TrustCode

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained model.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Text, or examples in the format of the training data."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    encoding: InputEncoding = None,
    trust_code: TrustCode = False,
) -> None:
    """Measure a trained model on a file: a text, or examples with their answers.

    What FILE may be follows from the run:

      train lm          a text, of which every token after the first counts
      train classify    a table, cases, a folder or CLASS=FILE, as in training
      train tag         CoNLL or CoNLL-U, tags in the column of the training
      train translate   pairs, in the columns of the training
      train caption     files and captions, in the columns of the training
      train forecast    a table with the columns of the training
      train toy         a line for each sequence, with its answer
    """
    from unrolled.cli.flags import option_name
    from unrolled.cli.program import program
    from unrolled.cli.tables import confusion_table, figures_table
    from unrolled.errors import render
    from unrolled.tasks import ExamplesTask

    loaded = load_run(run, trust_code=trust_code)
    task = reading_in(loaded.task, encoding)
    examples, notes = task.read_examples(file)
    for note in notes:
        say(f"note: {render(note, option_name, program())}", err=True)
    counted = {"num_examples": len(examples)} if isinstance(task, ExamplesTask) else {}
    figures = {**counted, **task.evaluate(loaded.model, examples)}
    if as_json:
        say(json_line(figures))
        return
    from unrolled.cli.progress import plain_console

    for line in figures_table(figures, task.metrics):
        say(line)
    if (confusion := confusion_table(figures)) is not None:
        plain_console(soft_wrap=True).print(confusion)
