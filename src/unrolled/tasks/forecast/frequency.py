"""The frequency in which the moments of a table come."""

import calendar as months
import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import cast

from unrolled.data.packed_examples import Joined
from unrolled.errors import DataError
from unrolled.tasks.forecast.moments import Moment, zone_of
from unrolled.tasks.forecast.times import DAY, HOUR, MINUTE, Calendar

__all__ = ["find_calendar"]

_SEASONS = {"day": {1: 7}, "business day": {1: 5}, "month": {1: 12, 3: 4, 12: 1}}
_SUNDAY = 6


def find_calendar(
    groups: Sequence[Sequence[Moment]], *, zone: str | None = None, regular: bool = True
) -> Calendar:
    """Return the calendar of all series together.

    Args:
        groups: The moments of each series, in rising order; all of one kind, `kind_of`.
        zone: The time zone that was named for them.
        regular: Whether steps lie on a grid.

    Raises:
        DataError: There are no two different ones.
    """
    every = Joined(groups)
    first = every[0]
    if isinstance(first, tuple):
        found = Calendar("month", 1, first[0])
    elif isinstance(first, datetime):
        is_date = all(isinstance(moment, datetime) for moment in every)
        dates = every if is_date else [m for m in every if isinstance(m, datetime)]
        found = _of_dates(cast(Sequence[datetime], dates), zone, regular)
    else:
        found = Calendar("number", 1, "number")
    differences: Counter[float] = Counter()
    for group in groups:
        places = array("d", map(found.place, group))
        differences.update(round(after - before, 9) for before, after in pairwise(places))
    differences.pop(0.0, None)
    if not differences:
        raise DataError("no two different times", "a series has several steps")
    most = max(differences.values())
    step = min(size for size, count in differences.items() if count == most)
    if not regular:
        sizes = sorted(differences.elements())
        return replace(found, unit="row", step=sizes[len(sizes) // 2], season=1)
    if found.unit == "day" and step != 1:
        step = _largest_part(differences) if step % 7 else step
    return replace(found, step=step, season=_season(found.unit, step))


def _largest_part(differences: Counter[float]) -> float:
    return float(math.gcd(*(int(size) for size in differences)))


def _of_dates(moments: Sequence[datetime], zone: str | None, regular: bool) -> Calendar:
    if zone is None and moments[0].tzinfo is not None:
        zone = _written(moments)
    if zone is not None:
        there = zone_of(zone)
        moments = [moment.astimezone(there) for moment in moments]
    seconds = {m.hour * HOUR + m.minute * MINUTE + m.second for m in moments}
    if len(seconds) > 1 or any(m.microsecond for m in moments) or not regular:
        style = "datetime" if len(seconds) > 1 or seconds != {0} else "date"
        return Calendar("second", 1, style, zone=zone)
    (at,) = seconds
    style = "date" if at == 0 else "datetime"
    dates = sorted({moment.date() for moment in moments})
    gaps = [(after - before).days for before, after in pairwise(dates)]
    days = {day.day for day in dates}
    at_end = all(day.day == months.monthrange(day.year, day.month)[1] for day in dates)
    if gaps and min(gaps) >= 28 and (len(days) == 1 or at_end):
        day = 31 if at_end and len(days) > 1 else next(iter(days))
        return Calendar("month", 1, style, day=day, seconds=at, zone=zone)
    for day in (1, 31) if gaps and min(gaps) >= 28 else ():
        found = Calendar("month", 1, style, day=day, seconds=at, zone=zone, on_workdays=True)
        if all(found.moment(12 * one.year + one.month - 1).date() == one for one in dates):
            return found
    weekdays = {day.weekday() for day in dates}
    span = (dates[-1] - dates[0]).days
    if span >= 14 and min(gaps) == 1 and not weekdays & {5, _SUNDAY} and len(weekdays) == 5:
        return Calendar("business day", 1, style, seconds=at, zone=zone)
    return Calendar("day", 1, style, seconds=at, zone=zone)


def _written(moments: Sequence[datetime]) -> str:
    """Return the named zone that all moments have, as in Parquet; or their one offset; or UTC."""
    names = {getattr(moment.tzinfo, "key", None) for moment in moments}
    if len(names) == 1 and (name := names.pop()) is not None:
        return str(name)
    offsets = {moment.utcoffset() for moment in moments}
    minutes = (next(iter(offsets)) or timedelta()) / timedelta(minutes=1)
    if len(offsets) > 1 or not minutes or minutes % 1:
        return "UTC"
    hours, rest = divmod(abs(int(minutes)), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


def _season(unit: str, step: float) -> int:
    """Return the steps of the cycle that most data of this frequency have."""
    if unit == "second":
        if step < MINUTE:
            return max(1, round(MINUTE / step))
        if step < 5 * MINUTE:
            return round(HOUR / step)
        return max(1, round(DAY / step)) if step < DAY else 1
    if unit == "day" and step % 7 == 0:
        return 52 if step == 7 else 1
    return _SEASONS.get(unit, {}).get(int(step), 1)
