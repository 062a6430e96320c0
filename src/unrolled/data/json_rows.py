"""JSON objects as the rows of a table: one in each line, or a list of them.

Python takes what is no object, keeps the last value of a name that is there twice, and makes
strings of halves of surrogate pairs, which are no characters. Here all three are seen.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from unrolled.data.text import lines_of
from unrolled.errors import DataError

__all__ = ["check_names", "has_half", "may_have_halves", "rows_of_lines", "rows_of_list"]

_ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")  # a whole pair or half of one
_HALF = re.compile("[\ud800-\udfff]")


class _Repeating(dict[str, Any]):
    """An object with names that it has twice."""

    repeated: frozenset[str] = frozenset()


def rows_of_lines(
    path: Path, text: str, first: int = 1
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the number of each line, and its object; None of a blank line.

    Args:
        path: What is named in messages.
        text: Whole lines.
        first: The number of the first of them.

    Raises:
        DataError: A line is not JSON, or not an object.
    """
    for line, content in enumerate(lines_of(text), start=first):
        if not content.strip():
            yield line, None
            continue
        try:
            values = json.loads(content, object_pairs_hook=_object)
        except json.JSONDecodeError as error:
            message = f"{path}, line {line}: not JSON: {error.msg}, at character {error.colno}"
            raise DataError(message, "JSON lines have one whole object in each line") from None
        except (RecursionError, ValueError):
            raise _too_deep(f"{path}, line {line}") from None
        if not isinstance(values, dict):
            message = f"{path}, line {line}: not a JSON object but {_shown(content)}"
            raise DataError(message, 'each line is like {"text": "...", "label": "..."}')
        yield line, values


def rows_of_list(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each object of a list, with its place, from 1.

    Raises:
        DataError: The text is not JSON, or something in the list not an object.
    """
    try:
        objects = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        message = f"{path}, line {error.lineno}: not JSON: {error.msg}"
        raise DataError(f"{message}, at character {error.colno}") from None
    except (RecursionError, ValueError):
        raise _too_deep(str(path)) from None
    for number, values in enumerate(objects, start=1):
        if not isinstance(values, dict):
            message = f"{path}, row {number}: not a JSON object but {_shown(str(values))}"
            raise DataError(message, 'each is like {"text": "...", "label": "..."}')
        yield number, values


def check_names(values: dict[str, Any], where: str, wanted: Sequence[str] | None) -> None:
    """Raise `DataError` if an object has a wanted name twice; None: all are wanted."""
    repeated = values.repeated if isinstance(values, _Repeating) else frozenset()
    for name in sorted(repeated if wanted is None else repeated.intersection(wanted)):
        raise DataError(f"{where}: {name!r} is there twice", "which value is meant?")


def may_have_halves(text: str) -> bool:
    """Return whether JSON has what an object with half a surrogate pair has."""
    return _ESCAPED.search(text) is not None


def has_half(values: dict[str, Any], wanted: Sequence[str] | None) -> bool:
    """Return whether a wanted value, or a text in it, has half a surrogate pair."""
    inner = [values[name] for name in (values if wanted is None else wanted) if name in values]
    while inner:  # a loop, for what may be nested deep
        value = inner.pop()
        if isinstance(value, str) and _HALF.search(value):
            return True
        if isinstance(value, list | dict):
            inner += value.values() if isinstance(value, dict) else value
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    counts = Counter(name for name, _ in pairs)
    repeating = _Repeating(values)
    repeating.repeated = frozenset(name for name, count in counts.items() if count > 1)
    return repeating


def _too_deep(where: str) -> DataError:
    message = f"{where}: nested too deep, or a number with too many digits"
    return DataError(message, "a text, a number or a label stands in each field")


def _shown(content: str) -> str:
    return repr(content if len(content) <= 40 else f"{content[:40]}...")
