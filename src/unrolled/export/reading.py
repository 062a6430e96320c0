"""What is written beside an exported run: how data become numbers; and what proves the export."""

from importlib.metadata import version
from typing import Any

from unrolled.errors import RunError, field
from unrolled.options import option_fields
from unrolled.tasks import Loaded
from unrolled.tasks.graphs import Graphs

__all__ = ["content_of", "examples_of"]


def content_of(loaded: Loaded, graphs: Graphs[Any]) -> dict[str, Any]:
    """Return what is needed to use a model's numbers, in types that JSON has."""
    return {
        "task": loaded.task.name,
        "run": loaded.run.path.name,
        "unrolled": version("unrolled"),
        "reading": _reading(loaded),
        "model": loaded.run.config["model"],
        "vocabulary": loaded.task.to_dict(),
        **graphs.beside(),
    }


def examples_of(loaded: Loaded) -> Any:
    """Return what a run held out, or else what it tests with.

    Raises:
        RunError: There is neither.
    """
    splits = loaded.read()
    examples = splits.held_out or splits.test
    if not examples:
        message = f"{loaded.run.path}: held nothing out that the files could be proved on"
        raise RunError(message, f"train with {field('held_out')}")
    return examples


def _reading(loaded: Loaded) -> dict[str, Any]:
    """Return the options that decide what numbers become of the data."""
    data = loaded.task.options.data
    fields = [each.name for each in option_fields(type(data)) if each.option.decides_vocabulary]
    return {name: getattr(data, name) for name in fields}
