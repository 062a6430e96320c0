"""Whether vocabulary.json is what the data of a run give, before a training goes on with it."""

import math
from typing import Any

from unrolled.data.files import parse_json, to_json
from unrolled.errors import RunError
from unrolled.tasks.task import Splits, Task
from unrolled.training import Run

__all__ = ["check_fitted"]


def check_fitted(run: Run, task: Task[Any], splits: Splits[Any]) -> None:
    """Raise `RunError` if vocabulary.json is not what the run's data give.

    It is looked at where config.json has no checksum of it, as its owner may have changed it: what
    a model has learned of symbols and classes cannot go on with others.
    """
    started = task.options.training.start_from is not None  # with what another run was fitted to
    as_written = run.vocabulary_path.name in run.config.get("sha256", {})
    if as_written or started or task.begins_with_a_file:  # a run has no path to that file
        return
    content = parse_json(run.read(run.vocabulary_path))
    fitted = parse_json(to_json(type(task).fit(task.options, splits).to_dict()))
    if _text_versions(content) != _text_versions(fitted):  # by now text is read otherwise
        return
    place = _difference(content, fitted)
    if place is not None:
        message = f"{run.vocabulary_path}: not what the run's data give: {place}"
        hint = "put it back to go on training; predict and evaluate take it as it is"
        raise RunError(message, hint)


def _text_versions(content: Any) -> list[Any]:
    """Return the version in which text is read, of each vocabulary that says it."""
    if not isinstance(content, dict):
        return []
    own = [content["text_version"]] if "text_version" in content else []
    return own + [each for value in content.values() for each in _text_versions(value)]


def _difference(content: Any, fitted: Any, place: str = "") -> str | None:
    """Return where two contents of JSON differ first, and how; None where they do not."""
    if isinstance(content, dict) and isinstance(fitted, dict) and content.keys() == fitted.keys():
        pairs = [(f"{place}.{name}".lstrip("."), content[name], fitted[name]) for name in fitted]
    elif isinstance(content, list) and isinstance(fitted, list) and len(content) == len(fitted):
        pairs = [
            (f"{place}[{i}]", *each) for i, each in enumerate(zip(content, fitted, strict=True))
        ]
    else:
        are_numbers = all(type(each) in (int, float) for each in (content, fitted))
        same = math.isclose(content, fitted) if are_numbers else content == fitted
        return None if same else f"{place} is {_brief(content)}, expected {_brief(fitted)}"
    return next(filter(None, (_difference(a, b, name) for name, a, b in pairs)), None)


def _brief(content: Any) -> str:
    if isinstance(content, dict | list):
        return f"{len(content):,} entries"
    return repr(content) if len(repr(content)) <= 40 else f"{repr(content)[:40]}..."
