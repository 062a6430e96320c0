"""The index of a series or frame: rows are the steps, so they have to come as its times do."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median_low
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
    if as_dates.dtype.kind == "O" and hasattr(as_dates, "infer_objects"):
        as_dates = as_dates.infer_objects()  # of dates of pandas, the finer ones too
    written = _written_dates(as_dates) if as_dates.dtype.kind == "O" else None
    if as_dates.dtype.kind not in _ORDERED and written is None:
        return
    rises = written == sorted(written) if written else index.is_monotonic_increasing
    rows_are_steps = f"{where}: rows are steps, and "
    if getattr(index, "hasnans", False):
        hint = "y[y.index.notna()] leaves such rows out; to_numpy() leaves the index out"
        raise DataError(f"{rows_are_steps}some have nothing in their index", hint)
    if not rises:
        hint = "sort_index() sorts them; to_numpy() leaves the index out"
        raise DataError(f"{rows_are_steps}their index is not in rising order", hint)
    if written is None and as_dates.dtype.kind != "M":
        return
    finer = None if written else _nanoseconds(as_dates)
    try:
        moments = written or finer or _comparable([*as_dates.to_pydatetime()])
    except (ValueError, OverflowError):
        message = f"{rows_are_steps}their index has dates beyond the years 1 to 9999"
        raise DataError(message, "to_numpy() leaves the index out") from None
    for (before, after), label in zip(pairwise(moments), [*index][1:], strict=True):
        if before == after:
            hint = "remove one"
            if written:
                hint += "; of texts finer than a microsecond, pandas.to_datetime makes dates"
            raise DataError(f"{rows_are_steps}two are of {label}", hint)
    if len(moments) > 2:
        _check_steps(rows_are_steps, moments, [*index] if finer else None)


def _written_dates(index: Any) -> list[Any] | None:
    """Return what an index of objects holds, where that is dates, or texts of dates."""
    try:
        moments: list[Moment] = [parse_moment(each) for each in index]
    except ValueError:
        return None
    kinds = {kind_of(moment) for moment in moments}
    return moments if len(kinds) == 1 and "a number" not in kinds else None


def _nanoseconds(index: Any) -> list[Moment] | None:
    """Return dates as nanoseconds from the first, where Python's would not hold them; else None."""
    if "[ns" not in str(index.dtype):
        return None
    numbers = [int(number) for number in index.astype("int64")]
    if not any(number % 1000 for number in numbers):
        return None
    return [float(number - numbers[0]) for number in numbers]


def _comparable(moments: list[datetime]) -> list[datetime]:
    """Return moments of a zone as its clocks show them if that is one time of day, else in UTC.

    Python takes the hour that a clock shows twice for one, and in UTC days differ in length.
    """
    if not moments or moments[0].tzinfo is None:
        return moments
    shown = [moment.replace(tzinfo=None) for moment in moments]
    is_daily = len({moment.time() for moment in shown}) == 1
    return shown if is_daily else [moment.astimezone(UTC) for moment in moments]


def _check_steps(
    where: str, moments: Sequence[Moment], labels: Sequence[object] | None = None
) -> None:
    """Raise `DataError` if two times are further apart than most are.

    Args:
        where: What a message begins with.
        moments: At least two, in rising order.
        labels: What they are called, if they are nanoseconds; None: as they are written.
    """
    calendar = find_calendar([[*moments]])
    places = [calendar.place(moment) for moment in moments]
    gaps = [after - before for before, after in pairwise(places)]
    usual = median_low(gaps)  # of month ends that are business days there are many
    for number, gap in enumerate(gaps, 1):
        if gap > 1.5 * usual:
            unit = "nanosecond" if labels else calendar.unit
            apart = f"{usual:.6g} {unit}{'' if usual == 1 else 's'} apart"
            most = calendar.name if usual == calendar.step and not labels else apart
            label = labels[number] if labels else calendar.text(places[number])
            message = f"{where}{round(gap / usual):,} of them lie between the row of "
            message += f"{label} and the one before, where most are {most}"
            hint = "asfreq() adds rows of NaN for missing steps; to_numpy() leaves the index out"
            raise DataError(message, hint)
