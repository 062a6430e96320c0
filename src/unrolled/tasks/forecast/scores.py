"""How unlikely each observed step was, after all that came before it.

    a distribution    -log p(y), in nats, of the target as the table has it
    quantiles         |y - median| / (end of the interval on that side - median): 1 at the end;
                      of an interval that begins or ends at the median by its other end
    a number          |y - forecast| / mean error of the seasonal naive forecast in what was learned
                      from: 1 where it is as far off as that is

The forecast is the first step of the one that is made from the step before; distances from the
median are those of what is learned, such as logarithms. Nothing that comes later is looked at.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unrolled.data.source import Source
from unrolled.errors import OptionError, field
from unrolled.networks.devices import moved
from unrolled.tasks.forecast.data_options import DataOptions
from unrolled.tasks.forecast.fitted import Fitted
from unrolled.tasks.forecast.forecasting import Forecast, of_parameters
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.model_options import DISTRIBUTIONS
from unrolled.tasks.forecast.parts import doubts, left_out, scaled_if_new
from unrolled.tasks.forecast.reader import Series, read_panel
from unrolled.tasks.forecast.scales import Scale
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.times import Calendar
from unrolled.tasks.forecast.windows import Sizes, Window, too_short, windows_of

__all__ = ["scored_table"]

_AT_ONCE = 256  # windows
_LEAST = 1e-9  # of the half of an interval, in parts of the scale


def scored_table(
    source: Source,
    data: DataOptions,
    fitted: Fitted,
    scaling: Scaling,
    model: Forecaster,
    levels: Sequence[float],
) -> Iterator[dict[str, Any]]:
    """Yield each observed step of a table that has enough before it, target by target.

    A series that training did not have is scaled by the first steps that a window looks at.

    Args:
        source: What is read.
        data: The columns of the training.
        fitted: To the training.
        scaling: By which series are scaled.
        model: In eval mode.
        levels: Of the ends of an interval; none of a model of one number.

    Raises:
        DataError: The table cannot be used, or has no series that is long enough.
        OptionError: The source is not a table.
    """
    if source.path is None:
        raise OptionError(f"{field('scores')} are of tables", "name a file")
    calendar, sizes = fitted.calendar, fitted.sizes
    panel = read_panel(source.path, data, ahead=sizes.horizon, calendar=calendar)
    needed = sizes.lookback + 1
    refused = [too_short(one, needed, "a score needs") for one in panel.series if len(one) < needed]
    series = [one for one in panel.series if len(one) >= needed]
    if not series:
        raise refused[0]
    for note in [
        *doubts(panel, source.path, data),
        *left_out(refused),
        *scaled_if_new(series, scaling),
    ]:
        warnings.warn(note, stacklevel=2)
    for one in series:
        name = {"id": one.id} if data.id is not None else {}
        for step, column, numbers in _scored(scaling, model, one, calendar, sizes, levels):
            time = calendar.text(one.places[step])
            yield {**name, "time": time, "target": data.target[column], **numbers}


def _scored(
    scaling: Scaling,
    model: Forecaster,
    series: Series,
    calendar: Calendar,
    sizes: Sizes,
    levels: Sequence[float],
) -> Iterator[tuple[int, int, dict[str, float]]]:
    """Yield each target that is there: step, target, and its numbers by their columns."""
    one_step = Sizes(sizes.lookback, 1)
    length = len(series)
    each = windows_of(series, 0, length, sizes=one_step, learned=length, calendar=calendar)
    windows = [replace(window, sizes=sizes) for window in each]
    scale = scaling.scale(series)
    for start in range(0, len(windows), _AT_ONCE):
        batch = windows[start : start + _AT_ONCE]
        steps = [window.origin for window in batch]
        truth = series.values[steps]
        said = _first_step(scaling, model, batch)
        told = of_parameters(scaling, model, said, [scale], levels)
        scores = _scores(scaling, model, said, told, truth, scale, levels)
        for row, column in (~truth.isnan()).nonzero().tolist():
            numbers = {"value": truth[row, column], "forecast": told.point[row, 0, column]}
            if told.quantiles is not None:
                ends = told.quantiles[:, row, 0, column]
                numbers |= dict(zip(("low", "high"), ends, strict=True))
            numbers["score"] = scores[row, column]
            yield steps[row], column, {name: float(number) for name, number in numbers.items()}


@torch.inference_mode()
def _first_step(scaling: Scaling, model: Forecaster, windows: Sequence[Window]) -> Tensor:
    """Return what is said of the step after each window, (B, 1, C, R), scaled."""
    inputs, _ = moved(scaling.batch(windows), model)
    said: Tensor = model(inputs._replace(targets=None))[:, :1]
    return (said if model.widens else model.head.widened(said, model.spread)).cpu()


def _scores(
    scaling: Scaling,
    model: Forecaster,
    said: Tensor,
    told: Forecast,
    truth: Tensor,
    scale: Scale,
    levels: Sequence[float],
) -> Tensor:
    """Return the scores, (B, C), of what came, (B, C); NaN where it is missing."""
    curve = scaling.curve
    if model.options.learns in DISTRIBUTIONS:
        parameters = model.head.moved(said.double(), scale.center, scale.width)[:, 0]
        there = ~truth.isnan()
        y = torch.where(there, truth, curve.undo(scale.center))
        losses = model.head.losses(parameters, curve.apply(y)) - curve.log_slope(y)
        return losses.masked_fill(~there, torch.nan)
    point = told.point[:, 0]
    if told.quantiles is None or levels[0] == levels[1]:  # the median alone
        unit = torch.where(scale.seasonal_error > 0, scale.seasonal_error, scale.deviation)
        return (truth - point).abs() / unit
    parts = (point, *told.quantiles[:, :, 0], truth)
    middle, low, high, y = (curve.apply(part) / scale.width for part in parts)
    below, above = middle - low, high - middle
    below, above = (above if levels[0] == 0.5 else below), (below if levels[1] == 0.5 else above)
    end = torch.where(y > middle, above, below)
    return (y - middle).abs() / end.clamp(min=_LEAST)
