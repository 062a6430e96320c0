"""A table as windows in three parts of time, and what was left out of them.

Not here: where parts begin and end (`windows.py`).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from unrolled.data.packed_examples import Joined
from unrolled.errors import DataError
from unrolled.tasks.forecast.data_options import DataOptions
from unrolled.tasks.forecast.reader import Panel, Series, read_panel
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.times import Calendar
from unrolled.tasks.forecast.windows import (
    Sizes,
    Window,
    ends_of,
    settled_sizes,
    too_short,
    windows_of,
)
from unrolled.tasks.task import Splits

__all__ = [
    "doubts",
    "left_out",
    "read_splits",
    "scaled_if_new",
    "splits_of",
    "take_in",
    "windows_of_table",
]

_Parts = list[Sequence[Window]]


def read_splits(data: DataOptions) -> Splits[Window]:
    """Return the windows of all series, each in the part in which its horizon lies.

    Raises:
        DataError: The table cannot be used, or no series is long enough.
    """
    return splits_of(read_panel(Path(data.file), data), data)


def splits_of(panel: Panel, data: DataOptions) -> Splits[Window]:
    """Return the windows of series that were read.

    Raises:
        DataError: No series is long enough.
    """
    series, calendar, notes, named = panel
    sizes = settled_sizes(data, series, calendar, named)
    parts: tuple[_Parts, _Parts, _Parts] = ([], [], [])
    refused: list[DataError] = []
    num_after = 0
    for one in series:
        try:
            learned, held_out, test = ends_of(data, one, sizes)
        except DataError as error:
            refused.append(error)
            continue
        cut = partial(windows_of, one, sizes=sizes, learned=learned, calendar=calendar)
        seen = cut(0, learned)
        if not seen:
            name = f" of series {one.id!r}" if one.id else ""
            what = f"no window{name} has a target to learn from"
            refused.append(DataError(f"{one.where}: {what}", "are most of them missing?"))
            continue
        num_after += len(one) - test
        parts[0].append(seen)
        parts[1].append(cut(learned, held_out)[:: data.stride])
        parts[2].append(cut(held_out, test)[:: data.stride])
    training, chosen, measured = map(Joined, parts)
    splits = Splits(training, chosen, measured, notes)
    if not splits.training:
        raise refused[0]
    notes.extend(_notes(splits, sizes, refused, num_after))
    return splits


def windows_of_table(
    path: Path, data: DataOptions, calendar: Calendar, sizes: Sizes, scaling: Scaling
) -> tuple[Sequence[Window], list[str]]:
    """Return all windows of another table with the columns of the training, and notes.

    A series that training did not have is scaled by the first steps that a window looks at.

    Raises:
        DataError: The table cannot be used, or no series is long enough.
    """
    every, calendar, notes, _ = read_panel(path, data, calendar=calendar)
    needed = sum(sizes)
    refused = [too_short(one, needed, "a window has") for one in every if len(one) < needed]
    series = [one for one in every if len(one) >= needed]
    notes.extend([*left_out(refused), *scaled_if_new(series, scaling)])
    windows = Joined(
        [
            windows_of(one, 0, len(one), sizes=sizes, learned=len(one), calendar=calendar)[
                :: data.stride
            ]
            for one in series
        ]
    )
    if not windows:
        message = f"{path}: no series has {needed:,} steps: {sizes.lookback:,} to look at"
        raise DataError(f"{message} and {sizes.horizon:,} to forecast", "give more steps")
    return windows, notes


def doubts(panel: Panel, path: Path, data: DataOptions) -> list[str]:
    """Return the notes on what is odd in a table that is forecast: the first one says its size.

    Of the table of the training they were said then.
    """
    return [] if path == Path(data.file) else panel.notes[1:]


def left_out(refused: Sequence[DataError]) -> Iterator[str]:
    """Yield a note on series that are left out, if there are any, each for an error."""
    if refused:
        these = "1 series is" if len(refused) == 1 else f"{len(refused):,} series are"
        yield f"{these} left out; the first: {refused[0].message}"


def scaled_if_new(
    series: Sequence[Series], scaling: Scaling, *, at_end: bool = False
) -> Iterator[str]:
    """Scale series that training did not have by what is seen before they are forecast.

    Args:
        series: All of them.
        scaling: Which gets the scales.
        at_end: Whether they are forecast from their ends, and not from their starts on.

    Yields:
        Notes: how many they are, and how many words of theirs are new.

    Raises:
        DataError: What is known of a whole series is no number where one is expected.
    """
    new = [one for one in series if one.id not in scaling.scales]
    for one in new:
        scaling.add(one, one.values if at_end else scaling.seen_first(one.values))
    if new:
        these = "1 series is" if len(new) == 1 else f"{len(new):,} series are"
        whole = "all its steps" if len(new) == 1 else "all their steps"
        by = whole if at_end else "the steps before the first forecast"
        yield f"{these} new, and scaled by {by}"
    if note := scaling.statics.note(series):
        yield note


def take_in(splits: Splits[Window], scaling: Scaling) -> None:
    """Give series of a training that starts from another run scales, where that had none of them.

    A note of how many words are new is added to `splits`.
    """
    learned = {window.series: window.learned for window in splits.training}
    for series, end in learned.items():
        if series.id not in scaling.scales:
            scaling.scales[series.id] = scaling.fit(series.values[:end])
    if note := scaling.statics.note(learned):
        splits.notes.append(note)


def _notes(
    splits: Splits[Window], sizes: Sizes, refused: Sequence[DataError], num_after: int
) -> Iterator[str]:
    yield from left_out(refused)
    num_series = len({window.series for window in splits.training})
    borders = bool(splits.held_out) + bool(splits.test)
    crossing = num_series * borders * (sizes.horizon - 1)
    if crossing:
        yield f"{crossing:,} windows would forecast steps of two parts, and are left out"
    if num_after:
        yield f"{num_after:,} steps after the part that is measured on are not used"
