"""What a model says of windows, on the scale of the data.

Not here: the network (`model.py`), and how forecasts are measured (`measuring.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from unrolled.networks.devices import moved
from unrolled.tasks.forecast.model import Forecaster, Inputs
from unrolled.tasks.forecast.recursive import RecursiveForecaster
from unrolled.tasks.forecast.rows import draws_paths
from unrolled.tasks.forecast.scales import Scale
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.windows import Window

__all__ = ["PATHS", "Forecast", "forecast", "of_parameters", "of_paths", "unscaled"]

PATHS = 100
"""That are drawn of each series."""


class Forecast(NamedTuple):
    """What is said of windows, on the scale of the data.

    point: (B, H, C).
    quantiles: (Q, B, H, C); None of a model that says one number.
    """

    point: Tensor
    quantiles: Tensor | None


@torch.inference_mode()
def forecast(
    scaling: Scaling, model: Forecaster, windows: Sequence[Window], levels: Sequence[float]
) -> Forecast:
    """Return what is said of windows, with quantiles of these levels."""
    inputs, scales = moved(scaling.batch(windows), model)
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
    width = torch.stack([scale.width for scale in scales])
    if said is None:
        recursive, horizon = cast(RecursiveForecaster, model), inputs.future.shape[1]
        drawn = recursive.paths(inputs, PATHS, horizon, seed=0, scales=width.float())
        return of_paths(scaling, model, drawn.cpu(), scales, levels)
    return of_parameters(scaling, model, said.cpu(), scales, levels)


def of_paths(
    scaling: Scaling,
    model: Forecaster,
    drawn: Tensor,
    scales: Sequence[Scale],
    levels: Sequence[float],
) -> Forecast:
    """Return paths as a model draws them, (N, B, H, C), as forecasts."""
    center, width = _stacked(scales)
    paths = drawn.double() * width + center
    is_mean = model.options.learns != "student-t"
    point = paths.mean(0) if is_mean else paths.median(0).values
    quantiles = torch.quantile(paths, paths.new_tensor(levels), 0) if levels else None
    return _undone(scaling, point, quantiles)


def of_parameters(
    scaling: Scaling,
    model: Forecaster,
    said: Tensor,
    scales: Sequence[Scale],
    levels: Sequence[float],
) -> Forecast:
    """Return parameters as a model says them, (B, H, C, R), as forecasts."""
    parameters = model.head.moved(said.double(), *_stacked(scales))
    quantiles = model.head.quantiles(parameters, levels) if levels else None
    return _undone(scaling, model.head.point(parameters), quantiles)


def _stacked(scales: Sequence[Scale]) -> tuple[Tensor, Tensor]:
    """Return centers and widths, (B, 1, C) each."""
    center = torch.stack([scale.center for scale in scales])[:, None]
    return center, torch.stack([scale.width for scale in scales])[:, None]


def _undone(scaling: Scaling, point: Tensor, quantiles: Tensor | None) -> Forecast:
    undo = scaling.curve.undo
    return Forecast(undo(point), None if quantiles is None else undo(quantiles))
