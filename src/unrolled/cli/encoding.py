"""The option by which input is read in another encoding than the training data."""

from dataclasses import replace
from typing import Annotated, Any

import typer

__all__ = ["InputEncoding", "reading_in"]

InputEncoding = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="Encoding of the input.",
        show_default="that of the training data",
    ),
]


def reading_in(task: Any, encoding: str | None) -> Any:
    """Return a task that reads files in `encoding`; as it did in training if None.

    Raises:
        OptionError: The task reads no text, or there is no such encoding.
    """
    from unrolled.data.text import check_encoding
    from unrolled.errors import OptionError, field

    if encoding is None:
        return task
    check_encoding(encoding)
    options = task.options
    if not hasattr(options.data, "encoding"):
        raise OptionError(f"{field('encoding')} is not for runs of {task.name}", "leave it out")
    task.options = replace(options, data=replace(options.data, encoding=encoding))
    return task
