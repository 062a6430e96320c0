"""The index of a series or frame: rows are the steps, so they have to come as its times do."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from unrolled.errors import DataError
from unrolled.tasks.forecast.frequency import find_calendar
from unrolled.tasks.forecast.moments import Moment, kind_of, parse_moment

__all__ = ["check_index"]

_ORDERED = "iufmM"  # kinds of numpy's types: numbers, durations and dates


def check_index(where: str, given: Any) -> None:
    """Raise `DataError` if rows do not come one step after the other, as their index has it.

    Args:
        where: What they are, with which a message begins.
        given: Anything; looked at is what has an index of dates, periods, durations or numbers, as
            pandas has it, or of texts that are all dates. Of dates no step may be missing. A column
            of dates is not numbers.
    """
    dtypes = getattr(given, "dtypes", ()) if hasattr(given, "columns") else ()
    for column, dtype in zip(getattr(given, "columns", ()), dtypes, strict=False):
        if getattr(dtype, "kind", "") == "M":
            hint = f"set_index({column!r}) makes them the index: rows are steps"
            raise DataError(f"{where}: column {column!r} holds dates, not numbers", hint)
    index: Any = getattr(given, "index", None)
    if not hasattr(index, "is_monotonic_increasing"):
        return
    as_dates = index.to_timestamp() if hasattr(index, "to_timestamp") else index
    written = _written_dates(as_dates) if as_dates.dtype.kind == "O" else None
    if as_dates.dtype.kind not in _ORDERED and written is None:
        return
    rises = written == sorted(written) if written else index.is_monotonic_increasing
    rows_are_steps = f"{where}: rows are steps, and "
    if not rises:
        hint = "sort_index() sorts them; to_numpy() leaves the index out"
        raise DataError(f"{rows_are_steps}their index is not in rising order", hint)
    if as_dates.dtype.kind not in "OM" or len(index) < 3:
        return
    pairs = pairwise(as_dates if written is None else written)
    for (before, after), named in zip(pairs, [*index][1:], strict=True):
        if before == after:  # pandas' own, which an hour that clocks show twice is two of
            raise DataError(f"{rows_are_steps}two are of {named}", "remove one")
    if getattr(as_dates, "freq", None) is None:  # with one, as of each month's last workday, all
        _check_steps(rows_are_steps, written or [*as_dates.to_pydatetime()])


def _written_dates(index: Any) -> list[Any] | None:
    """Return what an index of objects holds, where that is dates, or texts of dates."""
    try:
        moments: list[Moment] = [parse_moment(each) for each in index]
    except ValueError:
        return None
    kinds = {kind_of(moment) for moment in moments}
    return moments if len(kinds) == 1 and "a number" not in kinds else None


def _check_steps(where: str, moments: Sequence[Moment]) -> None:
    """Raise `DataError` if times are further apart than the frequency has them."""
    calendar = find_calendar([[*moments]])
    places = [calendar.place(moment) for moment in moments]
    for before, after in pairwise(places):
        steps = (after - before) / calendar.step
        if steps > 1.5:
            message = (
                f"{where}{steps:.6g} of them lie between the row of {calendar.text(after)} and "
            )
            message += f"the one before, where most are {calendar.name}"
            hint = "asfreq() adds rows of NaN for missing steps; to_numpy() leaves the index out"
            raise DataError(message, hint)
