"""Sequences of numbers, one for each case, from a table: in long format a row for each step.

    id  time   x     y    label
    7   0      0.1   3    run        case 7: two steps of two features, (T, I) = (2, 2)
    7   1      0.4   ?    run        and a value that is missing
    8   0      ...

In a wide one each row is a case of one feature. Their other format, `.ts`, is in ts_files.py.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from unrolled.data.numbers import parse_number
from unrolled.data.tables import Row, Table, read_table
from unrolled.errors import DataError, field
from unrolled.tasks.classify.labels import label_of

__all__ = ["SCALES", "Series", "number_label", "read_long_table", "read_wide_table"]

SCALES = ("training", "series", "both")
"""What the numbers of a series can be scaled by."""


@dataclass(frozen=True)
class Series:
    """A sequence of numbers.

    Args:
        where: Its file and line, with which a message begins.
        id: What the case is called: its id in a long table, its line elsewhere.
        names: Of the I features.
        steps: T tuples of I numbers each, in the order of time; NaN where one is missing.
        label: Of the whole case, None if it has none.
    """

    where: str
    id: str
    names: tuple[str, ...]
    steps: tuple[tuple[float, ...], ...]
    label: str | None


def number_label(label: str) -> float:
    """Return the number that a label writes.

    Raises:
        ValueError: It writes none that is finite in float32.

    Example:
        >>> number_label("-1.5e2")
        -150.0
    """
    number = parse_number(label)
    if math.isnan(number):
        raise ValueError("no number")
    return number


def read_long_table(
    path: Path,
    *,
    id: str,
    time: str | None,
    inputs: Sequence[str] | None,
    target: str | None,
    encoding: str = "utf-8",
) -> list[Series]:
    """Return the cases of a long table, in the order in which they first occur.

    Args:
        path: A table, `read_table`.
        id: The column that says which case a row belongs to.
        time: The column of numbers or of dates (ISO 8601) that puts the steps of a case in order;
            None leaves them as they are in the file.
        inputs: The columns of the I features; all others if None.
        target: The column of the label, the same in all rows of a case; None for no labels.
        encoding: Of the file.

    Raises:
        DataError: The table cannot be read; a value is no number; a case has two rows of one time,
            or two labels; there is no feature.
    """
    named = [name for name in (id, time, target) if name is not None]
    table = read_table(path, [*named, *(inputs or ())], encoding, others=inputs is None)
    if inputs is None:
        inputs = [name for name in table.columns if name not in named]
    if not inputs:
        raise DataError(f"{path}: no column is left for the numbers of a step")
    cases: dict[Hashable, list[Row]] = {}
    for row in table.rows:
        cases.setdefault(_name(table, row, id), []).append(row)
    return [
        _series(table, str(name), _in_order(table, rows, time), tuple(inputs), target)
        for name, rows in cases.items()
    ]


def read_wide_table(
    path: Path, *, inputs: Sequence[str], target: str, labelled: bool, encoding: str
) -> list[Series]:
    """Return the cases of a table with one in each row: of one feature, its steps the columns.

    What is missing at the end of a case is not part of it.

    Args:
        path: A table, `read_table`.
        inputs: The columns of the steps, in their order; all but the label's if there are none.
        target: The column of the label.
        labelled: Whether labels are read.
        encoding: Of the file.

    Raises:
        DataError: The table cannot be read, a value is no number, or there is no step.
    """
    # a column known by its number has its place even where it is not asked for
    named = [target] if labelled or target.isdigit() else []
    table = read_table(path, [*named, *inputs], encoding, others=not inputs)
    columns = inputs or [name for name in table.columns if name != target]
    if not columns:
        raise DataError(f"{path}: no column is left for the numbers of a series")
    cases = []
    for row in table.rows:
        where = table.where(row)
        steps = [_number_in(table, row, column) for column in columns]
        while steps and math.isnan(steps[-1]):
            del steps[-1]
        label = label_of(row.values[target], where, target) if labelled else None
        cases.append(Series(where, str(row.line), ("1",), tuple((x,) for x in steps), label))
    return cases


def _name(table: Table, row: Row, column: str) -> str:
    name = row.values[column]
    if name is None or not str(name).strip():
        raise DataError(f"{table.where(row)}: no {column!r}, so its case is not known")
    return str(name)


def _in_order(table: Table, rows: list[Row], time: str | None) -> list[Row]:
    if time is None:
        return rows
    moments = [_moment(table, row, time) for row in rows]
    if len({(type(moment), getattr(moment, "tzinfo", None) is None) for moment in moments}) > 1:
        message = f"{table.where(rows[0])}: {time!r} of this case is written in two ways"
        raise DataError(message, "numbers, dates, or dates with a time zone, but one of the three")
    order = sorted(range(len(rows)), key=moments.__getitem__)
    for before, after in pairwise(order):
        if moments[before] == moments[after]:
            first, second = sorted((rows[before].line, rows[after].line))
            raise DataError(
                f"{table.path}: rows {first} and {second} have the same {time!r}, "
                f"{rows[after].values[time]!r}, of one case",
                f"remove one, or leave {field('time')} out to keep the order of the file",
            )
    return [rows[index] for index in order]


def _moment(table: Table, row: Row, time: str) -> Any:
    value = row.values[time]
    parsers: list[Callable[[Any], Any]] = [float, lambda text: datetime.fromisoformat(str(text))]
    for parse in parsers:
        try:
            moment = parse(value)
        except (TypeError, ValueError):
            continue
        if moment == moment:  # not NaN, which has no place in an order
            return moment
    hint = "numbers, or dates like 2024-12-31 or 2024-12-31T23:59"
    raise DataError(f"{table.where(row)}: {time!r} is neither a number nor a date: {value!r}", hint)


def _series(
    table: Table, name: str, rows: list[Row], inputs: tuple[str, ...], target: str | None
) -> Series:
    label = None
    if target is not None:
        labels: dict[Any, Row] = {}
        for row in sorted(rows, key=lambda row: row.line):
            labels.setdefault(label_of(row.values[target], table.where(row), target), row)
        if len(labels) > 1:
            shown = " and ".join(f"{label!r} (line {row.line})" for label, row in labels.items())
            message = f"{table.path}: case {name!r} has more than one {target!r}: {shown}"
            raise DataError(message, "a case has one label, the same in all of its rows")
        (label,) = labels
    steps = tuple(tuple(_number_in(table, row, column) for column in inputs) for row in rows)
    return Series(table.where(rows[0]), name, inputs, steps, label)


def _number_in(table: Table, row: Row, column: str) -> float:
    """Return the number in a column of a row, NaN if it is missing.

    Raises:
        DataError: It is not a finite number.
    """
    try:
        return parse_number(row.values[column])
    except (TypeError, ValueError):
        value = row.values[column]
        message = f"{table.where(row)}: {column!r} is not a finite number: {value!r}"
        hint = f"leave it empty where it is missing, or name the columns to read: {field('input')}"
        raise DataError(message, hint) from None
