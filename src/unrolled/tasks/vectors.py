"""What the tasks that read words share of word vectors: their width, which a run keeps.

The vectors themselves are read where a new model begins (`networks/embedding.py`); afterwards they
are weights like any other.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled.data.content import whole_number_of
from unrolled.data.word_vectors import vectors_width
from unrolled.errors import OptionError, field
from unrolled.tasks.task import TaskOptions

__all__ = ["fitted_width", "width_content", "width_of"]


def fitted_width(options: TaskOptions) -> int | None:
    """Return the width of the vectors that were chosen; None if none were.

    Raises:
        DataError: Their file cannot be read, or does not begin as one of vectors.
        OptionError: There are none that could stay as they are.
    """
    if options.data.vectors is not None:
        return vectors_width(Path(options.data.vectors))
    if options.model.freeze_vectors:
        message = f"{field('freeze_vectors')} needs {field('vectors')}"
        raise OptionError(message, "name a file, or leave it out")
    return None


def width_content(width: int | None) -> dict[str, Any]:
    """Return the entry of vocabulary.json, if there are vectors."""
    return {} if width is None else {"vectors_width": width}


def width_of(content: Mapping[str, Any]) -> int | None:
    """Return what the entry of vocabulary.json says; None if there is none."""
    if "vectors_width" not in content:
        return None
    return whole_number_of(content, "vectors_width")
