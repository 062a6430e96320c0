"""What a forecaster's task takes from what is learned from: calendar, sizes and scales."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from unrolled.data.content import flag_of, numbers_of, strings_of, whole_number_of
from unrolled.errors import OptionError, field
from unrolled.tasks.forecast.baselines import too_many_to_smooth
from unrolled.tasks.forecast.data_options import DataOptions
from unrolled.tasks.forecast.scales import Scale, column_scale
from unrolled.tasks.forecast.scaling import check_counts, kind_of_scale
from unrolled.tasks.forecast.statics import Statics
from unrolled.tasks.forecast.times import Calendar
from unrolled.tasks.forecast.transforms import takes_seasonal
from unrolled.tasks.forecast.windows import Sizes, Window
from unrolled.tasks.task import Splits, TaskOptions

__all__ = ["Fitted"]


class Fitted(NamedTuple):
    """What was found in the part that is learned from.

    Args:
        calendar: Of all series.
        sizes: Of windows.
        scales: Of the series by their names.
        columns: What is taken off other columns and what they are divided by, (P + K,) each.
        marks_missing: Whether a step also says which targets are missing.
        last_place: Where the first series ended: what is typed without times ends there too.
        statics: The columns of what is known of whole series.
    """

    calendar: Calendar
    sizes: Sizes
    scales: dict[str, Scale]
    columns: tuple[Tensor, Tensor]
    marks_missing: bool
    last_place: float
    statics: Statics

    @classmethod
    def of(cls, options: TaskOptions, splits: Splits[Window]) -> Self:
        """Return what is found in the training part, and add notes on it to `splits`.

        Raises:
            DataError: Counts are learned, and there are other numbers.
            OptionError: Counts are learned, and a scale is chosen that they do not have; or
                differences from cycle to cycle, where no cycle is known or none lies in a window.
        """
        data: DataOptions = options.data
        kind = kind_of_scale(options)
        first = splits.training[0]
        if takes_seasonal(data.transform):
            _check_cycle(data, first)
        learned = {w.series: w.learned for w in splits.training}
        scales = {}
        for series, end in learned.items():
            values = series.values[:end]
            if options.model.learns == "negative-binomial":
                check_counts(series)
            scales[series.id] = Scale.fit(
                values, kind=kind, transform=data.transform, season=first.calendar.season
            )
        num_constant = sum(bool(scale.is_constant.any()) for scale in scales.values())
        if num_constant:
            these = "1 series does" if num_constant == 1 else f"{num_constant:,} series do"
            cycle = " from cycle to cycle" if first.calendar.season > 1 else ""
            message = f"{these} not change{cycle} in what is learned from: no MASE of it"
            splits.notes.append(message)
        if too_many_to_smooth(learned):
            splits.notes.append("too many steps for exponential smoothing: no ETS beside the model")
        past = [series.past[:end] for series, end in learned.items()]
        known = [series.given[:end, : series.num_columns] for series, end in learned.items()]
        center, width = column_scale(torch.cat([torch.cat(past), torch.cat(known)], 1))
        extra = first.series.known.shape[1] - first.series.num_columns  # sines and cosines
        center = torch.cat([center, center.new_zeros(extra)])
        width = torch.cat([width, width.new_ones(extra)])
        marks = any(bool(series.values[:end].isnan().any()) for series, end in learned.items())
        last_place = first.series.places[len(first.series) - 1]
        statics = Statics.fit(data.static, learned, data.id, splits.notes)
        sizes = first.sizes
        return cls(first.calendar, sizes, scales, (center, width), marks, last_place, statics)

    def to_dict(self, targets: tuple[str, ...]) -> dict[str, Any]:
        """Return it, and the names of the targets, in types that JSON has."""
        center, width = self.columns
        return {
            "targets": list(targets),
            "calendar": self.calendar.to_dict(),
            "lookback": self.sizes.lookback,
            "horizon": self.sizes.horizon,
            "marks_missing": self.marks_missing,
            "last_place": float(self.last_place),
            "columns": {"center": center.tolist(), "width": width.tolist()},
            "statics": self.statics.to_list(),
            "series": {name: scale.to_dict() for name, scale in self.scales.items()},
        }

    @classmethod
    def from_dict(cls, data: DataOptions, content: Mapping[str, Any]) -> Self:
        """Return what `to_dict` described."""
        if tuple(strings_of(content, "targets", least=1)) != data.target:
            raise ValueError(f"targets must be {', '.join(data.target)}")
        calendar = Calendar.from_dict(content["calendar"])
        lookback = whole_number_of(content, "lookback")
        horizon = whole_number_of(content, "horizon")
        num = len(data.target)
        scales = {name: Scale.from_dict(each, num) for name, each in content["series"].items()}
        if not scales:
            raise ValueError("series must be at least 1")
        cycles = 2 * len(calendar.cycles) if data.calendar else 0
        count = len(data.past) + len(data.known) + cycles + (not data.regular)
        center = numbers_of(content["columns"], "center", count)
        width = numbers_of(content["columns"], "width", count, above=0)
        columns = torch.tensor([center, width], dtype=torch.float64)
        place = numbers_of({"last_place": [content["last_place"]]}, "last_place", 1)[0]
        marks = flag_of(content, "marks_missing")
        sizes = Sizes(lookback, horizon)
        statics = Statics.from_list(data.static, content["statics"])
        return cls(calendar, sizes, scales, (columns[0], columns[1]), marks, place, statics)


def _check_cycle(data: DataOptions, window: Window) -> None:
    """Raise `OptionError` unless a window has a step and the one a cycle before it."""
    season, lookback = window.calendar.season, window.sizes.lookback
    what = f"{field('transform')} {data.transform}"
    if season <= 1:
        message = f"{what} is from cycle to cycle, and no cycle of steps is known"
        raise OptionError(message, f"{field('season')} says how many steps make one")
    if lookback <= season:
        message = f"{what}: a cycle has {season} steps, and a forecast looks at {lookback}"
        raise OptionError(message, f"{field('lookback')} {season + 1} at least")
