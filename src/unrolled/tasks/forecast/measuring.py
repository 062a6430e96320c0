"""A forecaster measured on windows, and its intervals set by held-out ones.

Not here: what each figure is (`measures.py`).
"""

import math
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.networks.devices import moved
from unrolled.tasks.forecast.baselines import Forecasts, baseline_forecasts, naive, seasonal_naive
from unrolled.tasks.forecast.forecasting import Forecast, forecast, unscaled
from unrolled.tasks.forecast.head import Head
from unrolled.tasks.forecast.measures import Tally, verdict
from unrolled.tasks.forecast.model import Forecaster, Inputs
from unrolled.tasks.forecast.model_options import ModelOptions
from unrolled.tasks.forecast.rows import draws_paths, ends_of_interval, says_one_number
from unrolled.tasks.forecast.scales import Scale
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.windows import Window
from unrolled.training import share

__all__ = [
    "Measured",
    "baseline_figures",
    "beside_naive",
    "measure",
    "spread_of",
    "total_loss",
]

_AT_ONCE = 256  # windows that are forecast together
_LEVELS = tuple(level / 20 for level in range(1, 20))  # that a distribution is measured at
_LEAST_WIDTH = 1e-9  # of the half of an interval, in parts of the scale


class Measured(NamedTuple):
    """The figures of a model, and the sums that they come from."""

    figures: dict[str, Any]
    tally: Tally


def total_loss(
    head: Head, said: Tensor, inputs: Inputs, scales: Sequence[Scale]
) -> tuple[Tensor, int]:
    """Return the sum of the losses of values that are there, and of how many."""
    targets = inputs.targets
    assert targets is not None
    if head.counts:
        width = torch.stack([scale.width for scale in scales])[:, None].float()
        width = moved(width, said)
        said, targets = head.moved(said, torch.zeros_like(width), width), targets * width
    there = ~targets.isnan()
    losses = head.losses(said, targets.nan_to_num(0.0))
    return losses[there].sum(), int(there.sum())


@torch.inference_mode()
def measure(scaling: Scaling, model: Forecaster, examples: Sequence[Window]) -> Measured:
    """Return the figures of a model on windows, its loss among them."""
    options = model.options
    levels, ends = _levels(options)

    def forecast_of(windows: Sequence[Window]) -> tuple[Forecast, float, int]:
        inputs, scales = moved(scaling.batch(windows), model)
        said = model(inputs)
        loss, terms = total_loss(model.head, said, inputs, scales)
        if options.method == "recursive" and options.reads_truth:
            said = None if draws_paths(options) else model(inputs._replace(targets=None))
        told = unscaled(scaling, model, said, inputs, scales, levels)
        return told, loss.item(), terms

    sums, total, count = Tally(), 0.0, 0
    batches = _batches(examples)
    for windows, (told, loss, terms) in zip(batches, share(forecast_of, batches), strict=True):
        total, count = total + loss, count + terms
        _add(sums, scaling, windows, told, levels, ends)
    figures: dict[str, Any] = {**sums.figures(), "loss": total / max(1, count)}
    if ends is not None:
        low, high = (levels[end] for end in ends)
        figures["interval"] = f"from {low:g} to {high:g}: coverage should be {high - low:g}"
    elif "coverage" in figures:
        del figures["coverage"]
    return Measured(figures, sums)


def baseline_figures(
    scaling: Scaling, training: Sequence[Window], examples: Sequence[Window], names: Container[str]
) -> dict[str, dict[str, Any]]:
    """Return those figures that are named of each forecast without a network."""
    forecasts = baseline_forecasts(training, examples)
    figures = {name: _tally(scaling, each, examples).figures() for name, each in forecasts.items()}
    return {
        name: {key: value for key, value in each.items() if key in names}
        for name, each in figures.items()
    }


def beside_naive(scaling: Scaling, measured: Measured, examples: Sequence[Window]) -> str:
    """Return in words whether the better one of the naive forecasts is worse, beyond chance."""
    window = examples[0]
    others: dict[str, Forecasts] = {"naive": naive}
    if window.calendar.season > 1:
        others["seasonal naive"] = seasonal_naive
    errors = {
        name: torch.cat(_tally(scaling, forecasts, examples).errors)
        for name, forecasts in others.items()
    }
    name = min(errors, key=lambda name: float(errors[name].mean()))
    return verdict(
        torch.cat(measured.tally.errors),
        errors[name],
        [example.series.places[example.origin] for example in examples],
        overlap=-(-window.sizes.horizon // scaling.stride),
        name=f"the {name} forecast",
    )


def spread_of(scaling: Scaling, model: Forecaster, held_out: Sequence[Window]) -> float | None:
    """Return what the widths of intervals are multiplied by, so that held-out values lie in them.

    Each value has a score: how far it is from the forecast, in parts of how far the interval's end
    on its side is. The result is the score that the interval's share of values stays below, more
    than that with few windows: n that do not overlap ask for 1 + 1 / n times the share.
    It is 1 at least: the weights were chosen by the same values, which they fit too well.

    Returns:
        None of a model without intervals, with one that begins or ends at the median, or of
        counts; or where nothing is held out.

    Source:
        Romano et al. (2019), conformalized quantile regression; scores as ratios.
    """
    ends = None if says_one_number(model.options) else ends_of_interval(model.options, None)
    if ends is None or not ends[0] < 0.5 < ends[1] or model.head.counts or not held_out:
        return None
    scores = []
    for windows in _batches(held_out):
        told = forecast(scaling, model, windows, ends)
        assert told.quantiles is not None
        parts = (told.point, *told.quantiles, scaling.truth(windows))
        width = torch.stack([scaling.scale(window.series).width for window in windows])
        curve = scaling.curve.apply
        point, low, high, truth = (curve(part) / width[:, None] for part in parts)
        above = (truth - point) / (high - point).clamp(min=_LEAST_WIDTH)
        below = (point - truth) / (point - low).clamp(min=_LEAST_WIDTH)
        score = torch.maximum(above, below)
        scores.append(score[~score.isnan()])
    sorted_scores = torch.cat(scores).sort().values
    num_apart = max(1.0, len(held_out) * min(1.0, scaling.stride / held_out[0].sizes.horizon))
    share = (ends[1] - ends[0]) * (1 + 1 / num_apart)
    place = min(len(sorted_scores), math.ceil(share * len(sorted_scores))) - 1
    return max(1.0, float(sorted_scores[place]))


def _tally(scaling: Scaling, forecasts: Forecasts, examples: Sequence[Window]) -> Tally:
    sums = Tally()
    for windows in _batches(examples):
        _add(sums, scaling, windows, Forecast(forecasts(windows), None))
    return sums


def _batches(examples: Sequence[Window]) -> list[Sequence[Window]]:
    return [examples[first : first + _AT_ONCE] for first in range(0, len(examples), _AT_ONCE)]


def _levels(options: ModelOptions) -> tuple[tuple[float, ...], tuple[int, int] | None]:
    """Return the levels that a model is measured at, and which two are the ends of its interval."""
    if says_one_number(options):
        return (), None
    if options.learns != "quantile":
        return _LEVELS, (1, len(_LEVELS) - 2)
    ends = (0, len(options.levels) - 1)
    return options.levels, ends if ends[0] < ends[1] else None


def _add(
    sums: Tally,
    scaling: Scaling,
    windows: Sequence[Window],
    told: Forecast,
    levels: Sequence[float] = (),
    ends: tuple[int, int] | None = None,
) -> None:
    scales = [scaling.scale(window.series) for window in windows]
    sums.add(
        told.point,
        scaling.truth(windows),
        deviation=torch.stack([scale.deviation for scale in scales]),
        seasonal_error=torch.stack([scale.seasonal_error for scale in scales]),
        quantiles=told.quantiles,
        levels=levels,
        interval=ends,
    )
