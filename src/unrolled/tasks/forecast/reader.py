"""Series of numbers from a table with a row for each step, on the grid of their frequency.

    day         shop  units  price
    2024-01-01  A     3      9.5
    2024-01-03  A     4      9.5      shop A: the second is missing, which stays so
    2024-01-01  B     ...
    2024-01-04  A            8.0      no target: the future, of which the price is known

What is missing is counted and marked, and nothing takes its place here. Not here: which steps are
learned from (`windows.py`), scales (`scales.py`).
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.numbers import MISSING, is_number, parse_number
from unrolled.data.tables import Row, Table, read_table
from unrolled.errors import DataError, field
from unrolled.tasks.forecast.data_options import DataOptions
from unrolled.tasks.forecast.grid import (
    Placed,
    calendar_of,
    groups_of,
    in_order,
    places_of,
    steps_of,
)
from unrolled.tasks.forecast.series_files import columns_of_suffix, read_series_file
from unrolled.tasks.forecast.times import Calendar
from unrolled.tasks.forecast.transforms import curve_of

__all__ = ["Panel", "Series", "read_panel"]


@dataclass(frozen=True, eq=False)
class Series:
    """A series on its grid, in float64; NaN where something is missing.

    Args:
        where: Its file and first line, with which a message begins.
        id: Its name; empty where the table has one series.
        values: The targets until the last one that is there, (T, C).
        past: What is known until then, (T, P).
        given: What is given in advance, (T + ahead, K): columns of the table, then other numbers.
        num_columns: How many of the K are columns of the table.
        places: Of all steps, (T + ahead,); `Calendar.text` writes them.
        last_line: The last one that it has in the file.
        static: What is known of the whole series, a text for each column; empty where missing.
        calendar: What says more of each place; None: nothing does.
    """

    where: str
    id: str
    values: Tensor
    past: Tensor
    given: Tensor
    num_columns: int
    places: Sequence[float]
    last_line: int
    static: tuple[str, ...] = ()
    calendar: Calendar | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def known(self) -> Tensor:
        """What is known in advance: what is given, then what the calendar says, made anew."""
        if self.calendar is None:
            return self.given
        said = self.calendar.features(np.array(self.places))
        return torch.cat([self.given, torch.from_numpy(said)], 1)


class Panel(NamedTuple):
    """What a table has: its series, their calendar, and what was counted, in sentences.

    horizon: That it names, where it names one.
    """

    series: list[Series]
    calendar: Calendar
    notes: list[str]
    horizon: int | None = None


def read_panel(
    path: Path, data: DataOptions, *, ahead: int | None = None, calendar: Calendar | None = None
) -> Panel:
    """Return the series of a table, in the order in which they first occur.

    Args:
        path: A table, `read_table`; or a `.tsf` or `.ts` file.
        data: Its columns.
        ahead: Steps after the last target that a forecast may need; None for the horizon.
        calendar: That of the training, for a table that is forecast; None finds one.

    Raises:
        DataError: The table cannot be read; a value is neither a number nor missing, or infinite; a
            time is none, stands twice in a series, or does not lie on the grid; there are no
            targets.
    """
    named = [name for name in (data.time, data.id) if name is not None]
    wanted = [*named, *data.target, *data.known, *data.past, *data.static]
    wanted, named_horizon = [*dict.fromkeys(wanted)], None
    if columns_of_suffix(str(path)):
        table, named_horizon = read_series_file(path, wanted, data.encoding)
    else:
        table = read_table(path, wanted, data.encoding)
    notes = _unread(data)
    placed = [in_order(table, name, rows, data) for name, rows in groups_of(table, data.id)]
    if num_moved := sum(group.num_moved for group in placed):
        rows = "1 row" if num_moved == 1 else f"{num_moved:,} rows"
        notes.append(f"{rows} came before an earlier time, and were put in order")
    if num_twice := sum(group.num_twice for group in placed):
        notes.append(
            f"{num_twice:,} rows are of an hour that clocks show twice, in a file that is in no "
            "order: of two the one that the file has first is read as the first"
        )
    if calendar is None:
        calendar = calendar_of(table, placed, data)
    is_future = ahead is not None and bool(data.known)  # what rows without a target are
    ahead = ahead or data.horizon or named_horizon or calendar.season
    series = []
    num_missing = num_empty = num_after = 0
    placed.reverse()
    while placed:  # rows and moments of a series go once it is made
        group = placed.pop()
        places = places_of(table, group, calendar)
        steps = steps_of(table, group, places, calendar)
        num_missing += steps[-1] + 1 - len(steps)
        one = _series(table, group, places, steps, calendar, data, ahead)
        num_empty += int(one.values.isnan().sum()) - len(data.target) * (
            len(one) - sum(step < len(one) for step in steps)
        )
        num_after += sum(step >= len(one) for step in steps)
        series.append(one)
    many = f", {len(series):,} series" if data.id is not None else ""
    notes.insert(0, f"{calendar.name}{many}, {sum(map(len, series)):,} steps")
    if num_missing:
        rows = "1 step has" if num_missing == 1 else f"{num_missing:,} steps have"
        notes.append(f"{rows} no row: they are marked as missing, and not learned from")
    if num_empty:
        values = "1 value of a target is" if num_empty == 1 else f"{num_empty:,} target values are"
        notes.append(f"{values} missing, and not learned from")
    if num_after and not is_future:
        rows = "1 row comes" if num_after == 1 else f"{num_after:,} rows come"
        notes.append(f"{rows} after the last value of a target: what is forecast begins there")
    others = [torch.cat([o.past, o.given[: len(o), : o.num_columns]], 1) for o in series]
    if num_others := sum(int(each.isnan().sum()) for each in others):
        values = "1 value" if num_others == 1 else f"{num_others:,} values"
        columns = f"columns of {field('known')} and {field('past')}"
        notes.append(f"{values} in {columns} are missing, where their mean is read")
    if num_unknown := sum(not text for one in series for text in one.static):
        series_have = "1 series has" if num_unknown == 1 else f"{num_unknown:,} times a series has"
        notes.append(f"{series_have} no value in a column of {field('static')}")
    return Panel(series, calendar, notes, named_horizon)


def _unread(data: DataOptions) -> list[str]:
    """Return notes on options that say how times are read, where there are none.

    They are no errors: runs were stored with them, and are to be loaded.
    """
    unread = {"zone": data.zone is not None, "dates": data.dates != "iso"}
    names = [name for name, is_given in unread.items() if is_given and data.time is None]
    return [f"{field(name)} is not read: without {field('time')} rows are steps" for name in names]


def _series(
    table: Table,
    group: Placed,
    places: Sequence[float],
    steps: Sequence[int],
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
    known = np.full((num + ahead, len(data.known)), np.nan)
    given = columns["known"][: num + ahead]
    known[: len(given)] = given
    return Series(
        where=table.where(rows[0]),
        id=group.id,
        values=torch.from_numpy(columns["target"][:num].copy()),
        past=torch.from_numpy(columns["past"][:num].copy()),
        given=torch.from_numpy(np.concatenate([known, *extra], 1)),
        num_columns=len(data.known),
        places=array("d", whole),
        last_line=rows[-1].line,
        static=tuple(_static_value(table, rows, column, name) for column in data.static),
        calendar=calendar if data.calendar else None,
    )


def _static_value(table: Table, rows: Sequence[Row], column: str, name: str) -> str:
    """Return the one value that a column has in all rows of a series; empty where it has none."""
    first: tuple[str, Row] | None = None
    for row in rows:
        value = row.values[column]
        text = "" if value is None else str(value).strip()
        if text.lower() in MISSING:
            continue
        if first is not None and _as_number(text) != _as_number(first[0]):
            message = f"{table.where(row)}: {column!r}{name} is {text!r}, and {first[0]!r} in "
            message += f"{table.unit} {first[1].line}"
            hint = f"it is one for each series; {field('known')} and {field('past')} change"
            raise DataError(message, hint)
        first = first or (text, row)
    return "" if first is None else first[0]


def _as_number(text: str) -> float | str:
    """Return the number that a text is, by which 120 and 120.0 are the same; else the text."""
    try:
        return parse_number(text)
    except ValueError:
        return text


def _column_values(
    table: Table, rows: Sequence[Row], steps: Sequence[int], columns: Sequence[str], length: int
) -> NDArray[np.float64]:
    """Return the numbers of columns on the grid, (length, columns), NaN where there is none."""
    values = np.full((length, len(columns)), np.nan)
    if not columns:
        return values
    for row, step in zip(rows, steps, strict=True):
        for index, column in enumerate(columns):
            try:
                values[step, index] = parse_number(row.values[column])
            except (TypeError, ValueError):
                value = row.values[column]
                message = f"{table.where(row)}: {column!r} is not a finite number: {value!r}"
                raise DataError(message, _hint_of(value)) from None
    return values


def _hint_of(value: object) -> str:
    """Return what to do about a value that is no number."""
    text = str(value).strip()
    if "," in text and is_number(text.replace(",", "")):
        return "write 1234.5: a point before the decimals, and nothing between thousands"
    if text.lower() in ("true", "false"):
        return "write 1 and 0"
    return "leave it empty where it is missing"
