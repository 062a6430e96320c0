"""A forecaster that is given one observation at a time, and says after each what comes next."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unrolled.data.numbers import parse_number
from unrolled.errors import DataError, OptionError, ShapeError, field
from unrolled.networks.devices import device_of
from unrolled.tasks.forecast.forecasting import Forecast
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.rows import check_levels
from unrolled.tasks.forecast.scaling import no_count
from unrolled.tasks.forecast.stream_readers import reader_of

if TYPE_CHECKING:
    from unrolled.tasks.forecast.task import ForecastTask

__all__ = ["ForecastStream"]


class ForecastStream:
    """A forecaster in the middle of one series; made by `ForecastTask.stream`.

    A direct or recursive model that takes nothing off a window which its end would change
    (`normalize` none, or differences) says what the model says of all that was pushed, read as one
    window: to read a step costs one step of the layer, however long the series is, and a recursive
    model then makes its H steps, or paths of them, from there. Every other model reads its window,
    the last L steps, anew after each, and says what `predict` says of a table that ends there;
    until L steps were pushed, and where all of the last L are missing, that is NaN.

    Args:
        task: Whose scales are used.
        model: In eval mode.
        series: The name of the series whose scale is used.
        static: What is known of the whole series: of each static column its value.

    Raises:
        DataError: A static value is no number where one is expected.
        OptionError: No such series, or a model on another device than the CPU.
        ShapeError: Another number of static values.

    Attributes:
        num_steps: That were pushed.
    """

    def __init__(
        self, task: "ForecastTask", model: Forecaster, series: str, static: Sequence[str | float]
    ) -> None:
        if (device := device_of(model)).type != "cpu":
            message = f"a stream of forecasts is of a model on the CPU, and this one is on {device}"
            raise OptionError(message, "model.cpu() brings it there")
        self._model = model
        self._scaling = task.scaling
        self._scale = task.scale_of(series)
        self._targets: tuple[str, ...] = task.options.data.target
        known = self._known_of_series(task.options.data.static, static)
        self._columns = _names_of(task)
        self._reader = reader_of(task.scaling, model, self._scale, known)
        self.num_steps = 0

    def push(
        self,
        values: Sequence[float],
        *,
        columns: Sequence[float] = (),
        future: Tensor | None = None,
    ) -> Tensor:
        """Read one observation, and return the forecast from there.

        Args:
            values: The targets, C numbers; NaN where one is missing.
            columns: What else is known of this step, P + K numbers as the table has them: those of
                `past`, of `known`, and what the calendar says, `Calendar.features`.
            future: What is known of the steps to come, (H, K), where K is not 0: those of `known`,
                and what the calendar says.

        Returns:
            The forecasts, (H, C), on the scale of the data.

        Raises:
            DataError: A value is not a finite number, or none of those that the model is of, which
                logarithms and counts have. The step is not read.
            ShapeError: Another number of values or columns, or of steps to come.
        """
        return self._push(values, (), columns, future).point

    def push_quantiles(
        self,
        values: Sequence[float],
        levels: Sequence[float],
        *,
        columns: Sequence[float] = (),
        future: Tensor | None = None,
    ) -> Forecast:
        """Read one observation as `push` does, and return the forecast with quantiles.

        Args:
            values: As of `push`.
            levels: Q probabilities, such as 0.1 and 0.9 for the ends of an interval of 80 %: any of
                a distribution; of a model of quantiles those that it learned.
            columns: As of `push`.
            future: As of `push`.

        Returns:
            The forecasts, (H, C), and their quantiles, (Q, H, C), on the scale of the data.

        Raises:
            DataError: As of `push`.
            OptionError: The model has no such quantiles. The step is not read.
            ShapeError: As of `push`.
        """
        return self._push(values, check_levels(self._model.options, levels), columns, future)

    @torch.inference_mode()
    def _push(
        self,
        values: Sequence[float],
        levels: Sequence[float],
        columns: Sequence[float],
        future: Tensor | None,
    ) -> Forecast:
        """Read one observation, and return what is said of one series, without an axis for it."""
        model, scale = self._model, self._scale
        if len(values) != model.num_targets or len(columns) != model.num_past + model.num_known:
            expected = f"{model.num_targets} values and {model.num_past + model.num_known} columns"
            got = f"{len(values)} and {len(columns)}"
            message = f"ForecastStream.push: expected {expected}, got {got}"
            raise ShapeError(message, self._hint(self._columns))
        center, width = self._scaling.columns
        ahead = (self._future(future) - center[model.num_past :]) / width[model.num_past :]
        numbers = [self._target(*each) for each in zip(self._targets, values, strict=True)]
        more = [_number("a column", value) for value in columns]
        known = (torch.tensor(more, dtype=torch.float64) - center) / width
        y = torch.tensor(numbers, dtype=torch.float64)
        scaled = (self._scaling.curve.apply(y) - scale.center) / scale.width
        self.num_steps += 1
        return self._reader.read(scaled.float(), known.float(), ahead.float()[None], levels)

    def _hint(self, names: Sequence[str]) -> str:
        """Return what stands in the columns, and where that of the calendar comes from."""
        hint = f"of a step: {', '.join(names)}" if names else ""
        if any("sine" in name for name in names):
            hint += "; task.calendar.features(numpy.array([task.calendar.place(moment)])) says what"
            hint += f" the calendar does, {field('calendar=False')} trains without"
        return hint

    def _target(self, name: str, value: float) -> float:
        """Return a value of a target, NaN of a missing one, if the model is of such values."""
        number, curve = _number(repr(name), value), self._scaling.curve
        if number <= curve.above:
            raise curve.refuse(f"ForecastStream.push: {name!r}", number)
        if self._model.head.counts and (number < 0 or number % 1 > 0):
            raise no_count(f"ForecastStream.push: {name!r}", number)
        return number

    def _known_of_series(
        self, names: Sequence[str], values: Sequence[str | float]
    ) -> tuple[Tensor, Tensor] | None:
        """Return what is known of the whole series: numbers, (1, N), and words, (1, W)."""
        if len(values) != len(names):
            expected = f"a value of each of {', '.join(names)}" if names else "no static values"
            raise ShapeError(f"ForecastStream: expected {expected}, got {len(values)}")
        if self._model.statics is None:
            return None
        texts = [str(value).strip() for value in values]
        numbers, words = self._scaling.statics.read("ForecastStream", texts)
        return self._scaling.scaled_static(numbers[None], words[None])

    def _future(self, future: Tensor | None) -> Tensor:
        """Return what is known of the steps to come, (H, K), in float64."""
        expected = (self._model.horizon, self._model.num_known)
        if not self._model.num_known:
            return torch.zeros(expected, dtype=torch.float64)
        if future is None or future.shape != expected:
            message = f"ForecastStream.push: future must be {expected}"
            raise ShapeError(message, self._hint(self._columns[self._model.num_past :]))
        if bool(future.isinf().any()):
            message = "ForecastStream.push: future has numbers that are not finite"
            raise DataError(message, "NaN is a missing one")
        return future.double()


def _names_of(task: "ForecastTask") -> list[str]:
    """Return what the columns of a step are called, in the order in which a model reads them."""
    data, names = task.options.data, [*task.options.data.past, *task.options.data.known]
    if task.calendar.unit == "row":
        names.append("the logarithm of the time since the step before, in usual ones")
    if data.calendar:
        cycles = task.calendar.cycles
        names += [f"the {wave} of the {name}" for wave in ("sine", "cosine") for name in cycles]
    return names


def _number(name: str, value: float) -> float:
    try:
        return parse_number(value)
    except (TypeError, ValueError):
        message = f"ForecastStream.push: {name} is not a finite number: {value!r}"
        raise DataError(message, "NaN is a missing one") from None
