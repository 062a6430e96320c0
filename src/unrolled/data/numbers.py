"""Numbers as tables write them, those that are missing too."""

import math
from typing import Any

__all__ = ["MISSING", "is_number", "parse_number"]

MISSING = frozenset({"", "?", "nan", "na", "null", "none"})
"""How a value that is missing is written, in small letters."""

_LARGEST = 3.4e38  # of float32, about


def parse_number(value: Any) -> float:
    """Return a number, NaN for one that is missing.

    Args:
        value: Text, a number, or None.

    Raises:
        ValueError: Neither missing nor a number that is finite in float32, as what stands for a
            missing one in some files, 1.8e308, is not.

    Example:
        >>> parse_number("1e3"), parse_number("?"), parse_number(None)
        (1000.0, nan, nan)
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in MISSING):
        return math.nan
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if abs(number) > _LARGEST:
        raise ValueError("infinite, or as good as")
    return number


def is_number(text: str) -> bool:
    """Whether `parse_number` takes a text: a number, or one that is missing."""
    try:
        parse_number(text)
    except ValueError:
        return False
    return True
