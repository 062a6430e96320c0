"""Series of numbers from a table with a row for each step, on the grid of their frequency.

    day         shop  units  price
    2024-01-01  A     3      9.5
    2024-01-03  A     4      9.5      shop A: the second is missing, which stays so
    2024-01-01  B     ...
    2024-01-04  A            8.0      no target: the future, of which the price is known

What is missing is counted and marked, and nothing takes its place here. Not here: which steps are
learned from (`windows.py`), scales (`scales.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.numbers import parse_number
from unrolled.data.tables import Row, Table, read_table
from unrolled.errors import DataError, field
from unrolled.tasks.forecast.data_options import DataOptions
from unrolled.tasks.forecast.frequency import find_calendar
from unrolled.tasks.forecast.moments import Moment, instant, kind_of, localized, parse_moment
from unrolled.tasks.forecast.times import Calendar
from unrolled.tasks.forecast.transforms import curve_of

__all__ = ["Panel", "Series", "read_panel"]

_MOST_STEPS = 50_000_000  # of a series, between its first and last row
_NEAR = 1e-6  # of a step


@dataclass(frozen=True, eq=False)
class Series:
    """A series on its grid, in float64; NaN where something is missing.

    Args:
        where: Its file and first line, with which a message begins.
        id: Its name; empty where the table has one series.
        values: The targets until the last one that is there, (T, C).
        past: What is known until then, (T, P).
        known: What is known in advance, (T + ahead, K): columns, then what the calendar says.
        num_columns: How many of the K are columns of the table.
        places: Of all steps, (T + ahead,); `Calendar.text` writes them.
        last_line: The last one that it has in the file.
    """

    where: str
    id: str
    values: Tensor
    past: Tensor
    known: Tensor
    num_columns: int
    places: tuple[float, ...]
    last_line: int

    def __len__(self) -> int:
        return len(self.values)


class Panel(NamedTuple):
    """What a table has: its series, their calendar, and what was counted, in sentences."""

    series: list[Series]
    calendar: Calendar
    notes: list[str]


class _Placed(NamedTuple):
    id: str
    rows: list[Row]
    moments: list[Moment]


def read_panel(
    path: Path, data: DataOptions, *, ahead: int | None = None, calendar: Calendar | None = None
) -> Panel:
    """Return the series of a table, in the order in which they first occur.

    Args:
        path: A table, `read_table`.
        data: Its columns.
        ahead: Steps after the last target that a forecast may need; None for the horizon.
        calendar: That of the training, for a table that is forecast; None finds one.

    Raises:
        DataError: The table cannot be read; a value is neither a number nor missing, or infinite; a
            time is none, stands twice in a series, or does not lie on the grid; there are no
            targets.
    """
    named = [name for name in (data.time, data.id) if name is not None]
    table = read_table(path, [*named, *data.target, *data.known, *data.past], data.encoding)
    notes: list[str] = []
    groups = [_in_order(table, name, rows, data) for name, rows in _groups(table, data.id)]
    num_moved = sum(moved for _, moved in groups)
    if num_moved:
        rows = "1 row" if num_moved == 1 else f"{num_moved:,} rows"
        notes.append(f"{rows} came before an earlier time, and were put in order")
    placed = [group for group, _ in groups]
    if calendar is None:
        calendar = _found(table, placed, data)
    ahead = ahead or data.horizon or calendar.season
    series = []
    num_missing = num_empty = 0
    for group in placed:
        places = _places(table, group, calendar)
        steps = _steps(table, group, places, calendar)
        num_missing += steps[-1] + 1 - len(steps)
        one = _series(table, group, places, steps, calendar, data, ahead)
        num_empty += int(one.values.isnan().sum()) - len(data.target) * (
            len(one) - sum(step < len(one) for step in steps)
        )
        series.append(one)
    many = f", {len(series):,} series" if data.id is not None else ""
    notes.insert(0, f"{calendar.name}{many}, {sum(map(len, series)):,} steps")
    if num_missing:
        rows = "1 step has" if num_missing == 1 else f"{num_missing:,} steps have"
        notes.append(f"{rows} no row: they are marked as missing, and not learned from")
    if num_empty:
        values = "1 value of a target is" if num_empty == 1 else f"{num_empty:,} target values are"
        notes.append(f"{values} missing, and not learned from")
    others = [torch.cat([o.past, o.known[: len(o), : o.num_columns]], 1) for o in series]
    if num_others := sum(int(each.isnan().sum()) for each in others):
        values = "1 value" if num_others == 1 else f"{num_others:,} values"
        columns = f"columns of {field('known')} and {field('past')}"
        notes.append(f"{values} in {columns} are missing, where their mean is read")
    return Panel(series, calendar, notes)


def _groups(table: Table, column: str | None) -> list[tuple[str, list[Row]]]:
    if column is None:
        return [("", table.rows)]
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        name = row.values[column]
        if name is None or not str(name).strip():
            message = f"{table.where(row)}: no {column!r}, so its series is not known"
            raise DataError(message)
        groups.setdefault(str(name), []).append(row)
    return [*groups.items()]


def _in_order(table: Table, name: str, rows: list[Row], data: DataOptions) -> tuple[_Placed, int]:
    """Return the rows of a series by their time, and how many were not in that order."""
    if data.time is None:
        return _Placed(name, rows, [float(step) for step in range(1, len(rows) + 1)]), 0
    moments = [_moment(table, row, data.time) for row in rows]
    kinds = [kind_of(moment) for moment in moments]
    for row, kind in zip(rows, kinds, strict=True):
        if kind != kinds[0] and not (data.zone is not None and "date" in kind):
            message = f"{table.where(row)}: {data.time!r} is {kind}, and {kinds[0]} before"
            raise DataError(message, "write all times in one way")
    moments = localized(moments, data.zone)
    times = [instant(moment) if isinstance(moment, datetime) else moment for moment in moments]
    order = sorted(range(len(rows)), key=lambda index: times[index])
    for before, after in pairwise(order):
        if times[before] == times[after]:
            first, second = sorted((rows[before].line, rows[after].line))
            hint = f"remove one, or name the column of several series: {field('id')}"
            if kinds[0] == "a date" and data.zone is None:
                hint += f"; of an hour that a clock shows twice, {field('zone')}"
            message = f"{table.path}: {table.unit}s {first} and {second} have the same "
            message += f"{data.time!r}, {rows[after].values[data.time]!r}"
            raise DataError(message + (f", of series {name!r}" if name else ""), hint)
    moved = sum(after < before for before, after in pairwise(order))
    return _Placed(name, [rows[i] for i in order], [moments[i] for i in order]), moved


def _moment(table: Table, row: Row, column: str) -> Moment:
    value = row.values[column]
    try:
        return parse_moment(value)
    except (TypeError, ValueError, OverflowError):
        hint = "dates like 2024-12-31 or 2024-12-31 23:59, months like 2024-12, or numbers"
        message = f"{table.where(row)}: {column!r} is neither a date nor a number: {value!r}"
        raise DataError(message, hint) from None


def _found(table: Table, placed: list[_Placed], data: DataOptions) -> Calendar:
    try:
        calendar = find_calendar(
            [group.moments for group in placed], zone=data.zone, regular=data.regular
        )
    except DataError as error:
        raise DataError(f"{table.path}: {error.message}", error.hint) from None
    if data.season is None:
        return calendar
    return Calendar(**{**vars(calendar), "season": data.season})


def _places(table: Table, group: _Placed, calendar: Calendar) -> list[float]:
    places = []
    for row, moment in zip(group.rows, group.moments, strict=True):
        try:
            places.append(calendar.place(moment))
        except ValueError as error:
            raise DataError(f"{table.where(row)}: the time is {error}") from None
    return places


def _steps(table: Table, group: _Placed, places: list[float], calendar: Calendar) -> list[int]:
    """Return the step of each row, from 0.

    Raises:
        DataError: A row does not lie on the grid; or most of the grid has no rows, as where two
            frequencies are mixed.
    """
    if calendar.unit == "row":
        return [*range(len(places))]
    steps: list[int] = []
    hint = f"choose the other of {field('regular')}, where rows come as they come"
    for index, place in enumerate(places):
        exact = (place - places[0]) / calendar.step
        step = round(exact)
        if abs(exact - step) > _NEAR * max(1.0, abs(exact)):
            message = f"{table.where(group.rows[index])}: {calendar.text(place)} does not lie on "
            message += f"the grid from {calendar.text(places[0])}, {calendar.name}"
            clocks = f"; where clocks change, {field('zone')}" if calendar.zone == "UTC" else ""
            raise DataError(message, hint + clocks)
        if steps and step == steps[-1]:
            message = f"{table.where(group.rows[index])}: in the same step as "
            message += f"{table.unit} {group.rows[index - 1].line}, where steps are {calendar.name}"
            raise DataError(message, "give the mean or the sum of what lies in one step")
        if step > _MOST_STEPS:
            message = f"{table.where(group.rows[index])}: {step:,} steps after the first row"
            raise DataError(message, "is the time right?")
        steps.append(step)
    missing = steps[-1] + 1 - len(steps)
    if missing > len(steps):
        far = next(i for i, (a, b) in enumerate(pairwise(steps), 1) if b - a > 1)
        message = f"{table.where(group.rows[far])}: {steps[far] - steps[far - 1]} steps after the "
        message += f"row before: most rows are {calendar.name}, but {missing:,} of "
        message += f"{steps[-1] + 1:,} steps have no row, as where frequencies are mixed"
        raise DataError(message, hint)
    return steps


def _series(
    table: Table,
    group: _Placed,
    places: list[float],
    steps: list[int],
    calendar: Calendar,
    data: DataOptions,
    ahead: int,
) -> Series:
    rows, length = group.rows, steps[-1] + 1
    columns = {
        kind: _column_values(table, rows, steps, names, length)
        for kind, names in (("target", data.target), ("past", data.past), ("known", data.known))
    }
    observed = np.flatnonzero((~np.isnan(columns["target"])).any(axis=1))
    name = f" of series {group.id!r}" if group.id else ""
    if not len(observed):
        targets = ", ".join(map(repr, data.target))
        raise DataError(f"{table.where(rows[0])}: no value of {targets}{name}", "leave it out")
    num = int(observed[-1]) + 1
    curve = curve_of(data.transform)
    if (wrong := columns["target"] <= curve.above).any():
        at, column = np.argwhere(wrong)[0]
        where = f"{table.where(rows[steps.index(int(at))])}: {data.target[column]!r}"
        raise curve.refuse(where, columns["target"][at, column])
    if calendar.unit == "row":
        whole: NDArray[np.float64] = np.array(places[: num + ahead], dtype=np.float64)
        more = num + ahead - len(whole)
        later = whole[-1] + calendar.step * np.arange(1, more + 1, dtype=np.float64)
        whole = np.concatenate([whole, later])
        gaps = np.log(np.diff(whole, prepend=whole[0] - calendar.step) / calendar.step)
        extra = [gaps[:, None]]
    else:
        whole = places[0] + calendar.step * np.arange(num + ahead, dtype=np.float64)
        extra = []
    try:
        calendar.text(whole[-1])
    except (ValueError, OverflowError):
        message = f"{table.where(rows[-1])}: the steps to forecast lie after the year 9999{name}"
        raise DataError(message, "are the times right?") from None
    if data.calendar:
        extra.append(calendar.features(whole))
    known = np.full((num + ahead, len(data.known)), np.nan)
    given = columns["known"][: num + ahead]
    known[: len(given)] = given
    return Series(
        where=table.where(rows[0]),
        id=group.id,
        values=torch.from_numpy(columns["target"][:num].copy()),
        past=torch.from_numpy(columns["past"][:num].copy()),
        known=torch.from_numpy(np.concatenate([known, *extra], 1)),
        num_columns=len(data.known),
        places=tuple(whole.tolist()),
        last_line=rows[-1].line,
    )


def _column_values(
    table: Table, rows: list[Row], steps: list[int], columns: Sequence[str], length: int
) -> NDArray[np.float64]:
    """Return the numbers of columns on the grid, (length, columns), NaN where there is none."""
    values = np.full((length, len(columns)), np.nan)
    for row, step in zip(rows, steps, strict=True):
        for index, column in enumerate(columns):
            try:
                values[step, index] = parse_number(row.values[column])
            except (TypeError, ValueError):
                value = row.values[column]
                message = f"{table.where(row)}: {column!r} is not a finite number: {value!r}"
                raise DataError(message, "leave it empty where it is missing") from None
    return values
