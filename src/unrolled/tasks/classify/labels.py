"""Classes from the values of a column: what is one, what is missing, and what is no class."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date, time
from typing import Any

from unrolled.errors import DataError, field

__all__ = ["check_classes", "doubtful_labels", "label_of", "same_label"]

_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_MISSING = frozenset(["nan", "na", "n/a", "<na>", "null", "none", "nil", "nat", "?", "-"])
_SEVERAL = ("classes", "are", "they are")
_FEW = 10
"""So many different numbers may always be classes, as digits are."""


def label_of(value: Any, where: str, column: str) -> str | None:
    """Return the class that a value of a table names; None if it is missing.

    1.0 and 1 are one class: programs write whole numbers now so, now so.

    Args:
        value: Text, a number, a truth value, or None.
        where: Its place, with which a message begins.
        column: Its column.

    Raises:
        DataError: It is a list, an infinite number, or something else that is not one class.

    Example:
        >>> label_of(" good ", "a.csv, line 2", "class"), label_of(1.0, "a.csv, line 3", "class")
        ('good', '1')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    infinite = isinstance(value, float) and math.isinf(value)
    if infinite or not isinstance(value, str | int | float | date | time):
        shown = str(value)
        shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
        message = f"{where}: {column!r} is not one label: {shown}"
        raise DataError(message, "a label is a text, a number or a truth value")
    return same_label(str(value))


def same_label(text: str) -> str:
    """Return what is the same for all ways to write a class: no blanks around it, 1 for 1.0."""
    whole = _WHOLE.fullmatch(text.strip())
    return whole[1] if whole else text.strip()


def check_classes(labels: Sequence[str], where: str) -> None:
    """Raise `DataError` if a column has hardly a value twice: it holds no classes.

    Args:
        labels: Those of all examples.
        where: The file, with which a message begins.
    """
    counts = Counter(labels)
    numbers = [number for label in counts if (number := _number(label)) is not None]
    are_numbers = len(numbers) == len(counts)
    most = len(labels) / (4 if are_numbers else 2)
    if len(counts) <= (_FEW if are_numbers else 2 * _FEW) or len(counts) <= most:
        return
    once = sum(count == 1 for count in counts.values())
    values = f"{len(counts):,} different values in {len(labels):,} examples, {once:,} of them once"
    if are_numbers:
        message = f"{where}: the target is a number, not a class: {values}"
        span = f"from {min(numbers):g} to {max(numbers):g}"
        hint = f"{field('number')} predicts it; or make a few classes of it"
        raise DataError(f"{message}, {span}", hint)
    raise DataError(f"{where}: the target is no class: {values}", "is it the right column?")


def doubtful_labels(labels: Collection[str]) -> list[str]:
    """Return notes on classes that may be none, or one: missing values by name, other spellings.

    Args:
        labels: The different ones.

    Example:
        >>> doubtful_labels(["a", "NA"])
        ["the class 'NA' is how programs write what is missing: take those rows out if it is"]
    """
    notes = []
    if missing := sorted(label for label in labels if label.lower() in _MISSING):
        classes, are, they = ("class", "is", "it is") if len(missing) == 1 else _SEVERAL
        names = ", ".join(map(repr, missing))
        how = f"how programs write what is missing: take those rows out if {they}"
        notes.append(f"the {classes} {names} {are} {how}")
    spelt: dict[object, list[str]] = {}
    for label in sorted(labels):
        number = _number(label)
        text = unicodedata.normalize("NFC", label).casefold()  # an accent may be a mark of its own
        spelt.setdefault(text if number is None else number, []).append(label)
    same = [" and ".join(map(repr, each)) for each in spelt.values() if len(each) > 1]
    if same:
        more = f" and {len(same) - 5} more" if len(same) > 5 else ""
        shown = "; ".join(same[:5])
        notes.append(f"classes that may be one, written in several ways: {shown}{more}")
    return notes


def _number(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None
