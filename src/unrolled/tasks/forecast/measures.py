"""What forecasts are worth: figures over windows, and whether one forecast is better than another.

    MASE     |error| / mean |error| of the seasonal naive forecast of what was learned from
    sMAPE    200 |error| / (|truth| + |forecast|), per cent
    scaled   on the data divided by their deviation in what was learned from: as papers print them
    CRPS     twice the mean pinball loss over the levels: of one number its absolute error

Values that are missing are not counted.

Source:
    Hyndman and Koehler (2006); Gneiting and Raftery (2007), section 4.2.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from unrolled.metrics import Metric
from unrolled.tasks.forecast.model_options import DISTRIBUTIONS
from unrolled.tasks.forecast.scales import Scale

__all__ = ["Tally", "metrics_of", "verdict"]

_METRICS = (
    Metric("mase", "lower"),
    Metric("smape", "lower", "%"),
    Metric("mae", "lower"),
    Metric("rmse", "lower"),
    Metric("mse", "lower"),
    Metric("scaled_mae", "lower"),
    Metric("scaled_mse", "lower"),
    Metric("crps", "lower"),
    Metric("quantile_loss", "lower"),
    Metric("coverage", None, share=True),
)
_SURE = 2.58  # standard errors: one chance in a hundred
_FEWEST = 4  # forecasts that do not overlap


def metrics_of(learns: str, scales: Iterable[Scale]) -> tuple[Metric, ...]:
    """Return what the figures mean: MASE first, where a series has a seasonal error to divide by.

    Args:
        learns: What the loss is of.
        scales: Of the series that are learned from.
    """
    has_scale = any(bool((~scale.is_constant).any()) for scale in scales)
    unit = "nats/value" if learns in DISTRIBUTIONS else ""
    return (*(_METRICS if has_scale else _METRICS[1:]), Metric("loss", "lower", unit))


class Tally:
    """Sums over windows of forecasts and what came then."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._count = 0
        self._num_mase = 0
        self._num_spread = 0
        self.errors: list[Tensor] = []
        """Of each window the mean absolute error, as MASE or scaled where that has no scale."""

    def add(
        self,
        point: Tensor,
        targets: Tensor,
        *,
        deviation: Tensor,
        seasonal_error: Tensor,
        quantiles: Tensor | None = None,
        levels: Sequence[float] = (),
        interval: tuple[int, int] | None = None,
    ) -> None:
        """Count windows.

        Args:
            point: (B, H, C), on the scale of the data.
            targets: (B, H, C), NaN where one is missing.
            deviation: (B, C).
            seasonal_error: (B, C), 0 where there is none.
            quantiles: (Q, B, H, C), in rising order.
            levels: Theirs.
            interval: Which two of them the coverage is that of.
        """
        seen = ~targets.isnan()
        truth = targets.nan_to_num(0.0)
        error = torch.where(seen, point - truth, 0.0)
        absolute = error.abs()
        sums, count = self._sums, int(seen.sum())
        self._count += count
        sums["mae"] += float(absolute.sum())
        sums["mse"] += float(error.square().sum())
        scaled = error / deviation[:, None]
        sums["scaled_mae"] += float(scaled.abs().sum())
        sums["scaled_mse"] += float(scaled.square().sum())
        size = truth.abs() + torch.where(seen, point.abs(), 0.0)
        sums["smape"] += 200 * float((absolute / size.where(size > 0, 1.0)).sum())
        sums["size"] += float(truth.abs().sum())
        has_scale = seasonal_error > 0
        per_target = seen.sum(1)
        mean = absolute.sum(1) / per_target.clamp(min=1)  # (B, C)
        counted = has_scale & (per_target > 0)
        ratios = mean / seasonal_error.where(has_scale, 1.0)
        sums["mase"] += float(ratios[counted].sum())
        self._num_mase += int(counted.sum())
        either = torch.where(has_scale, ratios, mean / deviation)
        weights = (per_target > 0).double()
        self.errors.append((either * weights).sum(1) / weights.sum(1).clamp(min=1))
        if quantiles is None:
            return
        above = torch.where(seen, truth - quantiles, 0.0)
        level = above.new_tensor(levels).view(-1, 1, 1, 1)
        pinball = torch.maximum(level * above, (level - 1) * above)
        sums["pinball"] += 2 * float(pinball.mean(0).sum())
        self._num_spread += count
        if interval is not None:
            low, high = (quantiles[index] for index in interval)
            sums["inside"] += int((seen & (low <= truth) & (truth <= high)).sum())

    def figures(self) -> dict[str, float]:
        """Return the figures, those that there are."""
        sums, count = self._sums, max(1, self._count)
        figures = {}
        if self._num_mase:
            figures["mase"] = sums["mase"] / self._num_mase
        figures |= {name: sums[name] / count for name in ("smape", "mae")}
        figures["rmse"] = math.sqrt(sums["mse"] / count)
        figures |= {name: sums[name] / count for name in ("mse", "scaled_mae", "scaled_mse")}
        if self._num_spread:
            figures["crps"] = sums["pinball"] / self._num_spread
            if sums["size"]:
                figures["quantile_loss"] = sums["pinball"] / sums["size"]
            figures["coverage"] = sums["inside"] / self._num_spread
        return figures


def verdict(
    errors: Tensor, others: Tensor, origins: Sequence[float], *, overlap: int, name: str
) -> str:
    """Return in words whether errors are smaller than those of another forecast, beyond chance.

    Forecasts from neighbouring places share most of their steps, so that their errors go together:
    the standard error of the mean difference counts that (Newey and West, 1987), with the
    correction of Harvey, Leybourne and Newbold (1997) for few forecasts.

    Args:
        errors: Of each window, (N,).
        others: Of the same windows by the other forecast.
        origins: Where each window begins: series that are forecast from one place count as one.
        overlap: Neighbouring places whose forecasts share steps, their own included.
        name: Of the other forecast.
    """
    by_origin: defaultdict[float, list[float]] = defaultdict(list)
    for origin, difference in zip(origins, (others - errors).tolist(), strict=True):
        by_origin[origin].append(difference)
    in_order = [by_origin[origin] for origin in sorted(by_origin)]
    differences = torch.tensor([sum(d) / len(d) for d in in_order], dtype=torch.float64)
    num = len(differences)
    mean = float(differences.mean()) if num else 0.0
    if num < _FEWEST * overlap:
        apart = num / overlap
        return f"too few forecasts to tell from {name}: {apart:.1f} that do not overlap"
    centered = differences - mean
    variance = float(centered.square().mean())
    for lag in range(1, overlap):
        weight = 1 - lag / overlap
        variance += 2 * weight * float((centered[lag:] * centered[:-lag]).sum()) / num
    correction = (num + 1 - 2 * overlap + overlap * (overlap - 1) / num) / num
    if variance <= 0:
        return f"not told from {name} by chance alone" if mean == 0 else _said(mean, name)
    statistic = mean / math.sqrt(variance / num) * math.sqrt(max(correction, 0.0))
    if abs(statistic) < _SURE:
        return f"no better and no worse than {name}, as far as chance can be told from skill"
    return _said(mean, name)


def _said(mean: float, name: str) -> str:
    return f"{'better' if mean > 0 else 'worse'} than {name}, beyond chance"
