"""What the tasks other than language models say of one input that a visitor has given.

Tasks read files. What a visitor gives is written to a file of its own for that time, and nothing
that it says can make a task read another: a captioner, which also takes lists of paths, is given
nothing but pictures and recordings.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from unrolled.data.source import Source
from unrolled.errors import DataError, OptionError
from unrolled.serving.runs import TaskRun
from unrolled.tasks import Task

__all__ = ["predict_medium", "predict_text"]

_CALLED = "the input"  # in place of a path that means nothing to a visitor


def predict_text(run: TaskRun, text: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `unrolled predict --json` would print of a file that holds `text`.

    Args:
        run: Of a task that reads text or numbers.
        text: One input.
        options: Those of the task's `predict_options`.

    Raises:
        DataError: The task cannot read this.
        OptionError: The task reads pictures or recordings.
    """
    if run.medium is not None:
        raise OptionError(f"{run.name} reads a {run.medium}", "send one to /api/caption")
    return _predict(run.task, run.model, "input.txt", (text + "\n").encode(), options)


def predict_medium(run: TaskRun, content: bytes, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the captions of a picture or a recording.

    Args:
        run: Of a captioner.
        content: The file.
        options: Those of the task's `predict_options`.

    Raises:
        DataError: It is no picture or recording, or a damaged one.
        OptionError: The task reads something else.
    """
    from unrolled.tasks.caption.media import holds_medium

    if run.medium is None:
        raise OptionError(f"{run.name} reads no pictures or recordings", "ask /api/predict")
    with _file("input", content) as path:
        if not holds_medium(path):  # but perhaps a list of paths of this machine
            raise DataError(f"{_CALLED} is no {run.medium}", "send another file")
        return _first(run.task, run.model, path, options) | {"media": _CALLED}


def _predict(
    task: Task[Any], model: nn.Module, name: str, content: bytes, options: Mapping[str, Any]
) -> dict[str, Any]:
    with _file(name, content) as path:
        return _first(task, model, path, options)


def _first(
    task: Task[Any], model: nn.Module, path: Path, options: Mapping[str, Any]
) -> dict[str, Any]:
    for prediction in task.predict(model, Source(path), **options):
        return prediction
    raise DataError(f"{_CALLED} is empty", "give something to predict from")


@contextmanager
def _file(name: str, content: bytes) -> Iterator[Path]:
    with TemporaryDirectory(prefix="unrolled-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            yield path
        except DataError as error:
            raise DataError(error.message.replace(str(path), _CALLED), error.hint) from None
