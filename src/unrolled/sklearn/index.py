"""The index of a series or frame: rows are the steps, so they have to come as its times do."""

from datetime import UTC, datetime
from itertools import pairwise
from statistics import median_low
from typing import Any

from unrolled.errors import DataError
from unrolled.tasks.forecast.frequency import find_calendar

__all__ = ["check_index"]

_ORDERED = "iufMm"  # kinds of numpy's types: numbers, dates and durations


def check_index(where: str, given: Any) -> None:
    """Raise `DataError` if rows do not come one step after the other, as their index has it.

    Args:
        where: What they are, with which a message begins.
        given: Anything; looked at is what has an index of dates, periods, durations or numbers, as
            pandas has it. Of dates no step may be missing. A column of dates is not numbers.
    """
    for column in getattr(given, "columns", ()):
        if getattr(given[column].dtype, "kind", "") == "M":
            hint = f"set_index({column!r}) makes them the index: rows are steps"
            raise DataError(f"{where}: column {column!r} holds dates, not numbers", hint)
    index: Any = getattr(given, "index", None)
    if not hasattr(index, "is_monotonic_increasing"):
        return
    as_dates = index.to_timestamp() if hasattr(index, "to_timestamp") else index
    if as_dates.dtype.kind not in _ORDERED:
        return
    rows_are_steps = f"{where}: rows are steps, and "
    if not index.is_monotonic_increasing:
        hint = "sort_index() sorts them; to_numpy() leaves the index out"
        raise DataError(f"{rows_are_steps}their index is not in rising order", hint)
    if as_dates.dtype.kind != "M":
        return
    moments = _comparable([*as_dates.to_pydatetime()])
    for before, after in pairwise(moments):
        if before == after:
            raise DataError(f"{rows_are_steps}two are of {after}", "remove one")
    if len(moments) > 2:
        _check_steps(rows_are_steps, moments)


def _comparable(moments: list[datetime]) -> list[datetime]:
    """Return moments of a zone as its clocks show them if that is one time of day, else in UTC.

    Python takes the hour that a clock shows twice for one, and in UTC days differ in length.
    """
    if not moments or moments[0].tzinfo is None:
        return moments
    shown = [moment.replace(tzinfo=None) for moment in moments]
    is_daily = len({moment.time() for moment in shown}) == 1
    return shown if is_daily else [moment.astimezone(UTC) for moment in moments]


def _check_steps(where: str, moments: list[datetime]) -> None:
    """Raise `DataError` if two times are further apart than most are."""
    calendar = find_calendar([[*moments]])
    gaps = [after - before for before, after in pairwise(map(calendar.place, moments))]
    usual = median_low(gaps)  # of month ends that are business days there are many
    for gap, moment in zip(gaps, moments[1:], strict=True):
        if gap > 1.5 * usual:
            apart = f"{usual:.6g} {calendar.unit}s apart"
            most = calendar.name if usual == calendar.step else apart
            message = f"{where}{round(gap / usual):,} of them lie between the row of {moment} and "
            message += f"the one before, where most are {most}"
            hint = "asfreq() adds rows of NaN for missing steps; to_numpy() leaves the index out"
            raise DataError(message, hint)
