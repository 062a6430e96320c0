"""Moments as a time column writes them.

    2016-07-01 13:00:00    ISO 8601, with a time zone or without; also 20160701
    2016-07, 1-03          a year and a month
    2016 Q3                a quarter
    17, 17.5               a number
    31/12/2024 23:59       a date, where an order of day and month is named; nothing guesses one

Not here: the frequency that they come in (`frequency.py`), and their places on it (`times.py`).
"""

import math
import re
from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from unrolled.data.packed_examples import Items
from unrolled.errors import OptionError, field

__all__ = [
    "Moment",
    "has_an_order",
    "instant",
    "is_skipped",
    "kind_of",
    "localized",
    "packed_moments",
    "parse_moment",
    "zone_of",
]

Moment = datetime | float | tuple[str, int]
"""A date, a number, or the number of a month ("month") or quarter ("quarter") since year 0."""

_MONTH = re.compile(r"(\d{1,4})-(\d{1,2})")
_QUARTER = re.compile(r"(\d{1,4})[ -]?[Qq]([1-4])")
_NAMED_ORDER = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})((?:[ T].*)?)")
_MICROSECOND = timedelta(microseconds=1)
_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")


def parse_moment(value: Any, dates: str = "iso") -> Moment:
    """Return what a field of the time column says.

    Args:
        value: The field.
        dates: How dates are written: "iso", "day-first" or "month-first".

    Raises:
        ValueError: It is neither a date nor a number; or a date in another order.

    Example:
        >>> parse_moment("2016-07"), parse_moment("1970 Q2"), parse_moment("2.5")
        (('month', 24198), ('quarter', 7881), 2.5)
        >>> parse_moment("31.12.2024 23:59", "day-first")
        datetime.datetime(2024, 12, 31, 23, 59)
    """
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    text = str(value).strip()
    if dates != "iso":
        if (match := _NAMED_ORDER.fullmatch(text)) is None:
            raise ValueError(f"not {dates}")
        first, _, second, year, rest = match.groups()
        day, month = (first, second) if dates == "day-first" else (second, first)
        return datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}{rest}")
    if (match := _MONTH.fullmatch(text)) and 1 <= int(match[2]) <= 12:
        return "month", 12 * int(match[1]) + int(match[2]) - 1
    if match := _QUARTER.fullmatch(text):
        return "quarter", 4 * int(match[1]) + int(match[2]) - 1
    if len(text) != 8 or not text.isdigit():  # as 20160701, a date
        try:
            number = float(value)
        except (TypeError, ValueError):
            return datetime.fromisoformat(text)
        if not math.isfinite(number):
            raise ValueError("not finite")
        return number
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return float(text)


def has_an_order(value: Any) -> bool:
    """Return whether a field is a date whose day and month only an order tells apart."""
    return _NAMED_ORDER.fullmatch(str(value).strip()) is not None


def kind_of(moment: Moment) -> str:
    """Return the way in which a moment is written, the same for all of a table."""
    if isinstance(moment, tuple):
        return f"a {moment[0]}"
    if isinstance(moment, datetime):
        return "a date" if moment.tzinfo is None else "a date with a time zone"
    return "a number"


def instant(moment: datetime) -> datetime:
    """Return a moment in UTC; one without a zone as it is read there.

    Python compares two moments of one zone by their clocks, to which the two hours of autumn are
    the same.
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its name, or by an offset like +02:00.

    Raises:
        OptionError: There is none.
    """
    if match := _OFFSET.fullmatch(name):
        ahead = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if ahead < timedelta(days=1):
            return timezone(-ahead if match[1] == "-" else ahead)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"{field('zone')}: unknown time zone {name!r}"
        raise OptionError(message, "a name such as Europe/Lisbon, UTC or +02:00") from None


def is_skipped(moment: Moment) -> bool:
    """Return whether no clock of the moment's zone shows it, as an hour when summer time begins."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        return False
    shown = instant(moment).astimezone(moment.tzinfo)
    return shown.replace(tzinfo=None) != moment.replace(tzinfo=None)


def localized(moments: Sequence[Moment], zone: str | None) -> Sequence[Moment]:
    """Return moments of one series, in the order of the file, with a time zone where one is named.

    Of an hour that a clock shows twice, when summer time ends, the second one in the file is the
    second one; in a file whose last row is the oldest, the first one is.
    """
    if zone is None:
        return moments
    info = zone_of(zone)
    clocks = [m for m in moments if isinstance(m, datetime) and m.tzinfo is None]
    rises = [after > before for before, after in pairwise(clocks) if after != before]
    if 2 * sum(rises) < len(rises):
        return localized(moments[::-1], zone)[::-1]
    seen: set[datetime] = set()
    result: list[Moment] = []
    for moment in moments:
        if isinstance(moment, datetime):
            if moment.tzinfo is None:
                wall = moment
                moment = wall.replace(tzinfo=info, fold=int(wall in seen))
                seen.add(wall)
            moment = moment.astimezone(info)
        result.append(moment)
    return result


def packed_moments(moments: Iterable[Moment]) -> Sequence[Moment]:
    """Return the same moments, in 8 bytes each where all are numbers, or dates without a zone.

    Example:
        >>> packed_moments([datetime(2016, 7, 1, 13)])[0]
        datetime.datetime(2016, 7, 1, 13, 0)
    """
    numbers, dates = array("d"), _Dates()
    coming = iter(moments)
    for moment in coming:
        if type(moment) is float and not dates:
            numbers.append(moment)
        elif type(moment) is datetime and not (moment.tzinfo or moment.fold or numbers):
            dates.append(moment)
        else:
            return [*(numbers or dates), moment, *coming]
    return dates or numbers


class _Dates(Items[Moment]):
    """Dates without a zone, as microseconds since the first one that Python has."""

    def __init__(self) -> None:
        self._microseconds = array("q")

    def append(self, date: datetime) -> None:
        self._microseconds.append((date - datetime.min) // _MICROSECOND)

    def __len__(self) -> int:
        return len(self._microseconds)

    def item(self, place: int) -> Moment:
        return datetime.min + timedelta(microseconds=self._microseconds[place])
