"""`unrolled evaluate`: how good a run's model is on files with the answers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.device import Device
from unrolled.cli.encoding import InputEncoding, reading_in
from unrolled.cli.loading import load_run
from unrolled.cli.terminal import json_line, say
from unrolled.cli.trust import TrustCode
from unrolled.cli.unknown import known_part

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained model.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Texts, or examples in a format of the training; of several, all together.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    encoding: InputEncoding = None,
    skip_unknown: Annotated[
        bool,
        typer.Option(
            "--skip-unknown",
            help="Leave out of a text what a language model has never seen, and say so.",
        ),
    ] = False,
    device: Device = None,
    trust_code: TrustCode = False,
) -> None:
    """Measure a trained model on texts, or on examples with their answers.

    What FILE may be follows from the run:

      train lm          a text, of which every token after the first counts
      train classify    a table, cases, a folder or CLASS=FILE, as in training
      train tag         CoNLL, CoNLL-U or, as in training, a table
      train translate   pairs, in the columns of the training
      train caption     files and captions, in the columns of the training
      train forecast    a table with the columns of the training
      train multilabel  a file as in training; of one in parts, its test part
      train toy         a line for each sequence, with its answer
    """
    from unrolled.cli.flags import option_name
    from unrolled.cli.program import program
    from unrolled.cli.tables import confusion_table, figures_table
    from unrolled.errors import OptionError, field, render
    from unrolled.tasks import ExamplesTask

    loaded = load_run(run, trust_code=trust_code, device=device)
    task = reading_in(loaded.task, encoding)
    reads_text = not isinstance(task, ExamplesTask)
    if skip_unknown and not reads_text:
        raise OptionError(f"{field('skip_unknown')} is not for runs of {task.name}", "leave it out")
    examples: list[Any] = []
    for file in files:
        read, notes = task.read_examples(file)
        if reads_text:
            read = [known_part(task, text, str(file), skip_unknown=skip_unknown) for text in read]
        examples += read
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
