"""What the tasks other than language models say of one input that a visitor has typed."""

from collections.abc import Generator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from unrolled.data.source import Source
from unrolled.tasks import Task

__all__ = ["predict_text"]


def predict_text(
    task: Task[Any], model: nn.Module, text: str, options: Mapping[str, Any]
) -> Generator[dict[str, Any], None, None]:
    """Yield what `unrolled predict --json` would print for a file that holds `text`.

    Args:
        task: The run's.
        model: In eval mode.
        text: As the task reads it: lines of text, or rows of a table.
        options: Those of `task.predict_options`.

    Raises:
        DataError: The task cannot read this.
    """
    with TemporaryDirectory(prefix="unrolled-") as folder:  # for a task reads files, or stdin
        path = Path(folder) / "input.txt"
        path.write_text(text + "\n", encoding="utf-8")
        yield from task.predict(model, Source(path), **options)
