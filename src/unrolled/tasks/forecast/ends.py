"""The ends of series, from where the unknown is forecast: of a table, and of what was typed.

Not here: windows in what is known (`windows.py`).
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.numbers import parse_number
from unrolled.data.source import Source
from unrolled.errors import DataError, field
from unrolled.tasks.forecast.data_options import DataOptions
from unrolled.tasks.forecast.fitted import Fitted
from unrolled.tasks.forecast.parts import doubts, left_out, scaled_if_new
from unrolled.tasks.forecast.reader import Series, read_panel
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.times import Calendar
from unrolled.tasks.forecast.transforms import curve_of
from unrolled.tasks.forecast.windows import Sizes, Window, too_short

__all__ = ["end_of", "ends_of_source", "typed_columns"]


def ends_of_source(
    source: Source, data: DataOptions, fitted: Fitted, scaling: Scaling, horizon: int
) -> Iterator[Window]:
    """Yield the window at the end of each series of a table, or of each line that was typed.

    A series that training did not have is scaled by all its values.

    Args:
        source: What is read.
        data: The columns of the training.
        fitted: To the training.
        scaling: By which new series are scaled.
        horizon: Steps that are asked for.

    Raises:
        DataError: As of `ends_of_table` and `typed_ends`.
    """
    calendar, sizes = fitted.calendar, fitted.sizes
    if source.path is None:
        name, place = next(iter(fitted.scales)), fitted.last_place
        yield from typed_ends(
            source, data, calendar, sizes, horizon=horizon, last_place=place, name=name
        )
        return
    windows = [*ends_of_table(source.path, data, calendar, sizes, horizon)]
    for note in scaled_if_new([window.series for window in windows], scaling, at_end=True):
        warnings.warn(note, stacklevel=2)
    yield from windows


def ends_of_table(
    path: Path, data: DataOptions, calendar: Calendar, sizes: Sizes, horizon: int
) -> Iterator[Window]:
    """Yield the window at the end of each series of a table; warn of what is odd in it.

    Args:
        path: The table.
        data: Its columns.
        calendar: That of the training.
        sizes: Those of the training.
        horizon: Steps that are asked for: fewer than the training had, or more.

    Raises:
        DataError: The table cannot be used, all series are shorter than what a forecast looks at,
            or one lacks what is to be known in advance.
    """
    longest = max(horizon, sizes.horizon)
    windows: list[Window] = []
    refused: list[DataError] = []
    panel = read_panel(path, data, ahead=longest, calendar=calendar)
    for series in panel.series:
        try:
            window = end_of(series, calendar, Sizes(sizes.lookback, longest))
        except DataError as error:
            refused.append(error)
            continue
        _require_known(data, series, calendar, horizon)
        windows.append(window)
    if refused and not windows:
        raise refused[0]
    for note in [*doubts(panel, path, data), *left_out(refused)]:
        warnings.warn(note, stacklevel=2)
    yield from windows


def typed_ends(
    source: Source,
    data: DataOptions,
    calendar: Calendar,
    sizes: Sizes,
    *,
    horizon: int,
    last_place: float,
    name: str,
) -> Iterator[Window]:
    """Yield the window at the end of each line: values between commas, targets between colons.

    Args:
        source: The lines.
        data: The columns of the training.
        calendar: That of the training.
        sizes: Those of the training.
        horizon: Steps that are asked for.
        last_place: Of the last step of a line, as none has a time.
        name: Of the series whose scale is used.

    Raises:
        DataError: The training read other columns too; a line has other targets, something that is
            no number, or fewer steps than a forecast looks at.
    """
    longest = max(horizon, sizes.horizon)
    for number, line in enumerate(source.lines(), 1):
        where = f"{source.name}, line {number}"
        if others := (*data.past, *data.known, *data.static):
            message = f"{where}: the model also reads {', '.join(others)}"
            raise DataError(message, "give a table")
        rows = [*zip(*_columns(line, where, data), strict=True)]
        values = torch.tensor(rows, dtype=torch.float64)
        places, columns = typed_columns(data, calendar, len(rows), longest, last_place)
        series = Series(
            where=where,
            id=name,
            values=values,
            past=values[:, :0],
            given=columns,
            num_columns=0,
            places=tuple(places.tolist()),
            last_line=number,
        )
        yield end_of(series, calendar, Sizes(sizes.lookback, longest))


def typed_columns(
    data: DataOptions, calendar: Calendar, num_steps: int, horizon: int, last_place: float
) -> tuple[NDArray[np.float64], Tensor]:
    """Return places of steps without times, (T + H,), and what is known of each, (T + H, K).

    Args:
        data: The columns of the training, of which no other is read.
        calendar: That of the training.
        num_steps: T, of which values are known.
        horizon: H, steps to come.
        last_place: Of the last step whose values are known.
    """
    steps = np.arange(num_steps + horizon) - (num_steps - 1)
    places: NDArray[np.float64] = last_place + calendar.step * steps.astype(np.float64)
    known = [np.zeros((len(places), 1))] * (not data.regular)
    if data.calendar:
        known.append(calendar.features(places))
    columns = np.concatenate([np.zeros((len(places), 0)), *known], 1)
    return places, torch.from_numpy(columns)


def _columns(line: str, where: str, data: DataOptions) -> list[list[float]]:
    """Return the values of each target in a line."""
    parts = line.strip().split(":")
    if len(parts) != len(data.target):
        message = f"{where}: {len(parts)} targets, expected {len(data.target)}"
        raise DataError(message, f"{', '.join(data.target)}, with a colon between them")
    columns = []
    for name, part in zip(data.target, parts, strict=True):
        try:
            columns.append([parse_number(value) for value in part.split(",")])
        except ValueError:
            message = f"{where}: a value of {name!r} is not a finite number"
            raise DataError(message, "values lie between commas; ? is a missing one") from None
    if len({len(column) for column in columns}) > 1:
        lengths = " and ".join(str(len(column)) for column in columns)
        raise DataError(f"{where}: targets of different lengths, {lengths}")
    curve = curve_of(data.transform)
    for name, column in zip(data.target, columns, strict=True):
        for value in column:
            if value <= curve.above:
                raise curve.refuse(f"{where}: a value of {name!r}", value)
    return columns


def end_of(series: Series, calendar: Calendar, sizes: Sizes) -> Window:
    """Return the window at the end of a series.

    Raises:
        DataError: It is shorter than what a forecast looks at, or has no value there.
    """
    if len(series) < sizes.lookback:
        raise too_short(series, sizes.lookback, "a forecast looks at")
    seen = series.values[len(series) - sizes.lookback :]
    if bool(seen.isnan().all()):
        name = f" of series {series.id!r}" if series.id else ""
        raise DataError(f"{series.where}: no value{name} in what a forecast looks at")
    return Window(series, len(series), sizes, len(series), calendar)


def _require_known(data: DataOptions, series: Series, calendar: Calendar, horizon: int) -> None:
    ahead = series.given[len(series) : len(series) + horizon, : series.num_columns]
    lacking = ahead.isnan()
    if not bool(lacking.any()):
        return
    step, column = lacking.nonzero()[0].tolist()
    name = f" of series {series.id!r}" if series.id else ""
    time = calendar.text(series.places[len(series) + step])
    where = f"{series.where.rpartition(' ')[0]} {series.last_line}"  # a line, or a row
    message = f"{where}: {data.known[column]!r}{name} ends before the "
    message += f"horizon: it is not known for {time}"
    hint = f"give rows with it and without a target for {horizon} steps, or a smaller "
    raise DataError(message, f"{hint}{field('horizon')}")
