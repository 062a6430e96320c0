"""The time column of a table: moments, the frequency that they come in, and stamps of the future.

    2016-07-01 13:00:00    ISO 8601, with a time zone or without; also 20160701
    2016-07, 1-03          a year and a month
    2016 Q3                a quarter
    17, 17.5               a number

A moment becomes a number, its place: seconds, days, business days, months or what the column has.
Steps that follow each other are `Calendar.step` of these apart. Not here: values (`reader.py`).
"""

import calendar as months
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from unrolled.data.content import number_of, one_of, whole_number_of
from unrolled.errors import DataError, OptionError, field

__all__ = [
    "Calendar",
    "Moment",
    "find_calendar",
    "instant",
    "kind_of",
    "localized",
    "parse_moment",
]

Moment = datetime | float | tuple[str, int]
"""A date, a number, or the number of a month ("month") or quarter ("quarter") since year 0."""

_UNITS = ("second", "day", "business day", "month", "number", "row")
_STYLES = ("date", "datetime", "month", "quarter", "number")
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60
_SEASONS = {"day": {1: 7}, "business day": {1: 5}, "month": {1: 12, 3: 4, 12: 1}}
_MONTH = re.compile(r"(\d{1,4})-(\d{1,2})")
_QUARTER = re.compile(r"(\d{1,4})[ -]?[Qq]([1-4])")
_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")
_SUNDAY = 6


def parse_moment(value: Any) -> Moment:
    """Return what a field of the time column says.

    Raises:
        ValueError: It is neither a date nor a number.

    Example:
        >>> parse_moment("2016-07"), parse_moment("1970 Q2"), parse_moment("2.5")
        (('month', 24198), ('quarter', 7881), 2.5)
    """
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    text = str(value).strip()
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


def kind_of(moment: Moment) -> str:
    """Return the way in which a moment is written, the same for all of a table."""
    if isinstance(moment, tuple):
        return f"a {moment[0]}"
    if isinstance(moment, datetime):
        return "a date" if moment.tzinfo is None else "a date with a time zone"
    return "a number"


@dataclass(frozen=True)
class Calendar:
    """What places stand for, and how far two steps are apart.

    Args:
        unit: Of a place: "second" since 1970, "day" and "business day" since year 1, "month" since
            year 0, "number" as in the column, or "row".
        step: Places from one step to the next.
        style: How a moment is written.
        day: Of the month, where the unit is a month and a date is written; 31 for its end.
        seconds: Of the day, where the unit is a day or more and a time is written.
        zone: The time zone of what is written, by name or as an offset like +02:00; None for none.
        season: Steps of a cycle; 1 where none is known.
    """

    unit: str
    step: float
    style: str
    day: int = 1
    seconds: int = 0
    zone: str | None = None
    season: int = 1

    @property
    def name(self) -> str:
        """How often steps come, in words."""
        if self.unit == "row":
            return "irregular"
        known: dict[tuple[str, float], str] = {
            ("second", _DAY): "daily",
            ("second", _HOUR): "hourly",
            ("second", _MINUTE): "every minute",
            ("day", 1): "daily",
            ("day", 7): "weekly",
            ("business day", 1): "every business day",
            ("month", 1): "monthly",
            ("month", 3): "quarterly",
            ("month", 12): "yearly",
        }
        if (self.unit, self.step) in known:
            return known[self.unit, self.step]
        size, unit = self.step, self.unit
        if unit == "second":
            for length, longer in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
                if size % length == 0:
                    size, unit = size / length, longer
                    break
        return f"every {size:g} {unit}s" if unit != "number" else f"every {size:g}"

    def text(self, place: float) -> str:
        """Return a moment as the table writes it.

        Example:
            >>> Calendar("month", 1, "month", season=12).text(24198)
            '2016-07'
        """
        if self.style == "number":
            return f"{place:.12g}"
        if self.style == "quarter":
            return f"{int(place) // 12} Q{int(place) % 12 // 3 + 1}"
        if self.style == "month":
            return f"{int(place) // 12}-{int(place) % 12 + 1:02d}"
        moment = self.moment(place)
        return moment.date().isoformat() if self.style == "date" else moment.isoformat(" ")

    def moment(self, place: float) -> datetime:
        """Return the date of a place, in the zone of the table."""
        if self.unit in ("second", "row"):
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(place))
            if self.zone is None:
                return moment.replace(tzinfo=None)
            return moment.astimezone(_zone(self.zone))
        if self.unit == "month":
            year, month = divmod(int(place), 12)
            day = min(self.day, months.monthrange(max(year, 1), month + 1)[1])
            whole = datetime(max(year, 1), month + 1, day)
        elif self.unit == "business day":
            week, weekday = divmod(int(place), 5)
            whole = datetime.fromordinal(7 * week + weekday + 1)
        else:
            whole = datetime.fromordinal(int(place))
        zone = None if self.zone is None else _zone(self.zone)
        return whole.replace(tzinfo=zone) + timedelta(seconds=self.seconds)

    @property
    def cycles(self) -> tuple[str, ...]:
        """The cycles of the calendar that are longer than a step."""
        if self.style == "number" or self.unit == "row":
            return ()
        days = self.step / _DAY if self.unit == "second" else self.step
        if self.unit == "month":
            return ("year",) if self.step < 12 else ()
        names = ["day"] if days < 1 else []
        names += ["week"] if days < 7 else []
        return (*names, "year") if days < 360 else ()

    def features(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where in each cycle places lie, (T, 2 * cycles): sine and cosine."""
        if not self.cycles:
            return np.zeros((len(places), 0))
        if self.unit == "month":
            phases = {"year": places % 12 / 12}
        else:
            days = self._days(places)  # since 1970, a Thursday, as a clock on the wall shows them
            whole = np.floor(days)
            hours = days - whole
            dates = whole.astype("datetime64[D]")
            year = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(float)
            weekday = (whole + 3) % 7
            phases = {"day": hours, "week": (weekday + hours) / 7, "year": (year + hours) / 365.25}
        angles = np.stack([2 * np.pi * phases[name] for name in self.cycles], 1)
        return np.concatenate([np.sin(angles), np.cos(angles)], 1)

    def _days(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the days since 1970 on the clocks of the zone, with fractions, (T,)."""
        if self.unit == "second":
            return (places + self._ahead(places)) / _DAY
        days = places
        if self.unit == "business day":
            days = 7 * (places // 5) + places % 5 + 1
        return days - datetime(1970, 1, 1).toordinal() + self.seconds / _DAY

    def _ahead(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many seconds the clocks of the zone are ahead of UTC, (T,).

        The zone is asked for each quarter of an hour in which a place lies: there clocks change.
        """
        if self.zone is None:
            return np.zeros(len(seconds))
        quarters, which = np.unique(np.floor(seconds / 900), return_inverse=True)
        zone = _zone(self.zone)
        if isinstance(zone, timezone):
            quarters = quarters[:1]
            which = np.zeros(len(seconds), dtype=np.intp)
        ahead = [datetime.fromtimestamp(900 * q, zone).utcoffset() for q in quarters.tolist()]
        return np.array([offset.total_seconds() for offset in ahead if offset is not None])[which]

    def to_dict(self) -> dict[str, Any]:
        """Return it in types that JSON has."""
        return {
            "unit": self.unit,
            "step": float(self.step),
            "style": self.style,
            "day": self.day,
            "seconds": float(self.seconds),
            "zone": self.zone or "",
            "season": self.season,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Calendar":
        """Return what `to_dict` described."""
        zone = content["zone"]
        if not isinstance(zone, str):
            raise ValueError(f"zone must be a text, got {zone!r}")
        if zone:
            _zone(zone)
        return cls(
            unit=one_of(content, "unit", _UNITS),
            step=number_of(content, "step", above=0),
            style=one_of(content, "style", _STYLES),
            day=whole_number_of(content, "day", least=1, most=31),
            seconds=int(number_of(content, "seconds", above=-1)),
            zone=zone or None,
            season=whole_number_of(content, "season", least=1),
        )

    def place(self, moment: Moment) -> float:
        """Return the place of a moment.

        Raises:
            ValueError: It is of another kind than those that the calendar was found in.
        """
        if isinstance(moment, tuple):
            kind, index = moment
            if self.unit != "month" or self.style not in ("month", "quarter"):
                raise ValueError("a month, where there were none")
            return float(3 * index if kind == "quarter" else index)
        if not isinstance(moment, datetime):
            if self.style != "number":
                raise ValueError("a number, where there were dates")
            return moment
        if self.style in ("number", "month", "quarter"):
            raise ValueError("a date, where there were none")
        if (moment.tzinfo is None) != (self.zone is None):
            raise ValueError("with a time zone, or without one, unlike the others")
        if self.unit in ("second", "row"):
            return instant(moment).timestamp()
        if self.zone is not None:
            moment = moment.astimezone(_zone(self.zone))
        if self.unit == "month":
            return float(12 * moment.year + moment.month - 1)
        if self.unit == "day":
            return float(moment.toordinal())
        week, weekday = divmod(moment.toordinal() - 1, 7)
        if weekday >= 5:
            raise ValueError("not a business day, and the others are")
        return float(5 * week + weekday)


def instant(moment: datetime) -> datetime:
    """Return a moment in UTC; one without a zone as it is read there.

    Python compares two moments of one zone by their clocks, to which the two hours of autumn are
    the same.
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _zone(name: str) -> tzinfo:
    if match := _OFFSET.fullmatch(name):
        ahead = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if ahead < timedelta(days=1):
            return timezone(-ahead if match[1] == "-" else ahead)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"{field('zone')}: unknown time zone {name!r}"
        raise OptionError(message, "a name such as Europe/Lisbon, UTC or +02:00") from None


def localized(moments: Sequence[Moment], zone: str | None) -> list[Moment]:
    """Return moments of one series, in the order of the file, with a time zone where one is named.

    Of an hour that a clock shows twice, when summer time ends, the second one in the file is the
    second one.
    """
    if zone is None:
        return [*moments]
    info = _zone(zone)
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
    every = [moment for group in groups for moment in group]
    first = every[0]
    if isinstance(first, tuple):
        found = Calendar("month", 1, first[0])
    elif isinstance(first, datetime):
        found = _of_dates([m for m in every if isinstance(m, datetime)], zone, regular)
    else:
        found = Calendar("number", 1, "number")
    differences: Counter[float] = Counter()
    for group in groups:
        places = [found.place(moment) for moment in group]
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
        there = _zone(zone)
        moments = [moment.astimezone(there) for moment in moments]
    seconds = {m.hour * _HOUR + m.minute * _MINUTE + m.second for m in moments}
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
    weekdays = {day.weekday() for day in dates}
    span = (dates[-1] - dates[0]).days
    if span >= 14 and min(gaps) == 1 and not weekdays & {5, _SUNDAY} and len(weekdays) == 5:
        return Calendar("business day", 1, style, seconds=at, zone=zone)
    return Calendar("day", 1, style, seconds=at, zone=zone)


def _written(moments: Sequence[datetime]) -> str:
    """Return the offset with which all moments are written; UTC where there are several."""
    offsets = {moment.utcoffset() for moment in moments}
    minutes = (next(iter(offsets)) or timedelta()) / timedelta(minutes=1)
    if len(offsets) > 1 or not minutes or minutes % 1:
        return "UTC"
    hours, rest = divmod(abs(int(minutes)), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


def _season(unit: str, step: float) -> int:
    """Return the steps of the cycle that most data of this frequency have."""
    if unit == "second":
        if step < _MINUTE:
            return max(1, round(_MINUTE / step))
        if step < 5 * _MINUTE:
            return round(_HOUR / step)
        return max(1, round(_DAY / step)) if step < _DAY else 1
    if unit == "day" and step % 7 == 0:
        return 52 if step == 7 else 1
    return _SEASONS.get(unit, {}).get(int(step), 1)
