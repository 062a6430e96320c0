"""`unrolled generate`: text from a run, to stdout as it is drawn."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unrolled.cli.device import Device
from unrolled.cli.flags import chosen, parameter, parameters, with_parameters
from unrolled.cli.loading import load_run
from unrolled.cli.signals import ending_with_its_reader
from unrolled.cli.terminal import write
from unrolled.cli.trust import TrustCode
from unrolled.cli.unknown import known_part
from unrolled.networks.options import WriteOptions

if TYPE_CHECKING:
    from unrolled.tasks import Task

__all__ = ["generate"]


def _generate(run: Path, device: str | None, trust_code: bool, **values: Any) -> None:
    """Write new text with a trained language model, or new sets with one of label sets.

    The prompt of the second is a line such as "60 64 67 | 62 65"; --length counts sets.
    """
    from unrolled.errors import RunError

    options = chosen(WriteOptions, values)
    loaded = load_run(run, trust_code=trust_code, device=device)
    task = loaded.task
    if task.prompt is None:
        message = f"{run}: its task is {task.name!r}, which writes no text by itself"
        raise RunError(message, "name the run of a language model, or of label sets")
    prompt = _prompt(task, options)
    # all at once, for their errors
    samples = [options.of_sample(number) for number in range(options.num_samples)]
    texts = task.generate_many(loaded.model, prompt, samples)
    with ending_with_its_reader():
        for number, pieces in enumerate(texts, 1):
            if len(texts) > 1:
                write(f"--- {number} of {len(texts)} ---\n")
            write(prompt)
            last = prompt
            for piece in pieces:
                write(piece)
                last = piece or last
            is_last = number == len(texts)
            if sys.stdout.isatty() if is_last else not last.endswith("\n"):
                write("\n")


def _prompt(task: "Task[Any]", options: WriteOptions) -> str:
    """Return the text to continue, all of which the model can read.

    Raises:
        DataError: The file cannot be read.
        OptionError: Nothing of it is left.
        VocabularyError: It has characters that the vocabulary lacks, which are not to be skipped.
    """
    from unrolled.data import Source
    from unrolled.errors import OptionError, field

    name, prompt = field("prompt"), options.prompt
    if options.prompt_file is not None:
        name = field("prompt_file")
        from_stdin = options.prompt_file == "-"
        source = Source.stdin() if from_stdin else Source.file(Path(options.prompt_file))
        prompt = "\n".join(source.lines())
    if prompt is None:
        assert task.prompt is not None
        return task.prompt
    known = known_part(task, prompt, name, skip_unknown=options.skip_unknown)
    if not known:
        raise OptionError(f"{name}: nothing to continue", "leave it out to begin with a new line")
    return str(known)


generate = with_parameters(
    _generate,
    [
        parameter(
            "run",
            Annotated[
                Path, typer.Argument(metavar="RUN", help="Folder of a trained model that writes.")
            ],
        ),
        *parameters(WriteOptions),
        parameter("device", Device, None),
        parameter("trust_code", TrustCode, False),
    ],
)
