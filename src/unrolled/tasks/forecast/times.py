"""The calendar of a table: what a place in time is, and how far steps are apart.

A moment becomes a number, its place: seconds, days, business days, months or what the column has.
Steps that follow each other are `Calendar.step` of these apart. Not here: how a calendar is found
(`frequency.py`), and how moments are written (`moments.py`).
"""

import calendar as months
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.content import number_of, one_of, whole_number_of
from unrolled.tasks.forecast.moments import Moment, instant, zone_of

__all__ = ["DAY", "HOUR", "MINUTE", "Calendar"]

DAY, HOUR, MINUTE = 86_400, 3_600, 60
"""Seconds of each."""
_FRIDAY = 4
_UNITS = ("second", "day", "business day", "month", "number", "row")
_STYLES = ("date", "datetime", "month", "quarter", "number")


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
        on_workdays: Whether a Saturday or a Sunday stands for the workday before it; in the first
            days of a month, for the one after it.
    """

    unit: str
    step: float
    style: str
    day: int = 1
    seconds: int = 0
    zone: str | None = None
    season: int = 1
    on_workdays: bool = False

    @property
    def name(self) -> str:
        """How often steps come, in words."""
        if self.unit == "row":
            return "irregular"
        known: dict[tuple[str, float], str] = {
            ("second", DAY): "daily",
            ("second", HOUR): "hourly",
            ("second", MINUTE): "every minute",
            ("day", 1): "daily",
            ("day", 7): "weekly",
            ("business day", 1): "every business day",
            ("month", 1): "monthly",
            ("month", 3): "quarterly",
            ("month", 12): "yearly",
        }
        if (self.unit, self.step) in known:
            return known[self.unit, self.step] + ", on workdays" * self.on_workdays
        size, unit = self.step, self.unit
        if unit == "second":
            for length, longer in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
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
            return moment.astimezone(zone_of(self.zone))
        if self.unit == "month":
            year, month = divmod(int(place), 12)
            day = min(self.day, months.monthrange(max(year, 1), month + 1)[1])
            whole = datetime(max(year, 1), month + 1, day)
            if self.on_workdays:
                whole = _workday(whole)
        elif self.unit == "business day":
            week, weekday = divmod(int(place), 5)
            whole = datetime.fromordinal(7 * week + weekday + 1)
        else:
            whole = datetime.fromordinal(int(place))
        zone = None if self.zone is None else zone_of(self.zone)
        return whole.replace(tzinfo=zone) + timedelta(seconds=self.seconds)

    @property
    def cycles(self) -> tuple[str, ...]:
        """The cycles of the calendar that are longer than a step."""
        if self.style == "number" or self.unit == "row":
            return ()
        days = self.step / DAY if self.unit == "second" else self.step
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
            return (places + self._ahead(places)) / DAY
        days = places
        if self.unit == "business day":
            days = 7 * (places // 5) + places % 5 + 1
        return days - datetime(1970, 1, 1).toordinal() + self.seconds / DAY

    def _ahead(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many seconds the clocks of the zone are ahead of UTC, (T,).

        The zone is asked for each quarter of an hour in which a place lies: there clocks change.
        """
        if self.zone is None:
            return np.zeros(len(seconds))
        quarters, which = np.unique(np.floor(seconds / 900), return_inverse=True)
        zone = zone_of(self.zone)
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
            "on_workdays": self.on_workdays,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Calendar":
        """Return what `to_dict` described."""
        zone = content["zone"]
        if not isinstance(zone, str):
            raise ValueError(f"zone must be a text, got {zone!r}")
        if zone:
            zone_of(zone)
        return cls(
            unit=one_of(content, "unit", _UNITS),
            step=number_of(content, "step", above=0),
            style=one_of(content, "style", _STYLES),
            day=whole_number_of(content, "day", most=31),
            seconds=int(number_of(content, "seconds", above=-1)),
            zone=zone or None,
            season=whole_number_of(content, "season"),
            on_workdays=content.get("on_workdays") is True,  # which older runs do not say
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
            moment = moment.astimezone(zone_of(self.zone))
        if self.unit == "month":
            return float(12 * moment.year + moment.month - 1)
        if self.unit == "day":
            return float(moment.toordinal())
        week, weekday = divmod(moment.toordinal() - 1, 7)
        if weekday >= 5:
            raise ValueError("not a business day, and the others are")
        return float(5 * week + weekday)


def _workday(day: datetime) -> datetime:
    """Return a day, or what `Calendar.on_workdays` takes for it; the month stays."""
    late = day.weekday() - _FRIDAY
    if late <= 0:
        return day
    return day + timedelta(3 - late) if day.day <= late else day - timedelta(late)
