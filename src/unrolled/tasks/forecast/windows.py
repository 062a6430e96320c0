"""Which steps are learned from, chosen by and measured on: parts of time, and windows in them.

    series    ................................................
    parts     learned from                |held out |test
    window           [  lookback  ][horizon]
    window    of the test:      [  lookback  ][horizon]

A window belongs to the part in which its whole horizon lies. What it looks at may lie in an earlier
part, never in a later one.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from unrolled.data.packed_examples import Items
from unrolled.errors import DataError, field
from unrolled.tasks.forecast.data_options import DataOptions
from unrolled.tasks.forecast.reader import Series
from unrolled.tasks.forecast.times import Calendar

__all__ = [
    "Sizes",
    "Window",
    "Windows",
    "apart",
    "check_sizes",
    "ends_of",
    "settled_sizes",
    "too_short",
    "windows_of",
]

_SHARE = 3  # of what is learned from, a window looks at one part in so many at most


class Sizes(NamedTuple):
    """Steps that a forecast looks at, and steps that it makes."""

    lookback: int
    horizon: int


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """A place from which a series is forecast.

    Args:
        series: Of which.
        origin: The first step that is forecast; those before it are seen.
        sizes: Of the window.
        learned: The first step of the series that is not learned from.
        calendar: Of the series.
    """

    series: Series
    origin: int
    sizes: Sizes
    learned: int
    calendar: Calendar


def settled_sizes(
    data: DataOptions, series: Sequence[Series], calendar: Calendar, named: int | None = None
) -> Sizes:
    """Return the sizes of windows, those that nobody chose by what the data allow.

    Args:
        data: What was chosen.
        series: All of them.
        calendar: Theirs.
        named: The horizon that their file names.
    """
    horizon = data.horizon or named or calendar.season
    if data.lookback is not None:
        return Sizes(data.lookback, horizon)
    lengths = sorted(_ends(data, len(one), horizon)[0] for one in series)
    learned = lengths[len(lengths) // 2]  # of most series: those that are too short are left out
    most = max(1, learned // _SHARE)
    return Sizes(max(1, min(2 * max(calendar.season, horizon), most)), horizon)


def ends_of(data: DataOptions, series: Series, sizes: Sizes) -> tuple[int, int, int]:
    """Return where the parts of a series end: what is learned from, held out, measured on.

    Raises:
        DataError: It is too short for them.
    """
    learned, held_out, test = _ends(data, len(series), sizes.horizon)
    if min(held_out - learned, test - held_out) < sizes.horizon and data.split is not None:
        message = f"{field('split')} {data.split}: a part has fewer steps than a forecast, "
        raise DataError(f"{message}{sizes.horizon:,}", f"make the parts of {field('split')} larger")
    needed = sizes.lookback + sizes.horizon
    name = f" of series {series.id!r}" if series.id else ""
    if data.split is not None and test > len(series):
        message = f"{series.where}: {len(series):,} steps{name}, but {field('split')} has {test:,}"
        raise DataError(message, f"make the parts of {field('split')} smaller")
    if learned < needed:
        parts = f" before the parts that are held out and measured on, of {len(series):,}"
        message = f"{series.where}: {max(0, learned):,} steps{name} to learn from"
        message += parts if learned < len(series) else ""
        message += f", but a window has {needed:,}: {sizes.lookback:,} to look at and "
        message += f"{sizes.horizon:,} to forecast"
        hint = f"give more steps, or less {field('lookback')} or {field('horizon')}"
        raise DataError(message, hint)
    return learned, held_out, test


def _ends(data: DataOptions, length: int, horizon: int) -> tuple[int, int, int]:
    if data.split is not None:
        first, second, third = (int(part) for part in data.split.split(","))
        return first, first + second, first + second + third
    sizes = []
    for part in ("held_out", "test"):
        fraction = data.fraction(part)
        sizes.append(max(round(fraction * length), horizon) if fraction else 0)
    return length - sum(sizes), length - sizes[1], length


class Windows(Items[Window]):
    """Windows of one series; each is made where it is looked at.

    Args:
        origins: Their first steps that are forecast.
        like: Another window of the series.
    """

    def __init__(self, origins: Sequence[int], like: Window) -> None:
        self._origins = array("q", origins)
        self._like = like

    def __len__(self) -> int:
        return len(self._origins)

    def item(self, place: int) -> Window:
        """Return a window."""
        like = self._like
        return Window(like.series, self._origins[place], like.sizes, like.learned, like.calendar)


def windows_of(
    series: Series, start: int, stop: int, *, sizes: Sizes, learned: int, calendar: Calendar
) -> Windows:
    """Return the windows whose horizon lies in steps `start` to `stop`, and that see enough.

    Those without any target that is there, or with nothing to look at, are left out.
    """
    missing = series.values.isnan().all(1)
    gone = torch.cat([torch.zeros(1, dtype=torch.int64), missing.long().cumsum(0)])
    first = max(start, sizes.lookback)
    origins = torch.arange(first, max(first, stop - sizes.horizon + 1))
    has_target = gone[origins + sizes.horizon] - gone[origins] < sizes.horizon
    sees = gone[origins] - gone[origins - sizes.lookback] < sizes.lookback
    like = Window(series, 0, sizes, learned, calendar)
    return Windows(origins[has_target & sees].tolist(), like)


def too_short(series: Series, needed: int, what: str) -> DataError:
    """Return the error that a series has fewer steps than `what`, such as "a window has", needs."""
    steps = "1 step" if len(series) == 1 else f"{len(series):,} steps"
    name = f" of series {series.id!r}" if series.id else ""
    return DataError(f"{series.where}: {steps}{name}, but {what} {needed:,}", "give more steps")


def apart(windows: Sequence[Window]) -> list[Window]:
    """Return windows of which no two look at the same steps."""
    chosen: list[Window] = []
    for window in windows:
        last = chosen[-1] if chosen else None
        if (
            last is None
            or last.series is not window.series
            or window.origin - window.sizes.lookback >= last.origin
        ):
            chosen.append(window)
    return chosen


def check_sizes(window: Window, theirs: Sizes) -> None:
    """Raise `DataError` unless a window is as long as those of the run to start from."""
    mine = window.sizes
    if mine == theirs:
        return
    message = f"{window.series.where}: windows of {mine.lookback} and {mine.horizon} steps, "
    message += f"but the run to start from has {theirs.lookback} and {theirs.horizon}"
    hint = f"{field('lookback')} {theirs.lookback}, {field('horizon')} {theirs.horizon}"
    raise DataError(message, hint)
