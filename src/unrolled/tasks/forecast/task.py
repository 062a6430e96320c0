"""Forecasting: the next steps of series of numbers, from windows of the steps before them.

    data = DataOptions(file="airline.csv", time="Month", target=("Passengers",), horizon=12)
    prepared = prepare(ForecastTask, data, Path("runs/airline"))      # tasks/runs.py

Tables are read by reader.py, cut into windows by windows.py; the network is in model.py.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from unrolled.data.source import Source
from unrolled.metrics import Metric
from unrolled.networks.devices import moved
from unrolled.tasks.examples_task import ExamplesTask
from unrolled.tasks.forecast.ends import ends_of_source
from unrolled.tasks.forecast.exports import ForecasterGraphs
from unrolled.tasks.forecast.fitted import Fitted
from unrolled.tasks.forecast.forecasting import Forecast, forecast
from unrolled.tasks.forecast.heads import make_head
from unrolled.tasks.forecast.measures import metrics_of
from unrolled.tasks.forecast.measuring import (
    baseline_figures,
    beside_naive,
    measure,
    spread_of,
    total_loss,
)
from unrolled.tasks.forecast.methods import make_forecaster
from unrolled.tasks.forecast.model import Forecaster, Inputs
from unrolled.tasks.forecast.options import (
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.forecast.page_network import page_network
from unrolled.tasks.forecast.parts import read_splits, take_in, windows_of_table
from unrolled.tasks.forecast.predicting import heading_of, predictions
from unrolled.tasks.forecast.rows import draws_paths, says_one_number, to_text
from unrolled.tasks.forecast.scales import Scale
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.start import begin
from unrolled.tasks.forecast.stream import ForecastStream
from unrolled.tasks.forecast.subject import ForecastSubject
from unrolled.tasks.forecast.transforms import lag_of
from unrolled.tasks.forecast.windows import Window, apart, check_sizes
from unrolled.tasks.page_network import NotInPageError, PageNetwork
from unrolled.tasks.task import OptionClasses, Splits, TaskOptions

__all__ = ["Forecast", "ForecastTask"]


class ForecastTask(ExamplesTask[Window]):
    """The next steps of series.

    Args:
        options: What was chosen.
        fitted: What was found in what is learned from.
    """

    name = "forecast"
    terms = "values"
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(self, options: TaskOptions, fitted: Fitted) -> None:
        super().__init__(options)
        self.fitted = fitted
        self._head = make_head(options.model.learns, options.model.levels)
        self.calendar = fitted.calendar
        self.sizes = fitted.sizes
        lookback, season = fitted.sizes.lookback, fitted.calendar.season
        self.scaling = Scaling(
            options, fitted.scales, fitted.columns, lookback, season, fitted.statics
        )

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the figures mean: MASE first, where a series has a seasonal error to divide by."""
        return metrics_of(self.options.model.learns, self.scaling.scales.values())

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
        return cls(options, Fitted.of(options, splits))

    def to_dict(self) -> dict[str, Any]:
        """Return the calendar, sizes and scales."""
        return self.fitted.to_dict(self.options.data.target)

    @classmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        return cls(options, Fitted.from_dict(options.data, content))

    def make_model(self, options: ModelOptions) -> Forecaster:
        """Return a new forecaster for these series."""
        num_past = len(self.options.data.past)
        return make_forecaster(
            options,
            num_targets=len(self.options.data.target),
            num_past=num_past,
            num_known=len(self.scaling.columns[0]) - num_past,
            lookback=self.sizes.lookback,
            horizon=self.sizes.horizon,
            marks_missing=self.fitted.marks_missing,
            static=self.fitted.statics.sizes,
            lag=lag_of(self.options.data.transform, self.calendar.season),
        )

    def initialize(self, model: nn.Module, splits: Splits[Window]) -> None:
        """Begin with a linear forecast, `start.py`, and with the spread of its errors.

        The network's own answer begins at 0.
        """
        forecaster = cast(Forecaster, model)
        if forecaster.linear is not None:
            name = begin(forecaster, self.scaling, splits.training, self.calendar.season)
            splits.notes.append(f"the linear forecast begins as {name}")

    def length(self, example: Window) -> int:  # noqa: ARG002  # all alike
        """Return the steps that are looked at."""
        return self.sizes.lookback

    def loss(self, model: nn.Module, examples: Sequence[Window]) -> tuple[Tensor, int]:
        """Return the sum of the losses of values that are there, and of how many."""
        inputs, scales = moved(self.scaling.batch(examples), model)
        return total_loss(self._head, model(inputs), inputs, scales)

    def evaluate(self, model: nn.Module, examples: Sequence[Window]) -> dict[str, Any]:
        """Return the figures, the loss, and whether a naive forecast is worse beyond chance."""
        measured = measure(self.scaling, cast(Forecaster, model), examples)
        figures = measured.figures
        figures["verdict"] = beside_naive(self.scaling, measured, examples)
        return figures

    def monitor(self, model: nn.Module, examples: Sequence[Window]) -> dict[str, float]:
        """Return the figures that rank."""
        figures = measure(self.scaling, cast(Forecaster, model), examples).figures
        names = [metric.name for metric in self.metrics if metric.better]
        return {name: figures[name] for name in names if name in figures}

    @torch.inference_mode()
    def calibrate(self, model: nn.Module, held_out: Sequence[Window]) -> str | None:
        """Make intervals as wide as held-out values ask for; return how wide, if there are any."""
        forecaster = cast(Forecaster, model)
        forecaster.spread.fill_(1.0)
        spread = spread_of(self.scaling, forecaster, held_out)
        if spread is None:
            return None
        forecaster.spread.fill_(spread)
        return f"intervals are {spread:.3g} times as wide as learned, by the held-out values"

    def baselines(
        self, training: Sequence[Window], examples: Sequence[Window]
    ) -> dict[str, dict[str, Any]]:
        """Return the figures of forecasts without a network."""
        names = {metric.name for metric in self.metrics}
        return baseline_figures(self.scaling, training, examples, names)

    def read_examples(self, path: Path) -> tuple[Sequence[Window], list[str]]:
        """Return all windows of a table with the columns of the training, and notes.

        A series that training did not have is scaled by the first steps that a window looks at.

        Raises:
            DataError: The table cannot be used, or no series is long enough.
        """
        return windows_of_table(path, self.options.data, self.calendar, self.sizes, self.scaling)

    def predict(
        self, model: nn.Module, source: Source, options: PredictOptions
    ) -> Iterator[dict[str, Any]]:
        """Return each step that comes after the end of each series, target by target.

        What is typed, and not a file, has in each line the last steps of a series: values between
        commas, targets between colons. Of such a line all steps are one prediction.

        Where scores are asked for, return each step that was observed instead, with how unlikely it
        was (`scores.py`).

        Raises:
            DataError: The table cannot be used, is shorter than what a forecast looks at, or lacks
                what is to be known in advance.
            OptionError: A horizon or an interval that the model does not have.
        """
        forecaster = cast(Forecaster, model)
        return predictions(source, options, self.options, self.fitted, self.scaling, forecaster)

    def ends(self, source: Source, horizon: int | None = None) -> Iterator[Window]:
        """Return the window at the end of each series, what comes next being unknown.

        Args:
            source: A table; or lines that were typed, `predict`.
            horizon: Steps that are asked for; None for those of the training.

        Raises:
            DataError: As of `predict`.
        """
        horizon = horizon or self.sizes.horizon
        return ends_of_source(source, self.options.data, self.fitted, self.scaling, horizon)

    def heading(self, options: PredictOptions) -> str:
        """Return the names of what stands in a line of a prediction."""
        return heading_of(self.options, options)

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return a step as a line of a table; of what was typed a line for each step."""
        return to_text(prediction)

    @property
    def predict_options(self) -> tuple[str, ...]:
        """The options of a prediction of what is typed; of one number there is no interval."""
        left_out = {"scores"} | ({"interval"} if says_one_number(self.options.model) else set())
        return tuple(name for name in super().predict_options if name not in left_out)

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
        return apart(examples)[: max(1, -(-num_steps // self.sizes.lookback))]

    def check_start(self, splits: Splits[Window]) -> None:
        """Raise `DataError` unless windows are as long as those of the run to start from.

        Series that it did not have get scales of their own.
        """
        check_sizes(splits.training[0], self.sizes)
        take_in(splits, self.scaling)

    def graphs(self, model: nn.Module) -> ForecasterGraphs:
        """Return what is exported of a model.

        Raises:
            OptionError: A recursive one.
        """
        return ForecasterGraphs(self, model)

    def page_network(self, model: nn.Module) -> PageNetwork:
        """Return what describes a model to a page that computes it.

        Raises:
            NotInPageError: It also reads columns, or draws paths.
        """
        data = self.options.data
        if others := (*data.past, *data.known, *data.static):
            raise NotInPageError("columns", names=", ".join(others))
        if draws_paths(self.options.model):
            raise NotInPageError("paths")
        return partial(page_network, model=cast(Forecaster, model), task=self)

    def subject(self, model: nn.Module) -> ForecastSubject:
        """Return the forecaster and what it reads."""
        return ForecastSubject(cast(Forecaster, model), self)

    def stream(
        self, model: nn.Module, series: str = "", static: Sequence[str | float] = ()
    ) -> ForecastStream:
        """Return a forecaster that is given one observation at a time.

        Args:
            model: In eval mode.
            series: The name of the series whose scale is used.
            static: Of each static column its value.

        Raises:
            DataError: A static value is no number where one is expected.
            OptionError: No such series, or a model on another device than the CPU.
            ShapeError: Another number of static values.
        """
        return ForecastStream(self, cast(Forecaster, model), series, static)

    def scale_of(self, series: str) -> Scale:
        """Return the scale of a series by its name.

        Raises:
            OptionError: Training had none of that name.
        """
        return self.scaling.named(series)

    def inputs(self, windows: Sequence[Window]) -> Inputs:
        """Return what the model reads of windows, scaled; targets NaN where they are not known."""
        return self.scaling.batch(windows)[0]

    def forecast(
        self, model: Forecaster, windows: Sequence[Window], levels: Sequence[float]
    ) -> Forecast:
        """Return what is said of windows, on the scale of the data."""
        return forecast(self.scaling, model, windows, levels)
