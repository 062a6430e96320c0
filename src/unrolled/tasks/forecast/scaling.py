"""Series as a model reads them: scaled, and cut into batches of windows.

Not here: how a scale is fitted (`scales.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from unrolled.errors import DataError, OptionError, field
from unrolled.tasks.forecast.model import Inputs
from unrolled.tasks.forecast.reader import Series
from unrolled.tasks.forecast.scales import Scale
from unrolled.tasks.forecast.statics import Statics
from unrolled.tasks.forecast.transforms import curve_of, takes_differences, takes_seasonal
from unrolled.tasks.forecast.windows import Window
from unrolled.tasks.task import TaskOptions

__all__ = ["Scaling", "check_counts", "kind_of_scale", "no_count"]


class _Scaled(NamedTuple):
    """A series as a model reads it: targets (T, C), what is known (T, P + K) and (T + ahead, K).

    static: Numbers of the whole series, (N,), as they are, and which words it has, (W,).
    """

    past: Tensor
    columns: Tensor
    known: Tensor
    static: tuple[Tensor, Tensor]


class Scaling:
    """The scales of series, by which windows become what a model reads.

    Args:
        options: Of the task.
        scales: Of the series of the training, by their names.
        columns: What is taken off other columns and what they are divided by, (P + K,) each.
        lookback: Steps that a forecast looks at.
        season: Steps of a cycle.
        statics: What is known of whole series.
    """

    def __init__(
        self,
        options: TaskOptions,
        scales: dict[str, Scale],
        columns: tuple[Tensor, Tensor],
        lookback: int,
        season: int,
        statics: Statics,
    ) -> None:
        self.statics = statics
        self.scales = scales
        self.columns = columns
        self.curve = curve_of(options.data.transform)
        self._transform: str = options.data.transform
        self.stride: int = options.data.stride
        self._kind = kind_of_scale(options)
        self._is_of_counts = options.model.learns == "negative-binomial"
        self._lookback, self._season = lookback, season
        self._added: WeakKeyDictionary[Series, Scale] = WeakKeyDictionary()
        self._scaled: WeakKeyDictionary[Series, _Scaled] = WeakKeyDictionary()

    @staticmethod
    def truth(windows: Sequence[Window]) -> Tensor:
        """Return what came, (B, H, C), on the scale of the data; NaN where it is missing."""
        return torch.stack(
            [w.series.values[w.origin : w.origin + w.sizes.horizon] for w in windows]
        )

    def add(self, series: Series, values: Tensor) -> None:
        """Scale a series that training did not have by some of its values, (T, C)."""
        self._added[series] = self.fit(values)

    def fit(self, values: Tensor) -> Scale:
        """Return the scale of a series with such values, (T, C)."""
        return Scale.fit(values, kind=self._kind, transform=self._transform, season=self._season)

    def seen_first(self, values: Tensor) -> Tensor:
        """Return those of a series' values, (T, C), that its first forecast may look at.

        That is the first one that has anything to look at.
        """
        first = int((~values.isnan().all(1)).long().argmax())
        return values[: max(self._lookback, first + 1)]

    def scale(self, series: Series) -> Scale:
        """Return the scale of a series."""
        added = self._added.get(series)
        return self.scales[series.id] if added is None else added

    def named(self, name: str) -> Scale:
        """Return the scale of a series of the training by its name.

        Raises:
            OptionError: There was none of that name.
        """
        if name not in self.scales:
            known = ", ".join(map(repr, [*self.scales][:10]))
            raise OptionError(f"no series {name!r} in what was learned from", f"there is {known}")
        return self.scales[name]

    def batch(self, windows: Sequence[Window]) -> tuple[Inputs, list[Scale]]:
        """Return what a model reads of windows, and the scales of their series.

        There are targets where the steps that are forecast are known, of all windows.

        Raises:
            DataError: Counts are learned, and there are other numbers.
        """
        past, columns, future, targets = [], [], [], []
        for window in windows:
            scaled, origin = self._read(window.series), window.origin
            start, end = origin - self._lookback, origin + window.sizes.horizon
            past.append(scaled.past[start:origin])
            columns.append(scaled.columns[start:origin])
            future.append(scaled.known[origin:end])
            targets.append(scaled.past[origin:end])
        known = all(len(each) == windows[0].sizes.horizon for each in targets)
        inputs = Inputs(
            torch.stack(past),
            torch.stack(columns),
            torch.stack(future),
            torch.stack(targets) if known else None,
            self._static([window.series for window in windows]),
        )
        return inputs, [self.scale(window.series) for window in windows]

    def scaled_static(self, numbers: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return numbers of series, (B, N), as a model reads them, and words as they are."""
        center, width = self.statics.scale
        return ((numbers - center) / width).float(), words

    def _static(self, series: Sequence[Series]) -> tuple[Tensor, Tensor] | None:
        if not self.statics.columns:
            return None
        numbers, words = zip(*(self._read(one).static for one in series), strict=True)
        return self.scaled_static(torch.stack(numbers), torch.stack(words))

    def _read(self, series: Series) -> _Scaled:
        scaled = self._scaled.get(series)
        if scaled is None:
            if self._is_of_counts:
                check_counts(series)
            scale, num_past = self.scale(series), series.past.shape[1]
            past = ((self.curve.apply(series.values) - scale.center) / scale.width).float()
            center, width = self.columns
            known = ((series.known - center[num_past:]) / width[num_past:]).float()
            own = ((series.past - center[:num_past]) / width[:num_past]).float()
            columns = known[: len(series)]
            if num_past:
                columns = torch.cat([own, columns], 1)
            static = self.statics.read(series.where, series.static)
            scaled = self._scaled[series] = _Scaled(past, columns, known, static)
        return scaled


def kind_of_scale(options: TaskOptions) -> str:
    """Return what targets are scaled by: "standard", "mean" or "none".

    Raises:
        OptionError: Counts cannot be shifted, and have no logarithm; or differences are learned,
            and not of the last value.
    """
    is_of_counts = options.model.learns == "negative-binomial"
    kind: str = options.data.scale or ("mean" if is_of_counts else "standard")
    transform, frame = options.data.transform, options.model.frame
    if is_of_counts and (kind == "standard" or transform != "none"):
        what = f"{field('scale')} standard" if transform == "none" else field("transform")
        message = f"{what} is not for {field('loss')} negative-binomial, which is of counts"
        raise OptionError(message, "leave it out")
    if takes_differences(transform) and frame != "last":
        last = "cycle" if takes_seasonal(transform) else "value"
        message = f"{field('transform')} {transform} says steps from the last {last} on"
        hint = f"leave out {field('normalize')}"
        raise OptionError(f"{message}, and not by {field('normalize')} {frame}", hint)
    return kind


def check_counts(series: Series) -> None:
    """Raise `DataError` unless all targets that are there are counts."""
    values = series.values.nan_to_num(0.0)
    wrong = (values < 0) | (values != values.round())
    if bool(wrong.any()):
        step = int(wrong.any(1).nonzero()[0, 0])
        raise no_count(f"{series.where}: step {step + 1}", float(values[wrong][0]))


def no_count(where: str, value: float) -> DataError:
    """Return the error that a value is no count, where the model is of counts."""
    hint = f"{field('loss')} normal or student-t is for other numbers"
    return DataError(f"{where} has {value:g}, which is no count", hint)
