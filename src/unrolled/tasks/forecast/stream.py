"""A forecaster that is given one observation at a time, and says after each what comes next."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from unrolled.data.numbers import parse_number
from unrolled.errors import DataError, OptionError, ShapeError, field
from unrolled.layers import Recurrent, SequenceLayer
from unrolled.networks.devices import device_of
from unrolled.tasks.forecast.forecasting import PATHS, Forecast, of_parameters, of_paths
from unrolled.tasks.forecast.framing import Frame
from unrolled.tasks.forecast.methods import DirectForecaster
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.recursive import Reached, RecursiveForecaster
from unrolled.tasks.forecast.rows import check_levels, draws_paths
from unrolled.tasks.forecast.scaling import no_count

if TYPE_CHECKING:
    from unrolled.tasks.forecast.task import ForecastTask

__all__ = ["ForecastStream"]


class ForecastStream:
    """A forecaster in the middle of one series; made by `ForecastTask.stream`.

    What it says is what the model says of all that was pushed, read as one window. To read a step
    costs one step of the layer, however long the series is; a recursive model then makes its H
    steps, or paths of them, from there.

    Args:
        task: Whose scales are used.
        model: In eval mode, of method direct or recursive, which takes nothing off a window that
            its end would change: `normalize` none, or differences.
        series: The name of the series whose scale is used.
        static: What is known of the whole series: of each static column its value.

    Raises:
        DataError: A static value is no number where one is expected.
        OptionError: A model that has to look at a whole window for each forecast.
        ShapeError: Another number of static values.
    """

    def __init__(
        self, task: "ForecastTask", model: Forecaster, series: str, static: Sequence[str | float]
    ) -> None:
        options = model.options
        if options.method not in ("direct", "recursive") or options.is_independent:
            message = f"only {field('method')} direct and recursive over all targets together are "
            raise OptionError(f"{message}streamed, got {options.method}", "train another run")
        if options.frame != "none" and not model.differences:
            message = f"{field('normalize')} {options.frame} changes all steps of a window with its"
            hint = f"train with {field('normalize')} none, or {field('transform')} diff"
            raise OptionError(f"{message} end", hint)
        if (device := device_of(model)).type != "cpu":
            message = f"a stream of forecasts is of a model on the CPU, and this one is on {device}"
            raise OptionError(message, "model.cpu() brings it there")
        self._model = model
        self._scaling = task.scaling
        self._scale = task.scale_of(series)
        self._targets: tuple[str, ...] = task.options.data.target
        self._static = self._features(task.options.data.static, static)
        self._columns = _names_of(task)
        self._stream = self._state = None
        if options.method == "direct":
            self._stream = cast(Recurrent, model.layer).stream(1)
        else:
            self._state = cast(SequenceLayer, model.layer).initial_state(1)
        self._window = torch.full((model.lookback, model.num_targets), torch.nan)
        self._last = torch.full((max(1, model.lag), model.num_targets), torch.nan)
        self._latest = torch.zeros(model.num_targets)
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
            ShapeError: Another number of values or columns.
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
        ahead = self._ahead(future)
        numbers = [self._target(*each) for each in zip(self._targets, values, strict=True)]
        columns = [_number("a column", value) for value in columns]
        y = torch.tensor(numbers, dtype=torch.float64)
        scaled = ((self._scaling.curve.apply(y) - scale.center) / scale.width).float()
        step = torch.cat([self._read(scaled), self._known(columns, ahead)])[None]
        self.num_steps += 1
        frame = Frame(torch.zeros_like(scaled), torch.ones_like(scaled))
        if model.lag:
            frame = Frame(self._offset(), frame.width)
        if self._stream is None:
            output, self._state = model.layer(step[:, None], self._state)
            return self._go_on(Reached(output[:, -1], self._state), ahead, frame, levels)
        direct = cast(DirectForecaster, model)
        raw = direct.answers(self._stream.step(step), ahead)
        raw = model.together(raw, 1)
        if model.linear is not None:
            self._window = torch.cat([self._window[1:], scaled[None]])
            raw = model.with_location(raw, model.linear_part(self._window[None], frame))
        return self._said(raw, frame, levels)

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

    def _features(self, names: Sequence[str], values: Sequence[str | float]) -> Tensor:
        """Return what a step reads of what is known of the whole series, (S,)."""
        if len(values) != len(names):
            expected = f"a value of each of {', '.join(names)}" if names else "no static values"
            raise ShapeError(f"ForecastStream: expected {expected}, got {len(values)}")
        if self._model.statics is None:
            return torch.zeros(0)
        texts = [str(value).strip() for value in values]
        numbers, words = self._scaling.statics.read("ForecastStream", texts)
        with torch.inference_mode():
            read = self._scaling.scaled_static(numbers[None], words[None])
            features: Tensor = self._model.statics(*read)[0]
        return features

    def _ahead(self, future: Tensor | None) -> Tensor:
        """Return what is known of the steps to come as a model reads it, (1, H, K + S)."""
        model = self._model
        ahead = torch.zeros(1, model.horizon, model.num_known)
        if model.num_known:
            if future is None or future.shape != ahead.shape[1:]:
                message = f"ForecastStream.push: future must be {tuple(ahead.shape[1:])}"
                raise ShapeError(message, self._hint(self._columns[model.num_past :]))
            center, width = (part[model.num_past :] for part in self._scaling.columns)
            ahead = ((future.double() - center) / width).float()[None].nan_to_num(0.0)
        return torch.cat([ahead, self._static.expand(1, model.horizon, -1)], 2)

    def _read(self, scaled: Tensor) -> Tensor:
        """Return what is read of the targets: values, or differences, and marks."""
        missing = scaled.isnan()
        place = self.num_steps % len(self._last)
        before = self._last[place].clone()
        last = self._last[place] = torch.where(missing, before, scaled)
        self._latest = torch.where(missing, self._latest, scaled)
        values = last - before if self._model.lag else last
        marks = missing.float() if self._model.marks_missing else scaled[:0]
        return torch.cat([values.nan_to_num(0.0), marks])

    def _offset(self) -> Tensor:
        """Return the last value of each target, (C,), or those of the last cycle, (H, C).

        As `last_cycle`: where a place in the cycle had no value, the last one of all.
        """
        lag, horizon = self._model.lag, self._model.horizon
        if lag == 1:
            return self._latest
        last = self._last[torch.arange(self.num_steps, self.num_steps + horizon) % lag]
        return torch.where(last.isnan(), self._latest, last)

    def _known(self, columns: Sequence[float], ahead: Tensor) -> Tensor:
        """Return what else is read: of this step, by a recursive model of the one after it."""
        if self._stream is None:
            return ahead[0, 0]
        center, width = self._scaling.columns
        more = (torch.tensor(columns, dtype=torch.float64) - center) / width
        return torch.cat([more.float().nan_to_num(0.0), self._static])

    def _go_on(
        self, reached: Reached, ahead: Tensor, frame: Frame, levels: Sequence[float]
    ) -> Forecast:
        model, scale = cast(RecursiveForecaster, self._model), self._scale
        if not draws_paths(model.options):
            return self._said(model.together(model.go_on(reached, ahead), 1), frame, levels)
        steps = model.draw(reached, ahead, PATHS, model.horizon, seed=0, scales=scale.width.float())
        return _of_one(of_paths(self._scaling, model, steps + frame.offset, [scale], levels))

    def _said(self, raw: Tensor, frame: Frame, levels: Sequence[float]) -> Forecast:
        said = self._model.said(raw, frame)
        return _of_one(of_parameters(self._scaling, self._model, said, [self._scale], levels))


def _names_of(task: "ForecastTask") -> list[str]:
    """Return what the columns of a step are called, in the order in which a model reads them."""
    data, names = task.options.data, [*task.options.data.past, *task.options.data.known]
    if task.calendar.unit == "row":
        names.append("the logarithm of the time since the step before, in usual ones")
    if data.calendar:
        cycles = task.calendar.cycles
        names += [f"the {wave} of the {name}" for wave in ("sine", "cosine") for name in cycles]
    return names


def _of_one(told: Forecast) -> Forecast:
    """Return the forecast of the only series."""
    return Forecast(told.point[0], None if told.quantiles is None else told.quantiles[:, 0])


def _number(name: str, value: float) -> float:
    try:
        return parse_number(value)
    except (TypeError, ValueError):
        message = f"ForecastStream.push: {name} is not a finite number: {value!r}"
        raise DataError(message, "NaN is a missing one") from None
