"""Forecasts without a network, made from the same places: what a model has to be better than.

naive             the last value
seasonal naive    the value one cycle before
drift             the last value, and on along the line from the first one to it
ETS               exponential smoothing of level, trend and season (Holt-Winters), additive or of
                  logarithms; its parameters are those with the smallest errors one step ahead
                  in what was learned from
linear            least squares on the steps that a window looks at, its last value taken off
                  (NLinear, Zeng et al. 2023), the same for all targets
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.tasks.forecast.reader import Series
from unrolled.tasks.forecast.scales import column_scale
from unrolled.tasks.forecast.windows import Window

__all__ = [
    "Forecasts",
    "baseline_forecasts",
    "last_values",
    "naive",
    "seasonal_naive",
    "too_many_to_smooth",
]

Forecasts = Callable[[Sequence[Window]], Tensor]
"""What is forecast from windows, (B, H, C) in float64."""

Array = NDArray[np.float64]

_MOST_SMOOTHED = 400_000  # steps of all series, in the time of a breath or two
_SHARE_OF_RIDGE = 1e-3
_LEVELS = (0.02, 0.08, 0.2, 0.4, 0.7, 0.95)
_TRENDS = (0.0, 0.02, 0.1, 0.3)  # parts of the level's; 0 for no trend
_SEASONS = (0.0, 0.05, 0.2, 0.5)  # 0 for no season
_DAMPING = 0.98


def last_values(values: Tensor) -> Tensor:
    """Return each value, or where it is missing the one before, (T, C); NaN before the first."""
    steps = torch.arange(len(values))[:, None].expand_as(values)
    at = torch.where(values.isnan(), -1, steps).cummax(0).values
    filled = values.gather(0, at.clamp(min=0))
    return filled.masked_fill(at < 0, torch.nan)


def naive(windows: Sequence[Window]) -> Tensor:
    """Return the last value, for all steps."""
    return torch.stack([_last(_seen(w)).expand(w.sizes.horizon, -1) for w in windows])


def seasonal_naive(windows: Sequence[Window]) -> Tensor:
    """Return the value of the same place in the last cycle in which it is there."""
    rows = []
    for window in windows:
        seen, season = _seen(window), window.calendar.season
        num = len(seen) // season
        if not num:
            rows.append(naive([window])[0])
            continue
        cycle = seen[-season:]
        if cycle.isnan().any():
            cycles = seen[len(seen) - num * season :].view(num, -1)
            cycle = last_values(cycles)[-1].view_as(cycle)
        row = cycle[torch.arange(window.sizes.horizon) % season]
        rows.append(torch.where(row.isnan(), _last(seen), row))
    return torch.stack(rows)


def _last(seen: Tensor) -> Tensor:
    """Return the last values that are there, (C,); 0 where there is none."""
    last = seen[-1]
    return last_values(seen)[-1].nan_to_num(0.0) if last.isnan().any() else last


def drift(windows: Sequence[Window]) -> Tensor:
    """Return the line from the first value to the last one, and on."""
    rows = []
    for window in windows:
        seen = _seen(window)
        first, last = torch.zeros(seen.shape[1]).long(), torch.full(seen.shape[1:], len(seen) - 1)
        if seen[[0, -1]].isnan().any():
            there, steps = ~seen.isnan(), torch.arange(len(seen))[:, None]
            first = torch.where(there, steps, len(seen) - 1).amin(0)
            last = torch.where(there, steps, 0).amax(0)
        begin, end = (seen.gather(0, at[None])[0].nan_to_num(0.0) for at in (first, last))
        slope = (end - begin) / (last - first).clamp(min=1)
        ahead = torch.arange(window.sizes.horizon)[:, None] + len(seen) - last
        rows.append(end + slope * ahead)
    return torch.stack(rows)


def baseline_forecasts(
    training: Sequence[Window], examples: Sequence[Window]
) -> dict[str, Forecasts]:
    """Return the forecasts by their names, those that need it fitted to windows of the training."""
    forecasts: dict[str, Forecasts] = {"naive": naive, "drift": drift}
    if examples[0].calendar.season > 1:
        forecasts = {"naive": naive, "seasonal naive": seasonal_naive, "drift": drift}
    learned = {window.series: window.learned for window in (*training, *examples)}
    if not too_many_to_smooth(learned):
        forecasts["ETS"] = _Smoothing(learned, examples[0].calendar.season)
    forecasts["linear"] = _Linear(training)
    return forecasts


def too_many_to_smooth(series: Iterable[Series]) -> bool:
    """Return whether ETS is left out, for the time that it would take."""
    return sum(map(len, series)) > _MOST_SMOOTHED


def _seen(window: Window) -> Tensor:
    """Return what is known of the targets at a window's origin, as far back as it matters."""
    return window.series.values[: window.origin]


class _States(NamedTuple):
    """Of each step of a series what was known after it: level and trend, (T, C).

    season: (T, m, C); None without.
    """

    level: Array
    trend: Array
    season: Array | None
    damping: Array
    is_log: NDArray[np.bool_]


class _Smoothing:
    """Exponential smoothing of all series, each with parameters of its own."""

    def __init__(self, learned: dict[Series, int], season: int) -> None:
        self._season = season
        self._states = {series: self._smoothed(series, end) for series, end in learned.items()}

    def __call__(self, windows: Sequence[Window]) -> Tensor:
        rows = []
        for window in windows:
            states, at = self._states[window.series], window.origin - 1
            steps = np.arange(1, window.sizes.horizon + 1)[:, None]
            trend = states.trend[at] * np.where(
                states.damping < 1,
                states.damping
                * (1 - states.damping**steps)
                / (1 - np.minimum(states.damping, 0.999)),
                steps,
            )
            row = states.level[at] + trend
            if states.season is not None:
                places = (at + steps[:, 0]) % len(states.season[at])
                row = row + states.season[at][places]
            with np.errstate(over="ignore"):
                rows.append(np.where(states.is_log, np.exp(np.minimum(row, 700.0)), row))
        return torch.from_numpy(np.stack(rows))

    def _smoothed(self, series: Series, end: int) -> _States:
        values = series.values.numpy()
        period = self._season if 2 * self._season <= end else 1
        grid = [
            (level, level * trend, season)
            for level, trend, season in product(_LEVELS, _TRENDS, _SEASONS)
            if period > 1 or not season
        ]
        parameters = np.array(grid).T[:, :, None]  # (3, K, 1)
        positive = (np.nan_to_num(values[:end], nan=1.0) > 0).all(0)
        errors, _ = _smooth(values[:end], parameters, period)
        best = errors.argmin(0)
        smallest = errors.min(0)
        is_log = np.zeros(values.shape[1], dtype=bool)
        logs = np.log(np.where(values > 0, values, np.nan))  # what comes below 0 later is skipped
        if positive.any():
            of_logs, _ = _smooth(logs[:end], parameters, period, exponential=True)
            is_log = positive & (of_logs.min(0) < smallest)
            best = np.where(is_log, of_logs.argmin(0), best)
        chosen = parameters[:, best, 0][:, None]  # (3, 1, C)
        _, states = _smooth(np.where(is_log, logs, values), chosen, period, keep=True)
        assert states is not None
        return states._replace(is_log=is_log)


def _smooth(
    values: Array, parameters: Array, period: int, *, exponential: bool = False, keep: bool = False
) -> tuple[Array, _States | None]:
    """Smooth a series by each set of parameters.

    Args:
        values: (T, C), NaN where one is missing.
        parameters: Of level, trend and season, (3, K, 1 or C).
        period: m, steps of a cycle.
        exponential: Whether errors are those of the exponentials.
        keep: Whether states are returned, of the first set.

    Returns:
        The sum of the squared errors one step ahead, (K, C), and the states.
    """
    alpha, beta, gamma = parameters
    num, size = values.shape
    shape = (parameters.shape[1], size)
    first = values[: max(period, 1)]
    second = values[period : 2 * period]
    start = _mean(first)
    rise = np.nan_to_num((_mean(second) - start) / period)
    level = np.broadcast_to(start, shape).copy()
    trend = np.where(beta > 0, rise, 0.0) * np.ones(shape)
    damping = np.where(beta > 0, _DAMPING, 1.0) * np.ones(shape)
    season = np.zeros((period, *shape))
    if period > 1:
        season += np.where(gamma > 0, np.nan_to_num(first - start)[:, None], 0.0)
    errors = np.zeros(shape)
    kept: list[tuple[Array, Array]] = []
    seasons = np.zeros((num, period, size)) if keep and period > 1 else None
    for step in range(num):
        value, place = values[step], step % period
        forecast = level + damping * trend
        before = season[place]
        error = value - forecast - before
        there = ~np.isnan(value)
        error = np.where(there, error, 0.0)
        if step >= period:
            if exponential:
                said = np.exp(np.minimum(forecast + before, 700.0))
                errors += np.where(there, np.exp(np.where(there, value, 0.0)) - said, 0.0) ** 2
            else:
                errors += error**2
        level = forecast + alpha * error
        trend = damping * trend + beta * error
        if period > 1:
            season[place] = before + gamma * error
        if keep:
            kept.append((level[0], trend[0]))
            if seasons is not None:
                seasons[step] = season[:, 0]
    if not keep:
        return errors, None
    levels, trends = (np.stack(each) for each in zip(*kept, strict=True))
    none = np.zeros(size, dtype=bool)
    return errors, _States(levels, trends, seasons, damping[0], none)


def _mean(values: Array) -> Array:
    there = ~np.isnan(values)
    means: Array = np.where(there, values, 0.0).sum(0) / np.maximum(there.sum(0), 1)
    return means


def _width(values: Tensor) -> Tensor:
    """Return the deviations of targets, by which series count alike, (C,); 1 of a constant one."""
    return column_scale(values)[1]


class _Linear:
    """Least squares on windows of the training."""

    def __init__(self, training: Sequence[Window]) -> None:
        lookback, horizon = training[0].sizes
        products = torch.zeros(lookback, lookback, dtype=torch.float64)
        answers = torch.zeros(lookback, horizon, dtype=torch.float64)
        self._filled: dict[Series, Tensor] = {}
        widths = {w.series: _width(w.series.values[: w.learned]) for w in training}
        for window in training:
            x, last = self._inputs(window)
            y = window.series.values[window.origin : window.origin + horizon] - last
            y = y.nan_to_num(0.0)
            width = widths[window.series]
            x, y = x / width, y / width
            products += x @ x.T
            answers += x @ y.T
        ridge = _SHARE_OF_RIDGE * products.diagonal().mean().clamp(min=1e-12)
        products += ridge * torch.eye(lookback, dtype=torch.float64)
        self._weights = torch.linalg.solve(products, answers)

    def __call__(self, windows: Sequence[Window]) -> Tensor:
        rows = []
        for window in windows:
            x, last = self._inputs(window)
            rows.append(self._weights.T @ x + last)
        return torch.stack(rows)

    def _inputs(self, window: Window) -> tuple[Tensor, Tensor]:
        """Return the steps that a window looks at without their last values, (L, C), and those."""
        series = window.series
        if series not in self._filled:
            self._filled[series] = last_values(series.values)
        filled = self._filled[series]
        steps = filled[window.origin - window.sizes.lookback : window.origin]
        last = steps[-1].nan_to_num(0.0)
        return (steps - last).nan_to_num(0.0), last
