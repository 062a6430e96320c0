"""`unrolled predict`: what a run's model says of new input, as text or JSON lines."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.device import Device
from unrolled.cli.encoding import InputEncoding, reading_in
from unrolled.cli.flags import chosen_of_any, parameter, parameters_of_any, with_parameters
from unrolled.cli.loading import load_run
from unrolled.cli.signals import ending_with_its_reader
from unrolled.cli.terminal import counted, json_line, say, visible_parts, write
from unrolled.cli.trust import TrustCode
from unrolled.errors import OptionError
from unrolled.tasks.registry import TASKS, options_of

__all__ = ["predict"]


def _predict(
    run: Path,
    source: Path | None,
    as_json: bool,
    trust_code: bool,
    encoding: str | None,
    device: str | None,
    **values: Any,
) -> None:
    """Predict with a trained model.

    Writes a line for each input: a class, tags, a translation or a caption; with a language model,
    how well it predicts each line and what it expects next.

    What INPUT may be follows from the run:

      train lm          a text, each line by itself
      train classify    a text in each line, a table, cases; media as caption
      train tag         a sentence in each line, or CoNLL, or CoNLL-U
      train translate   a sentence in each line
      train caption     a picture, a recording, a folder or a list of them
      train forecast    a table, by default its own; last values
      train multilabel  sets in each line, or a file as in training
      train toy         a sequence in each line
    """
    from unrolled.data import Source

    loaded = load_run(run, trust_code=trust_code, device=device)
    task = reading_in(loaded.task, encoding)
    options = chosen_of_any(task.option_classes.predict, task.name, values)
    written_in = getattr(task.options.data, "encoding", "utf-8")
    inputs: Source | None
    if source is None:
        inputs = task.own_source
    elif str(source) == "-":
        inputs = Source.stdin(written_in)
    else:
        inputs = Source.file(source, written_in)
    if inputs is None:
        message = f"a model of {task.name} needs something to read"
        raise OptionError(message, "name a file, or - for the standard input")
    as_line = json_line if as_json else task.to_text
    num_cut = num_with_unknown = num_captions = num_of_examples = 0
    errors: list[str] = []
    try:
        with ending_with_its_reader():
            heading = None if as_json else task.heading(options)
            for prediction in task.predict(loaded.model, inputs, options):
                num_captions += "from" in prediction
                num_of_examples += prediction.get("from") == "example"
                num_cut += "read" in prediction  # that many characters or steps of it
                num_with_unknown += "unknown" in prediction
                errors += [prediction["error"]] if "error" in prediction else []
                # texts may hold line ends, tabs and control characters: as text, each input has
                # its line; JSON has escapes of its own
                shown = prediction if as_json else visible_parts(prediction)
                if heading is not None:  # not sooner: something may be wrong with all inputs
                    write(f"{heading}\n")
                    heading = None
                write(as_line(shown) + "\n")
            if heading is not None:
                write(f"{heading}\n")
    finally:
        if num_cut:
            were = f"{counted(num_cut, 'input')} {'was' if num_cut == 1 else 'were'}"
            say(f"note: {were} too long for this model, which read the beginning", err=True)
        if num_with_unknown:
            what = "characters that the model has never seen, which were left out"
            say(f"note: {counted(num_with_unknown, 'input')} had {what}", err=True)
        if num_of_examples and not as_json:
            are_those = "is that" if num_of_examples == 1 else "are those"
            share = f"{num_of_examples:,} of {counted(num_captions, 'caption')} {are_those}"
            say(f"note: {share} of a training example; --json says which", err=True)
        if errors:
            first = f"; the first: {errors[0]}"
            say(f"note: {counted(len(errors), 'input')} could not be used{first}", err=True)


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
                Path | None,
                typer.Argument(
                    metavar="INPUT",
                    help="File to read, or - for the standard input; a forecaster needs none.",
                ),
            ],
            None,
        ),
        parameter(
            "as_json",
            Annotated[bool, typer.Option("--json", help="Print a JSON object for each input.")],
            False,
        ),
        parameter("encoding", InputEncoding, None),
        parameter("device", Device, None),
        parameter("trust_code", TrustCode, False),
        *parameters_of_any({name: options_of(name).PredictOptions for name in TASKS}),
    ],
)
