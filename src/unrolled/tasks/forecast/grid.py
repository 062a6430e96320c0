"""The rows of a table by series, in the order of their times, on the grid of their frequency."""

import re
from array import array
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from unrolled.data.packed_examples import Selected
from unrolled.data.packed_rows import PackedRows
from unrolled.data.tables import Row, Table
from unrolled.errors import DataError, field
from unrolled.tasks.forecast.data_options import DataOptions
from unrolled.tasks.forecast.frequency import find_calendar
from unrolled.tasks.forecast.moments import (
    Moment,
    has_an_order,
    instant,
    is_skipped,
    kind_of,
    localized,
    packed_moments,
    parse_moment,
)
from unrolled.tasks.forecast.times import Calendar

__all__ = ["Placed", "calendar_of", "groups_of", "in_order", "places_of", "steps_of"]

_MOST_STEPS = 50_000_000  # of a series, between its first and last row
_NEAR = 1e-6  # of a step
_BLOCK = 64  # rows of a series, of which there may be many
_FINER = re.compile(r"[.,]\d{6}(\d+)")  # of a second, which Python's dates leave out


class Placed(NamedTuple):
    """The rows of a series in order, and the moment of each.

    num_moved: Rows that came before an earlier time.
    num_twice: Rows, in a file that is in no order, of hours that a clock shows twice.
    """

    id: str
    rows: Sequence[Row]
    moments: Sequence[Moment]
    num_moved: int = 0
    num_twice: int = 0


def groups_of(table: Table, column: str | None) -> list[tuple[str, Sequence[Row]]]:
    """Return the rows of each series, by the column that names it; the table keeps none of them.

    Raises:
        DataError: A row without a name.
    """
    if column is None:
        return [("", table.rows)]
    groups: dict[str, PackedRows] = {}
    for row in table.emptied():
        name = row.values[column]
        if name is None or not str(name).strip():
            message = f"{table.where(row)}: no {column!r}, so its series is not known"
            raise DataError(message)
        if str(name) not in groups:
            groups[str(name)] = PackedRows(block=_BLOCK)
        groups[str(name)].add(row.line, row.values)
    return [*groups.items()]


def in_order(table: Table, name: str, rows: Sequence[Row], data: DataOptions) -> Placed:
    """Return the rows of a series by their time.

    Raises:
        DataError: A time is none, of another kind than the first one, stands twice, or is one that
            no clock of the zone shows.
    """
    if data.time is None:
        return Placed(name, rows, packed_moments([float(step + 1) for step in range(len(rows))]))
    time = data.time
    moments = packed_moments(_moment(table, row, time, data.dates) for row in rows)
    kinds = [kind_of(moment) for moment in moments]
    for index, kind in enumerate(kinds):
        if kind != kinds[0] and not (data.zone is not None and "date" in kind):
            message = f"{table.where(rows[index])}: {data.time!r} is {kind}, and {kinds[0]} before"
            raise DataError(message, "write all times in one way")
    moments = localized(moments, data.zone)
    if data.zone is not None:
        _check_clocks(table, rows, moments, data)
    if all(before < after for before, after in pairwise(map(_comparable, moments))):
        return Placed(name, rows, moments)
    times = [*map(_comparable, moments)]
    order = sorted(range(len(rows)), key=lambda index: times[index])
    for before, after in pairwise(order):
        if times[before] == times[after]:
            first, second = sorted((rows[before].line, rows[after].line))
            hint = f"remove one, or name the column of several series: {field('id')}"
            if kinds[0] == "a date" and data.zone is None:
                hint += f"; of an hour that a clock shows twice, {field('zone')}"
            message = f"{table.path}: {table.unit}s {first} and {second} have the same "
            message += f"{data.time!r}, {str(rows[after].values[data.time])!r}"
            if _are_finer(rows[before].values[data.time], rows[after].values[data.time]):
                message = f"{table.path}: the {data.time!r} of {table.unit}s {first} and {second} "
                message += "differ by less than a microsecond, which dates are not told apart by"
                hint = f"without {field('time')} rows are steps; or write seconds, as numbers"
            raise DataError(message + (f", of series {name!r}" if name else ""), hint)
    moved = sum(after < before for before, after in pairwise(order))
    twice = 0
    if 0 < moved < len(rows) - 1 and data.zone is not None:
        pairs = zip(moments, kinds, strict=True)
        twice = 2 * sum(getattr(moment, "fold", 0) for moment, kind in pairs if kind == "a date")
    ordered = packed_moments([moments[index] for index in order])
    return Placed(name, Selected(rows, order), ordered, moved, twice)


def _comparable(moment: Moment) -> Any:
    """Return what moments of one kind are ordered by."""
    return instant(moment) if isinstance(moment, datetime) else moment


def _is_month(place: float) -> bool:
    """Return whether a number looks like a month without its hyphen, such as 202401."""
    year, month = divmod(place, 100)
    return month in range(1, 13) and 1000 <= year <= 9999


def _are_finer(one: Any, other: Any) -> bool:
    """Return whether two dates that are the same moment to Python differ in what it leaves out."""
    digits = [_FINER.search(str(value)) for value in (one, other)]
    return len({found[1].rstrip("0") if found else "" for found in digits}) > 1


def _check_clocks(
    table: Table, rows: Sequence[Row], moments: Sequence[Moment], data: DataOptions
) -> None:
    """Raise `DataError` if hours are told, and one of them is skipped by the zone's clocks.

    A day that begins an hour late is a day.
    """
    if len({moment.time() for moment in moments if isinstance(moment, datetime)}) == 1:
        return
    for row, moment in zip(rows, moments, strict=True):
        if is_skipped(moment):
            message = f"{table.where(row)}: {data.time!r} is {row.values[data.time or '']!r}, "
            message += f"which no clock shows where {field('zone')} is {data.zone}"
            raise DataError(message, "in which zone were the times written? UTC skips none")


def _moment(table: Table, row: Row, column: str, dates: str) -> Moment:
    value = row.values[column]
    try:
        return parse_moment(value, dates)
    except (TypeError, ValueError, OverflowError):
        hint = "dates like 2024-12-31 or 2024-12-31 23:59, months like 2024-12, or numbers"
        message = f"{table.where(row)}: {column!r} is neither a date nor a number: {value!r}"
        if dates != "iso":
            message = f"{table.where(row)}: {column!r} is no date with {dates.replace('-', ' ')}: "
            example = "31/12/2024" if dates == "day-first" else "12/31/2024"
            hint = f"{field('dates')} {dates}: {example} or {example} 23:59, in all rows"
            raise DataError(f"{message}{value!r}", hint) from None
        if has_an_order(value):
            hint = f"{field('dates')} day-first or month-first says which is which"
        raise DataError(message, hint) from None


def calendar_of(table: Table, placed: list[Placed], data: DataOptions) -> Calendar:
    """Return the calendar of a table, with the season that was chosen.

    Raises:
        DataError: There is none, or times of two series are of two kinds.
    """
    try:
        calendar = find_calendar(
            [group.moments for group in placed], zone=data.zone, regular=data.regular
        )
    except DataError as error:
        raise DataError(f"{table.path}: {error.message}", error.hint) from None
    except ValueError:  # the times of one series are of one kind, `in_order`
        kinds = [kind_of(group.moments[0]) for group in placed]
        odd = next(place for place, kind in enumerate(kinds) if kind != kinds[0])
        message = f"{table.where(placed[odd].rows[0])}: {data.time!r} is {kinds[odd]}, and "
        message += f"{kinds[0]} in series {placed[0].id!r}"
        raise DataError(message, "write all times in one way") from None
    if data.season is None:
        return calendar
    return Calendar(**{**vars(calendar), "season": data.season})


def places_of(table: Table, group: Placed, calendar: Calendar) -> Sequence[float]:
    """Return the place of each row of a series.

    Raises:
        DataError: A moment of another kind than those that the calendar was found in.
    """
    places = array("d")
    for index, moment in enumerate(group.moments):
        try:
            places.append(calendar.place(moment))
        except ValueError as error:
            raise DataError(f"{table.where(group.rows[index])}: the time is {error}") from None
    return places


def steps_of(
    table: Table, group: Placed, places: Sequence[float], calendar: Calendar
) -> Sequence[int]:
    """Return the step of each row, from 0.

    Raises:
        DataError: A row does not lie on the grid; or most of the grid has no rows, as where two
            frequencies are mixed.
    """
    if calendar.unit == "row":
        return range(len(places))
    steps = array("q")
    hint = f"{field('regular=False')}, where rows come as they come"
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
        if calendar.style == "number" and all(map(_is_month, places)):
            hint = "months are written 2024-01, and then follow each other"
        raise DataError(message, hint)
    return steps
