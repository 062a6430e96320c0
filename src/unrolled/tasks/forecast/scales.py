"""What series are scaled by: fitted to what is learned from, never to what comes after.

    scaled = (y - center) / width        of what is learned, such as logarithms

Where differences are learned, from step to step or from cycle to cycle, the width is theirs: the
root of their mean square, or their mean.
Beside it each series has what errors are measured in: its deviation (figures on standardised data),
and the mean error of the seasonal naive forecast, one step after the other (MASE, Hyndman and
Koehler 2006).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from unrolled.data.content import numbers_of
from unrolled.tasks.forecast.framing import changes
from unrolled.tasks.forecast.transforms import curve_of, lag_of

__all__ = ["Scale", "column_scale"]

_LEAST = 1e-12  # of the size of what is scaled: below, a series is constant


@dataclass(frozen=True)
class Scale:
    """The scale of one series, each (C,) in float64.

    Args:
        center: That is taken off.
        width: That is divided by; 1 of a constant series.
        deviation: Of the data as they are; 1 of a constant series.
        seasonal_error: Of the seasonal naive forecast; 0 where it makes none.
    """

    center: Tensor
    width: Tensor
    deviation: Tensor
    seasonal_error: Tensor

    @classmethod
    def fit(cls, values: Tensor, *, kind: str, transform: str = "none", season: int) -> Self:
        """Return the scale of what is learned from of a series.

        Args:
            values: (T, C), NaN where one is missing.
            kind: "standard", "mean" or "none".
            transform: What of the values is learned (`transforms.py`).
            season: Steps of a cycle.
        """
        learned = curve_of(transform).apply(values)
        center, width = column_scale(learned, kind)
        if lag := lag_of(transform, season):
            width = _size(changes(learned[None], lag)[0, lag:], kind)
        _, deviation = column_scale(values, "standard")
        season = season if season < len(values) else 1
        errors = (values[season:] - values[:-season]).abs()
        seasonal_error = errors.nanmean(0).nan_to_num(0.0)
        return cls(center, width, deviation, seasonal_error)

    @property
    def is_constant(self) -> Tensor:
        """Which targets never change from season to season, (C,)."""
        return self.seasonal_error == 0

    def to_dict(self) -> dict[str, list[float]]:
        """Return it in types that JSON has."""
        return {name: tensor.tolist() for name, tensor in vars(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], count: int) -> Self:
        """Return what `to_dict` described."""
        return cls(
            center=_tensor(numbers_of(content, "center", count)),
            width=_tensor(numbers_of(content, "width", count, above=0)),
            deviation=_tensor(numbers_of(content, "deviation", count, above=0)),
            seasonal_error=_tensor(numbers_of(content, "seasonal_error", count, above=-1e-300)),
        )


def column_scale(values: Tensor, kind: str = "standard") -> tuple[Tensor, Tensor]:
    """Return what is taken off columns and what they are divided by, (C,) each.

    Args:
        values: (T, C), NaN where one is missing.
        kind: "standard", "mean" or "none".
    """
    mean = values.nanmean(0).nan_to_num(0.0)
    if kind == "none" or not len(values):
        return torch.zeros_like(mean), torch.ones_like(mean)
    if kind == "mean":
        width = values.abs().nanmean(0).nan_to_num(0.0)
        return torch.zeros_like(mean), torch.where(width > 0, width, 1.0)
    size = values.abs().nan_to_num(0.0).amax(0)
    size = torch.where(size > 0, size, 1.0)  # the square of 1e-200 would be 0
    deviation = size * ((values - mean) / size).square().nanmean(0).nan_to_num(0.0).sqrt()
    is_constant = deviation <= _LEAST * mean.abs()
    return mean, torch.where(is_constant, 1.0, deviation)


def _size(differences: Tensor, kind: str) -> Tensor:
    """Return what differences, (T, C), are divided by, (C,); 1 where there are none."""
    size = differences.abs().nan_to_num(0.0)
    if kind == "none" or not len(size):
        return torch.ones_like(size.sum(0))
    largest = size.amax(0)
    largest = torch.where(largest > 0, largest, 1.0)
    part = size / largest  # the square of 1e-200 would be 0
    width = largest * (part.mean(0) if kind == "mean" else part.square().mean(0).sqrt())
    return torch.where(width > 0, width, 1.0)


def _tensor(numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)
