"""The index of a series or frame: rows are the steps, so they have to come as its times do."""

from datetime import datetime
from itertools import pairwise
from typing import Any

from unrolled.errors import DataError
from unrolled.tasks.forecast.frequency import find_calendar

__all__ = ["check_index"]

_ORDERED = "iufM"  # kinds of numpy's types: numbers and dates


def check_index(where: str, given: Any) -> None:
    """Raise `DataError` if rows do not come one step after the other, as their index has it.

    Args:
        where: What they are, with which a message begins.
        given: Anything; looked at is what has an index of dates, periods or numbers, as pandas has
            it. Of dates no step may be missing. A column of dates is not numbers.
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
    if as_dates.dtype.kind != "M" or len(index) < 3:
        return
    moments = [*as_dates.to_pydatetime()]
    for before, after in pairwise(moments):
        if before == after:
            raise DataError(f"{rows_are_steps}two are of {after}", "remove one")
    _check_steps(rows_are_steps, moments)


def _check_steps(where: str, moments: list[datetime]) -> None:
    """Raise `DataError` if times are further apart than the frequency has them."""
    calendar = find_calendar([[*moments]])
    places = [calendar.place(moment) for moment in moments]
    for before, after, moment in zip(places, places[1:], moments[1:], strict=False):
        steps = (after - before) / calendar.step
        if steps > 1.5:
            message = f"{where}{steps:.6g} of them lie between the row of {moment} and the one "
            message += f"before, where most are {calendar.name}"
            hint = "asfreq() adds rows of NaN for missing steps; to_numpy() leaves the index out"
            raise DataError(message, hint)
