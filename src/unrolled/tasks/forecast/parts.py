"""A table as windows in three parts of time, and what was left out of them.

Not here: where parts begin and end (`windows.py`).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from unrolled.errors import DataError
from unrolled.tasks.forecast.options import DataOptions
from unrolled.tasks.forecast.reader import Panel, read_panel
from unrolled.tasks.forecast.windows import Sizes, Window, ends_of, settled_sizes, windows_of
from unrolled.tasks.task import Splits

__all__ = ["read_splits", "splits_of"]


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
    series, calendar, notes = panel
    sizes = settled_sizes(data, series, calendar)
    splits: Splits[Window] = Splits([], [], [], notes)
    refused: list[DataError] = []
    num_after = 0
    for one in series:
        try:
            learned, held_out, test = ends_of(data, one, sizes)
        except DataError as error:
            refused.append(error)
            continue
        num_after += len(one) - test
        cut = partial(windows_of, one, sizes=sizes, learned=learned, calendar=calendar)
        splits.training.extend(cut(0, learned))
        chosen = [*cut(learned, held_out)]
        splits.held_out.extend(chosen[:: data.stride])
        measured = [*cut(held_out, test)]
        splits.test.extend(measured[:: data.stride])
    if not splits.training:
        raise refused[0] if refused else DataError(f"{data.file}: no window has all it needs")
    notes.extend(_notes(splits, sizes, refused, num_after))
    return splits


def _notes(
    splits: Splits[Window], sizes: Sizes, refused: Sequence[DataError], num_after: int
) -> Iterator[str]:
    if refused:
        these = "1 series is" if len(refused) == 1 else f"{len(refused):,} series are"
        yield f"{these} left out; the first: {refused[0].message}"
    num_series = len({window.series for window in splits.training})
    borders = bool(splits.held_out) + bool(splits.test)
    crossing = num_series * borders * (sizes.horizon - 1)
    if crossing:
        yield f"{crossing:,} windows would forecast steps of two parts, and are left out"
    if num_after:
        yield f"{num_after:,} steps after the part that is measured on are not used"
