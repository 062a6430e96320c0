"""Forecasting: the next steps of series of numbers, from windows of the steps before them.

    data = DataOptions(file="airline.csv", time="Month", target=("Passengers",), horizon=12)
    prepared = prepare(ForecastTask, data, Path("runs/airline"))      # tasks/runs.py

Tables are read by reader.py, cut into windows by windows.py; the network is in model.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from unrolled.data.batching import batches_by_length
from unrolled.data.content import flag_of, numbers_of, strings_of, whole_number_of
from unrolled.data.source import Source
from unrolled.errors import DataError, OptionError, field
from unrolled.metrics import Metric
from unrolled.tasks.forecast.baselines import (
    baseline_forecasts,
    naive,
    seasonal_naive,
    too_many_to_smooth,
)
from unrolled.tasks.forecast.ends import ends_of_table, typed_ends
from unrolled.tasks.forecast.figure import Drawn
from unrolled.tasks.forecast.heads import make_head
from unrolled.tasks.forecast.measures import METRICS, Tally, verdict
from unrolled.tasks.forecast.model import Forecaster, Inputs
from unrolled.tasks.forecast.options import (
    DISTRIBUTIONS,
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.forecast.parts import read_splits
from unrolled.tasks.forecast.reader import Series, read_panel
from unrolled.tasks.forecast.rows import (
    as_one,
    ends_of_interval,
    says_one_number,
    to_rows,
    to_text,
)
from unrolled.tasks.forecast.scales import Scale, column_scale
from unrolled.tasks.forecast.scaling import Scaling, kind_of_scale
from unrolled.tasks.forecast.start import find_start
from unrolled.tasks.forecast.stream import ForecastStream
from unrolled.tasks.forecast.subject import ForecastSubject
from unrolled.tasks.forecast.times import Calendar
from unrolled.tasks.forecast.windows import Sizes, Window, windows_of
from unrolled.tasks.task import ExamplesTask, OptionClasses, Splits, TaskOptions

__all__ = ["Forecast", "ForecastTask"]

_AT_ONCE = 256  # windows that are forecast together
_LEVELS = tuple(level / 20 for level in range(1, 20))  # that a distribution is measured at
_PATHS = 100
_SEEN_AT_START = 5000  # windows that the linear forecast of a new model is fitted to


class Forecast(NamedTuple):
    """What is said of windows, on the scale of the data.

    point: (B, H, C).
    quantiles: (Q, B, H, C); None of a model that says one number.
    """

    point: Tensor
    quantiles: Tensor | None


class ForecastTask(ExamplesTask[Window]):
    """The next steps of series.

    Args:
        options: What was chosen.
        calendar: Of all series.
        sizes: Of windows.
        scales: Of the series by their names.
        columns: What is taken off other columns and what they are divided by, (P + K,) each.
        marks_missing: Whether a step also says which targets are missing.
        last_place: Where the first series ended: what is typed without times ends there too.
    """

    name = "forecast"
    terms = "values"
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(
        self,
        options: TaskOptions,
        calendar: Calendar,
        sizes: Sizes,
        scales: dict[str, Scale],
        columns: tuple[Tensor, Tensor],
        marks_missing: bool,
        last_place: float,
    ) -> None:
        super().__init__(options)
        self.calendar = calendar
        self.sizes = sizes
        self.scaling = Scaling(options, scales, columns, sizes.lookback, calendar.season)
        self.marks_missing = marks_missing
        self.last_place = last_place
        self._head = make_head(options.model.learns, options.model.levels)

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the figures mean: MASE first, where a series has a seasonal error to divide by."""
        has_scale = any(bool((~scale.is_constant).any()) for scale in self.scaling.scales.values())
        metrics = METRICS if has_scale else METRICS[1:]
        unit = "nats" if self.options.model.learns in DISTRIBUTIONS else ""
        return (*metrics, Metric("loss", "lower", unit and f"{unit}/value"))

    @classmethod
    def files(cls, data: DataOptions) -> list[Path]:
        """Return the table."""
        return [Path(data.file)]

    @classmethod
    def read(cls, options: TaskOptions) -> Splits[Window]:
        """Return the windows of all series, each in the part in which its horizon lies.

        Raises:
            DataError: The table cannot be used, or no series is long enough.
        """
        return read_splits(options.data)

    @classmethod
    def fit(cls, options: TaskOptions, splits: Splits[Window]) -> Self:
        """Return the task with the scales of what is learned from."""
        data: DataOptions = options.data
        kind = kind_of_scale(options)
        first = splits.training[0]
        learned = {w.series: w.learned for w in splits.training}
        scales = {}
        for series, end in learned.items():
            values = series.values[:end]
            if options.model.learns == "negative-binomial":
                _check_counts(series)
            scale = Scale.fit(values, kind=kind, log=data.log, season=first.calendar.season)
            scales[series.id] = scale
        num_constant = sum(bool(scale.is_constant.any()) for scale in scales.values())
        if num_constant:
            these = "1 series does" if num_constant == 1 else f"{num_constant:,} series do"
            splits.notes.append(f"{these} not change in what is learned from: no MASE of it")
        if too_many_to_smooth(learned):
            splits.notes.append("too many steps for exponential smoothing: no ETS beside the model")
        past = [series.past[:end] for series, end in learned.items()]
        known = [series.known[:end, : series.num_columns] for series, end in learned.items()]
        columns = torch.cat([torch.cat(past), torch.cat(known)], 1)
        center, width = column_scale(columns)
        extra = first.series.known.shape[1] - first.series.num_columns  # sines and cosines
        center = torch.cat([center, center.new_zeros(extra)])
        width = torch.cat([width, width.new_ones(extra)])
        marks = any(bool(series.values[:end].isnan().any()) for series, end in learned.items())
        last_place = first.series.places[len(first.series) - 1]
        fitted = (first.calendar, first.sizes, scales, (center, width), marks, last_place)
        return cls(options, *fitted)

    def to_dict(self) -> dict[str, Any]:
        """Return the calendar, sizes and scales."""
        center, width = self.scaling.columns
        return {
            "targets": list(self.options.data.target),
            "calendar": self.calendar.to_dict(),
            "lookback": self.sizes.lookback,
            "horizon": self.sizes.horizon,
            "marks_missing": self.marks_missing,
            "last_place": float(self.last_place),
            "columns": {"center": center.tolist(), "width": width.tolist()},
            "series": {name: scale.to_dict() for name, scale in self.scaling.scales.items()},
        }

    @classmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        data: DataOptions = options.data
        if tuple(strings_of(content, "targets", least=1)) != data.target:
            raise ValueError(f"targets must be {', '.join(data.target)}")
        calendar = Calendar.from_dict(content["calendar"])
        lookback = whole_number_of(content, "lookback", least=1)
        horizon = whole_number_of(content, "horizon", least=1)
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
        return cls(options, calendar, sizes, scales, (columns[0], columns[1]), marks, place)

    def make_model(self, options: ModelOptions) -> Forecaster:
        """Return a new forecaster for these series."""
        num_past = len(self.options.data.past)
        return Forecaster(
            options,
            num_targets=len(self.options.data.target),
            num_past=num_past,
            num_known=len(self.scaling.columns[0]) - num_past,
            lookback=self.sizes.lookback,
            horizon=self.sizes.horizon,
            marks_missing=self.marks_missing,
        )

    @torch.no_grad()
    def initialize(self, model: nn.Module, splits: Splits[Window]) -> None:
        """Begin with a linear forecast, `start.py`, and with the spread of its errors.

        The network's own answer begins at 0.
        """
        forecaster = cast(Forecaster, model)
        if forecaster.linear is None:
            return
        ordered = sorted(splits.training, key=lambda window: window.series.places[window.origin])
        inputs, _ = self.scaling.batch(ordered[:: -(-len(ordered) // _SEEN_AT_START)])
        assert inputs.targets is not None
        frame = forecaster.frame(inputs.past)
        targets = (inputs.targets - frame.offset) / frame.width
        start = find_start(forecaster.filled(inputs.past, frame), targets, self.calendar.season)
        forecaster.linear.weight.copy_(start.weights)
        forecaster.linear.bias.zero_()
        forecaster.begin_with(start.residuals)
        splits.notes.append(f"the linear forecast begins as {start.name}")

    def length(self, example: Window) -> int:  # noqa: ARG002  # all alike
        """Return the steps that are looked at."""
        return self.sizes.lookback

    def loss(self, model: nn.Module, examples: Sequence[Window]) -> tuple[Tensor, int]:
        """Return the sum of the losses of values that are there, and of how many."""
        inputs, scales = self.scaling.batch(examples)
        return self._loss(model(inputs), inputs, scales)

    def evaluate(self, model: nn.Module, examples: Sequence[Window]) -> dict[str, Any]:
        """Return the figures, the loss, and whether a naive forecast is worse beyond chance."""
        figures, tally = self._measure(cast(Forecaster, model), examples)
        others = {"naive": naive}
        if self.calendar.season > 1:
            others["seasonal naive"] = seasonal_naive
        tallies = {name: self._tally(forecasts, examples) for name, forecasts in others.items()}
        errors = {name: torch.cat(each.errors) for name, each in tallies.items()}
        name = min(errors, key=lambda name: float(errors[name].mean()))
        figures["verdict"] = verdict(
            torch.cat(tally.errors),
            errors[name],
            [example.series.places[example.origin] for example in examples],
            overlap=-(-self.sizes.horizon // self.options.data.stride),
            name=f"the {name} forecast",
        )
        return figures

    def monitor(self, model: nn.Module, examples: Sequence[Window]) -> dict[str, float]:
        """Return the figures that rank."""
        figures, _ = self._measure(cast(Forecaster, model), examples)
        names = [metric.name for metric in self.metrics if metric.better]
        return {name: figures[name] for name in names if name in figures}

    def baselines(
        self, training: Sequence[Window], examples: Sequence[Window]
    ) -> dict[str, dict[str, Any]]:
        """Return the figures of forecasts without a network."""
        forecasts = baseline_forecasts(training, examples)
        names = {metric.name for metric in self.metrics}
        figures = {name: self._tally(each, examples).figures() for name, each in forecasts.items()}
        return {
            name: {key: value for key, value in each.items() if key in names}
            for name, each in figures.items()
        }

    def read_examples(self, path: Path) -> tuple[list[Window], list[str]]:
        """Return all windows of a table with the columns of the training, and notes.

        A series that training did not have is scaled by the first steps that a window looks at.

        Raises:
            DataError: The table cannot be used, or no series is long enough.
        """
        series, calendar, notes = read_panel(path, self.options.data, calendar=self.calendar)
        windows: list[Window] = []
        num_new = 0
        for one in series:
            if one.id not in self.scaling.scales:
                num_new += 1
                self.scaling.add(one, one.values[: self.sizes.lookback])
            cut = partial(windows_of, one, sizes=self.sizes, learned=len(one), calendar=calendar)
            windows.extend([*cut(0, len(one))][:: self.options.data.stride])
        if not windows:
            needed = sum(self.sizes)
            message = f"{path}: no series has {needed:,} steps: {self.sizes.lookback:,} to look at"
            raise DataError(f"{message} and {self.sizes.horizon:,} to forecast", "give more steps")
        if num_new:
            these = "1 series is" if num_new == 1 else f"{num_new:,} series are"
            notes.append(f"{these} new, and scaled by the steps before the first forecast")
        return windows, notes

    def predict(
        self, model: nn.Module, source: Source, options: PredictOptions
    ) -> Iterator[dict[str, Any]]:
        """Yield each step that comes after the end of each series, target by target.

        What is typed, and not a file, has in each line the last steps of a series: values between
        commas, targets between colons. Of such a line all steps are one prediction.

        Raises:
            DataError: The table cannot be used, is shorter than what a forecast looks at, or lacks
                what is to be known in advance.
            OptionError: A horizon or an interval that the model does not have.
        """
        forecaster = cast(Forecaster, model)
        horizon = self._horizon(options)
        levels = ends_of_interval(self.options.model, options.interval)
        targets, named = self.options.data.target, self.options.data.id is not None
        for window in self.ends(source, horizon):
            point, quantiles = self.forecast(forecaster, [window], levels or ())
            said = {"forecast": point[0, :horizon]}
            if quantiles is not None:
                said |= dict(zip(("low", "high"), quantiles[:, 0, :horizon], strict=True))
            if source.path is None:
                yield as_one(window, said, targets)
            else:
                yield from to_rows(window, said, targets, named=named)

    def ends(self, source: Source, horizon: int | None = None) -> Iterator[Window]:
        """Yield the window at the end of each series, what comes next being unknown.

        Args:
            source: A table; or lines that were typed, `predict`.
            horizon: Steps that are asked for; None for those of the training.

        Raises:
            DataError: As of `predict`.
        """
        data, calendar = self.options.data, self.calendar
        horizon = horizon or self.sizes.horizon
        if source.path is None:
            yield from typed_ends(
                source,
                data,
                calendar,
                self.sizes,
                horizon=horizon,
                last_place=self.last_place,
                name=next(iter(self.scaling.scales)),
            )
            return
        for window in ends_of_table(source.path, data, calendar, self.sizes, horizon):
            if window.series.id not in self.scaling.scales:
                self.scaling.add(window.series, window.series.values)
            yield window

    @property
    def heading(self) -> str:
        """The names of what stands in a line of a prediction."""
        names = ["id"] * (self.options.data.id is not None)
        ends = [] if says_one_number(self.options.model) else ["low", "high"]
        return "\t".join([*names, "time", "target", "forecast", *ends])

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return a step as a line of a table; of what was typed a line for each step."""
        return to_text(prediction)

    @property
    def predict_options(self) -> tuple[str, ...]:
        """The options of a prediction; of one number there is no interval."""
        one = says_one_number(self.options.model)
        return tuple(name for name in super().predict_options if not (one and name == "interval"))

    @property
    def own_source(self) -> Source:
        """The table of the training: what is forecast where nobody names another."""
        return Source.file(Path(self.options.data.file), self.options.data.encoding)

    @property
    def commands(self) -> tuple[str, ...]:
        """What these runs are for: without a file, the series of the training go on."""
        return "predict RUN", "evaluate RUN FILE"

    def describe(self, splits: Splits[Window]) -> str:
        """Return what is learned from: windows, and what they look at."""
        lookback, horizon = self.sizes
        words = super().describe(splits).replace("examples", "windows")
        return f"{words}; {lookback:,} steps to look at, {horizon:,} to forecast"

    def beginning(self, examples: Sequence[Window], num_steps: int) -> list[Window]:
        """Return windows that do not share what they look at, of so many steps together."""
        return self.apart(examples)[: max(1, -(-num_steps // self.sizes.lookback))]

    def check_start(self, splits: Splits[Window]) -> None:
        """Raise `DataError` unless windows are as long as those of the run to start from."""
        first = splits.training[0]
        if first.sizes != self.sizes:
            mine, theirs = first.sizes, self.sizes
            message = f"{first.series.where}: windows of {mine.lookback} and {mine.horizon} steps, "
            message += f"but the run to start from has {theirs.lookback} and {theirs.horizon}"
            hint = f"{field('lookback')} {theirs.lookback}, {field('horizon')} {theirs.horizon}"
            raise DataError(message, hint)
        for series, learned in {w.series: w.learned for w in splits.training}.items():
            if series.id not in self.scaling.scales:
                self.scaling.add(series, series.values[:learned])

    def subject(self, model: nn.Module) -> ForecastSubject:
        """Return the forecaster and what it reads."""
        return ForecastSubject(cast(Forecaster, model), self)

    def stream(self, model: nn.Module, series: str = "") -> ForecastStream:
        """Return a forecaster that is given one observation at a time.

        Args:
            model: In eval mode.
            series: The name of the series whose scale is used.

        Raises:
            OptionError: A model that looks at a whole window for each forecast, or no such series.
        """
        return ForecastStream(self, cast(Forecaster, model), series)

    def scale_of(self, series: str) -> Scale:
        """Return the scale of a series by its name.

        Raises:
            OptionError: Training had none of that name.
        """
        if series not in self.scaling.scales:
            known = ", ".join(map(repr, [*self.scaling.scales][:10]))
            raise OptionError(f"no series {series!r} in what was learned from", f"there is {known}")
        return self.scaling.scales[series]

    def inputs(self, windows: Sequence[Window]) -> Inputs:
        """Return what the model reads of windows, scaled; targets NaN where they are not known."""
        return self.scaling.batch(windows)[0]

    @torch.inference_mode()
    def forecast(
        self, model: Forecaster, windows: Sequence[Window], levels: Sequence[float]
    ) -> Forecast:
        """Return what is said of windows, on the scale of the data."""
        inputs, scales = self.scaling.batch(windows)
        said = None if self._draws_paths else model(inputs._replace(targets=None))
        return self._unscaled(model, said, inputs, scales, levels)

    def _unscaled(
        self,
        model: Forecaster,
        said: Tensor | None,
        inputs: Inputs,
        scales: Sequence[Scale],
        levels: Sequence[float],
    ) -> Forecast:
        """Return parameters, (B, H, C, R), as forecasts; where they are None, paths are drawn."""
        center = torch.stack([scale.center for scale in scales])[:, None]
        width = torch.stack([scale.width for scale in scales])[:, None]
        quantiles: Tensor | None
        if said is None:
            horizon = inputs.future.shape[1]
            drawn = model.paths(inputs, _PATHS, horizon, seed=0, scales=width[:, 0].float())
            paths = drawn.double() * width + center
            is_mean = self.options.model.learns != "student-t"
            point = paths.mean(0) if is_mean else paths.median(0).values
            quantiles = torch.quantile(paths, paths.new_tensor(levels), 0) if levels else None
        else:
            parameters = model.head.moved(said.double(), center, width)
            point = model.head.point(parameters)
            quantiles = model.head.quantiles(parameters, levels) if levels else None
        if self.options.data.log:
            point = point.exp()
            quantiles = None if quantiles is None else quantiles.exp()
        return Forecast(point, quantiles)

    @staticmethod
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

    def drawn(self, model: Forecaster, windows: Sequence[Window], num_steps: int) -> list[Drawn]:
        """Return the targets of the series of the first window, with forecasts from there on.

        Each forecast begins where the one before it ends.

        Args:
            model: In eval mode.
            windows: At least one.
            num_steps: Of the series, at most.
        """
        series = windows[0].series
        start = max(0, windows[0].origin - self.sizes.lookback)
        stop = start + num_steps
        last = min(stop, len(series) - self.sizes.horizon + 1)
        origins = range(windows[0].origin, max(last, windows[0].origin + 1), self.sizes.horizon)
        shown = [replace(windows[0], origin=origin) for origin in origins]
        levels = ends_of_interval(self.options.model, None) or ()
        forecasts = [self.forecast(model, [window], levels) for window in shown]
        texts = [self.calendar.text(place) for place in series.places[: stop + self.sizes.horizon]]
        drawn = []
        for column, target in enumerate(self.options.data.target):
            truth = series.values[start:stop, column].tolist()
            lines = []
            for window, forecast in zip(shown, forecasts, strict=True):
                times = texts[window.origin : window.origin + self.sizes.horizon]
                low: list[float] = []
                high: list[float] = []
                if forecast.quantiles is not None:
                    low, high = forecast.quantiles[:, 0, :, column].tolist()
                lines.append((times, forecast.point[0, :, column].tolist(), low, high))
            name = f"{target} of {series.id}" if series.id else target
            known = [None if value != value else value for value in truth]
            drawn.append(Drawn(texts[start : start + len(known)], known, lines, name))
        return drawn

    @property
    def _draws_paths(self) -> bool:
        options: ModelOptions = self.options.model
        return options.method == "recursive" and options.learns in DISTRIBUTIONS

    @property
    def _levels(self) -> tuple[float, ...]:
        """The levels that a model is measured at."""
        options: ModelOptions = self.options.model
        if says_one_number(self.options.model):
            return ()
        return options.levels if options.learns == "quantile" else _LEVELS

    def _loss(self, said: Tensor, inputs: Inputs, scales: Sequence[Scale]) -> tuple[Tensor, int]:
        head, targets = self._head, inputs.targets
        assert targets is not None
        if head.counts:
            width = torch.stack([scale.width for scale in scales])[:, None].float()
            said, targets = head.moved(said, torch.zeros_like(width), width), targets * width
        there = ~targets.isnan()
        losses = head.losses(said, targets.nan_to_num(0.0))
        return losses[there].sum(), int(there.sum())

    @torch.inference_mode()
    def _measure(
        self, model: Forecaster, examples: Sequence[Window]
    ) -> tuple[dict[str, Any], Tally]:
        tally, total, count, levels = Tally(), 0.0, 0, self._levels
        ends = None
        if levels:
            low, high = (0, len(levels) - 1) if levels != _LEVELS else (1, len(levels) - 2)
            ends = (low, high) if low < high else None
        for batch in batches_by_length([1] * len(examples), _AT_ONCE):
            windows = [examples[index] for index in batch]
            inputs, scales = self.scaling.batch(windows)
            said = model(inputs)
            loss, terms = self._loss(said, inputs, scales)
            total, count = total + loss.item(), count + terms
            if self.options.model.method == "recursive" and self.options.model.reads_truth:
                said = None if self._draws_paths else model(inputs._replace(targets=None))
            point, quantiles = self._unscaled(model, said, inputs, scales, levels)
            self._add(tally, windows, point, quantiles, levels, ends)
        figures: dict[str, Any] = {**tally.figures(), "loss": total / max(1, count)}
        if ends is not None:
            low_level, high_level = (levels[end] for end in ends)
            share = high_level - low_level
            figures["interval"] = (
                f"from {low_level:g} to {high_level:g}: coverage should be {share:g}"
            )
        elif "coverage" in figures:
            del figures["coverage"]
        return figures, tally

    def _tally(self, forecasts: Any, examples: Sequence[Window]) -> Tally:
        tally = Tally()
        for batch in batches_by_length([1] * len(examples), _AT_ONCE):
            windows = [examples[index] for index in batch]
            self._add(tally, windows, forecasts(windows))
        return tally

    def _add(
        self,
        tally: Tally,
        windows: Sequence[Window],
        point: Tensor,
        quantiles: Tensor | None = None,
        levels: Sequence[float] = (),
        interval: tuple[int, int] | None = None,
    ) -> None:
        scales = [self.scaling.scale(window.series) for window in windows]
        targets = [w.series.values[w.origin : w.origin + self.sizes.horizon] for w in windows]
        tally.add(
            point,
            torch.stack(targets),
            deviation=torch.stack([scale.deviation for scale in scales]),
            seasonal_error=torch.stack([scale.seasonal_error for scale in scales]),
            quantiles=quantiles,
            levels=levels,
            interval=interval,
        )

    def _horizon(self, options: PredictOptions) -> int:
        horizon = options.horizon or self.sizes.horizon
        if horizon > self.sizes.horizon and not self._draws_paths:
            message = f"{field('horizon')} is {horizon}, but the model makes {self.sizes.horizon}"
            hint = f"train with {field('horizon')} {horizon}; {field('method')} recursive with a "
            raise OptionError(f"{message} steps", f"{hint}distribution makes any number")
        return horizon


def _check_counts(series: Series) -> None:
    values = series.values.nan_to_num(0.0)
    wrong = (values < 0) | (values != values.round())
    if bool(wrong.any()):
        step = int(wrong.any(1).nonzero()[0, 0])
        message = f"{series.where}: step {step + 1} has {values[wrong][0]:g}, which is no count"
        raise DataError(message, f"{field('loss')} normal or student-t is for other numbers")
