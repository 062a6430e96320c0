"""What a model says of windows, on the scale of the data.

Not here: the network (`model.py`), and how forecasts are measured (`measuring.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from unrolled.tasks.forecast.model import Forecaster, Inputs
from unrolled.tasks.forecast.recursive import RecursiveForecaster
from unrolled.tasks.forecast.rows import draws_paths
from unrolled.tasks.forecast.scales import Scale
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.windows import Window

__all__ = ["Forecast", "forecast", "unscaled"]

_PATHS = 100


class Forecast(NamedTuple):
    """What is said of windows, on the scale of the data.

    point: (B, H, C).
    quantiles: (Q, B, H, C); None of a model that says one number.
    """

    point: Tensor
    quantiles: Tensor | None


def forecast(
    scaling: Scaling, model: Forecaster, windows: Sequence[Window], levels: Sequence[float]
) -> Forecast:
    """Return what is said of windows, with quantiles of these levels."""
    inputs, scales = scaling.batch(windows)
    said = None if draws_paths(model.options) else model(inputs._replace(targets=None))
    return unscaled(scaling, model, said, inputs, scales, levels)


def unscaled(
    scaling: Scaling,
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
        drawn = cast(RecursiveForecaster, model).paths(
            inputs, _PATHS, horizon, seed=0, scales=width[:, 0].float()
        )
        paths = drawn.double() * width + center
        is_mean = model.options.learns != "student-t"
        point = paths.mean(0) if is_mean else paths.median(0).values
        quantiles = torch.quantile(paths, paths.new_tensor(levels), 0) if levels else None
    else:
        parameters = model.head.moved(said.double(), center, width)
        point = model.head.point(parameters)
        quantiles = model.head.quantiles(parameters, levels) if levels else None
    undo = scaling.curve.undo
    return Forecast(undo(point), None if quantiles is None else undo(quantiles))
