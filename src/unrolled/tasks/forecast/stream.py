"""A forecaster that is given one observation at a time, and says after each what comes next."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from unrolled.errors import OptionError, ShapeError, field
from unrolled.layers import Recurrent
from unrolled.tasks.forecast.methods import DirectForecaster
from unrolled.tasks.forecast.model import Forecaster

if TYPE_CHECKING:
    from unrolled.tasks.forecast.task import ForecastTask

__all__ = ["ForecastStream"]


class ForecastStream:
    """A direct forecaster in the middle of one series; made by `ForecastTask.stream`.

    What it says is what the model says of all that was pushed, read as one window. A step costs one
    step of the layer, however long the series is.

    Args:
        task: Whose scales are used.
        model: In eval mode, of method direct, without a frame of the window.
        series: The name of the series whose scale is used.

    Raises:
        OptionError: A model that has to look at a whole window for each forecast.
    """

    def __init__(self, task: "ForecastTask", model: Forecaster, series: str) -> None:
        options = model.options
        if options.method != "direct" or options.is_independent:
            message = f"only {field('method')} direct over all targets together is streamed"
            raise OptionError(f"{message}, got {options.method}", "train another run")
        if options.frame != "none":
            message = (
                f"{field('normalize')} {options.frame} changes all steps of a window with its "
            )
            raise OptionError(f"{message}end", f"train with {field('normalize')} none")
        self._model = cast(DirectForecaster, model)
        self._scale = task.scale_of(series)
        self._curve = task.scaling.curve
        self._columns = task.scaling.columns
        layer = cast(Recurrent, model.layer)
        self._stream = layer.stream(1)
        self._window = torch.full((model.lookback, model.num_targets), torch.nan)
        self._last = torch.zeros(model.num_targets)
        self.num_steps = 0

    @torch.inference_mode()
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
            columns: What else is known of this step: P + K numbers, as `Forecaster` reads them.
            future: What is known of the steps to come, (H, K), where K is not 0.

        Returns:
            The forecasts, (H, C), on the scale of the data.

        Raises:
            ShapeError: Another number of values or columns.
        """
        model, scale = self._model, self._scale
        if len(values) != model.num_targets or len(columns) != model.num_past + model.num_known:
            expected = f"{model.num_targets} values and {model.num_past + model.num_known} columns"
            got = f"{len(values)} and {len(columns)}"
            raise ShapeError(f"ForecastStream.push: expected {expected}, got {got}")
        y = torch.tensor(values, dtype=torch.float64)
        y = (self._curve.apply(y) - scale.center) / scale.width
        scaled = y.float()
        missing = scaled.isnan()
        self._last = torch.where(missing, self._last, scaled)
        parts = [self._last]
        if model.marks_missing:
            parts.append(missing.float())
        if len(columns):
            center, width = self._columns
            more = (torch.tensor(columns, dtype=torch.float64) - center) / width
            parts.append(more.float().nan_to_num(0.0))
        output = self._stream.step(torch.cat(parts)[None])
        self.num_steps += 1
        ahead = torch.zeros(1, model.horizon, model.num_known)
        if model.num_known:
            if future is None or future.shape != ahead.shape[1:]:
                raise ShapeError(f"ForecastStream.push: future must be {tuple(ahead.shape[1:])}")
            center, width = (part[model.num_past :] for part in self._columns)
            ahead = ((future.double() - center) / width).float()[None].nan_to_num(0.0)
        raw = model.answers(output, ahead).view(1, model.horizon, model.num_targets, -1)
        if model.linear is not None:
            self._window = torch.cat([self._window[1:], scaled[None]])
            raw = model.with_location(
                raw, model.linear_part(self._window[None], model.frame(self._window[None]))
            )
        said = model.head.moved(
            model.head.parameters(raw).double(), scale.center[None, None], scale.width[None, None]
        )
        point = model.head.point(said)[0]
        return self._curve.undo(point)
