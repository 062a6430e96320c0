"""How a stream of forecasts reads: from the state that a layer carries, or from a kept window.

Not here: what is pushed, and the checks of it (`stream.py`).
"""

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from unrolled.layers import Recurrent, SequenceLayer
from unrolled.tasks.forecast.forecasting import PATHS, Forecast, of_parameters, of_paths, unscaled
from unrolled.tasks.forecast.framing import Frame
from unrolled.tasks.forecast.methods import DirectForecaster
from unrolled.tasks.forecast.model import Forecaster, Inputs
from unrolled.tasks.forecast.recursive import Reached, RecursiveForecaster
from unrolled.tasks.forecast.rows import draws_paths
from unrolled.tasks.forecast.scales import Scale
from unrolled.tasks.forecast.scaling import Scaling

__all__ = ["StepReader", "reader_of"]

Static = tuple[Tensor, Tensor]


class StepReader(Protocol):
    """What reads a series step by step."""

    def read(
        self, values: Tensor, columns: Tensor, future: Tensor, levels: Sequence[float]
    ) -> Forecast:
        """Read a step, and return what is said of one series after it.

        Args:
            values: The targets, scaled, (C,); NaN where one is missing.
            columns: What else is known of the step, scaled, (P + K,).
            future: What is known of the steps to come, scaled, (1, H, K).
            levels: Of the quantiles that are asked for.
        """


def reader_of(
    scaling: Scaling, model: Forecaster, scale: Scale, static: Static | None
) -> StepReader:
    """Return what reads as a model needs it: with a state, wherever one can be carried on.

    Args:
        scaling: By which forecasts are put back on the scale of the data.
        model: In eval mode.
        scale: Of the series.
        static: Of the series numbers, (1, N), and indices of words, (1, W), where they are read.
    """
    options = model.options
    carries = options.method in ("direct", "recursive") and not options.is_independent
    if carries and (options.frame == "none" or model.differences):
        return _CarriedState(scaling, model, scale, static)
    return _KeptWindow(scaling, model, scale, static)


class _KeptWindow:
    """The last steps, which the model reads anew after each: all of them change with the last."""

    def __init__(
        self, scaling: Scaling, model: Forecaster, scale: Scale, static: Static | None
    ) -> None:
        self._scaling, self._model, self._scale, self._static = scaling, model, scale, static
        self._past = torch.full((model.lookback, model.num_targets), torch.nan)
        self._columns = torch.zeros(model.lookback, model.num_past + model.num_known)
        self._lacking = model.lookback

    def read(
        self, values: Tensor, columns: Tensor, future: Tensor, levels: Sequence[float]
    ) -> Forecast:
        model = self._model
        self._past = torch.cat([self._past[1:], values[None]])
        self._columns = torch.cat([self._columns[1:], columns[None]])
        self._lacking = max(0, self._lacking - 1)
        if self._lacking or bool(self._past.isnan().all()):
            point = torch.full((model.horizon, model.num_targets), torch.nan, dtype=torch.float64)
            return Forecast(point, point.expand(len(levels), -1, -1) if levels else None)
        inputs = Inputs(self._past[None], self._columns[None], future, static=self._static)
        said = None if draws_paths(model.options) else model(inputs)
        return _of_one(unscaled(self._scaling, model, said, inputs, [self._scale], levels))


class _CarriedState:
    """The state of the layer after all steps so far: to read one costs one step of the layer."""

    def __init__(
        self, scaling: Scaling, model: Forecaster, scale: Scale, static: Static | None
    ) -> None:
        self._scaling, self._model, self._scale = scaling, model, scale
        self._static = torch.zeros(0)
        if model.statics is not None and static is not None:
            with torch.inference_mode():
                self._static = model.statics(*static)[0]
        self._stream = self._state = None
        if model.options.method == "direct":
            self._stream = cast(Recurrent, model.layer).stream(1)
        else:
            self._state = cast(SequenceLayer, model.layer).initial_state(1)
        self._window = torch.full((model.lookback, model.num_targets), torch.nan)
        self._last = torch.full((max(1, model.lag), model.num_targets), torch.nan)
        self._latest = torch.zeros(model.num_targets)
        self._num_steps = 0

    def read(
        self, values: Tensor, columns: Tensor, future: Tensor, levels: Sequence[float]
    ) -> Forecast:
        model = self._model
        ahead = future.nan_to_num(0.0)
        ahead = torch.cat([ahead, self._static.expand(1, model.horizon, -1)], 2)
        known = ahead[0, 0]  # of a recursive model: of the step after this one
        if self._stream is not None:
            known = torch.cat([columns.nan_to_num(0.0), self._static])
        step = torch.cat([self._differences(values), known])[None]
        self._num_steps += 1
        frame = Frame(torch.zeros_like(values), torch.ones_like(values))
        if model.lag:
            frame = Frame(self._offset(), frame.width)
        if self._stream is None:
            output, self._state = model.layer(step[:, None], self._state)
            return self._go_on(Reached(output[:, -1], self._state), ahead, frame, levels)
        direct = cast(DirectForecaster, model)
        raw = direct.answers(self._stream.step(step), ahead)
        raw = model.together(raw, 1)
        if model.linear is not None:
            self._window = torch.cat([self._window[1:], values[None]])
            raw = model.with_location(raw, model.linear_part(self._window[None], frame))
        return self._said(raw, frame, levels)

    def _differences(self, values: Tensor) -> Tensor:
        """Return what is read of the targets: values, or differences, and marks."""
        missing = values.isnan()
        place = self._num_steps % len(self._last)
        before = self._last[place].clone()
        last = self._last[place] = torch.where(missing, before, values)
        self._latest = torch.where(missing, self._latest, values)
        read = last - before if self._model.lag else last
        marks = missing.float() if self._model.marks_missing else values[:0]
        return torch.cat([read.nan_to_num(0.0), marks])

    def _offset(self) -> Tensor:
        """Return the last value of each target, (C,), or those of the last cycle, (H, C).

        As `last_cycle`: where a place in the cycle had no value, the last one of all.
        """
        lag, horizon = self._model.lag, self._model.horizon
        if lag == 1:
            return self._latest
        last = self._last[torch.arange(self._num_steps, self._num_steps + horizon) % lag]
        return torch.where(last.isnan(), self._latest, last)

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


def _of_one(told: Forecast) -> Forecast:
    """Return the forecast of the only series."""
    return Forecast(told.point[0], None if told.quantiles is None else told.quantiles[:, 0])
