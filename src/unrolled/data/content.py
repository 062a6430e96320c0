"""What a vocabulary.json says, checked as it is read: a wrong entry is named, not met with later.

Each function takes an entry out of an object of JSON and raises `ValueError` if it is not what was
expected. A missing entry is a `KeyError`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "flag_of",
    "letters_of",
    "number_of",
    "numbers_of",
    "one_of",
    "strings_of",
    "whole_number_of",
    "whole_numbers_of",
]


def strings_of(content: Mapping[str, Any], name: str, *, least: int = 0) -> list[str]:
    """Return a list of at least so many different strings.

    Example:
        >>> strings_of({"classes": ["no", "yes"]}, "classes", least=2)
        ['no', 'yes']
    """
    value = content[name]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{name} must be a list of strings")
    if len(value) < least:
        raise ValueError(f"{name} must be at least {least}, got {len(value)}")
    _require_different(name, value)
    return value


def _require_different(name: str, values: Sequence[str]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{name} must be different, twice: {value!r}")
        seen.add(value)


def letters_of(content: Mapping[str, Any], name: str) -> str:
    """Return a string of different characters."""
    value = content[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string")
    _require_different(name, value)
    return value


def numbers_of(
    content: Mapping[str, Any], name: str, count: int | None = None, *, above: float = -math.inf
) -> list[float]:
    """Return a list of so many numbers, all finite and above a bound."""
    value = content[name]
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise ValueError(f"{name} must be {count if count is not None else 'a list of'} numbers")
    return [_number(name, each, above) for each in value]


def number_of(content: Mapping[str, Any], name: str, *, above: float = -math.inf) -> float:
    """Return a number that is finite and above a bound."""
    return _number(name, content[name], above)


def _number(name: str, value: Any, above: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= above:
        bound = "" if above == -math.inf else f" above {above:g}"
        raise ValueError(f"{name} must be finite numbers{bound}, got {value!r}")
    return float(value)


def whole_numbers_of(content: Mapping[str, Any], name: str, count: int, *, least: int) -> list[int]:
    """Return a list of so many whole numbers, none below `least`."""
    value = content[name]
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{name} must be {count} whole numbers")
    return [_whole_number(name, each, least) for each in value]


def whole_number_of(content: Mapping[str, Any], name: str, *, most: int | None = None) -> int:
    """Return a whole number from 1 to `most`."""
    number = _whole_number(name, content[name], 1)
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most:,}, got {number:,}")
    return number


def _whole_number(name: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be whole numbers of at least {least}, got {value!r}")
    return value


def flag_of(content: Mapping[str, Any], name: str) -> bool:
    """Return true or false."""
    value = content[name]
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def one_of(content: Mapping[str, Any], name: str, values: Sequence[str]) -> str:
    """Return one of some strings."""
    value = content[name]
    if value not in values:
        raise ValueError(f"{name} must be one of {', '.join(values)}, got {value!r}")
    return str(value)
