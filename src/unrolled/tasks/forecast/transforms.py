"""What is learned of a target instead of the target itself: its logarithm, differences, or both.

    log        log y             of values above 0
    log1p      log(1 + y)        of values above -1, such as sales with days of none
    diff       y_t - y_{t-1}
    log-diff   log y_t - log y_{t-1}
    season-diff, log-season-diff      the same from cycle to cycle: y_t - y_{t-s}

The curve is applied here, before anything is scaled, and undone to forecasts and intervals, whose
quantiles it maps to quantiles. Differences are taken in the window, by the model (`framing.py`):
what it says of a step to come is how far that is from the last value that was seen, or from that of
its place in the last cycle, so that nothing has to be summed but the paths and steps of a recursive
model.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.errors import DataError, field

__all__ = ["Curve", "curve_of", "lag_of", "takes_differences", "takes_seasonal"]


class Curve(NamedTuple):
    """A rising function of targets, element by element.

    apply: It.
    undo: Its inverse.
    log_slope: The logarithm of its derivative, by which densities are divided.
    above: Where it is defined: of values above this.
    """

    apply: Callable[[Tensor], Tensor]
    undo: Callable[[Tensor], Tensor]
    log_slope: Callable[[Tensor], Tensor]
    above: float = -torch.inf

    def refuse(self, where: str, value: float) -> DataError:
        """Return the error that a value is not above `above`.

        Args:
            where: What the value is, with its file and line.
            value: It.
        """
        message = f"{where} is {value:g}, which has no logarithm"
        if self.above == 0:
            hint = f"leave out {field('transform')}, or log1p where nothing is below 0"
            return DataError(message, hint)
        message = f"{where} is {value:g}, and 1 more than that has no logarithm"
        return DataError(message, f"leave out {field('transform')}")


_STRAIGHT = Curve(lambda y: y, lambda y: y, torch.zeros_like)
_LOG = Curve(torch.log, torch.exp, lambda y: -y.log(), 0.0)
_LOG1P = Curve(torch.log1p, torch.expm1, lambda y: -y.log1p(), -1.0)


def curve_of(transform: str) -> Curve:
    """Return the curve of a transform that can be chosen."""
    if transform == "log1p":
        return _LOG1P
    return _LOG if transform.startswith("log") else _STRAIGHT


def takes_differences(transform: str) -> bool:
    """Return whether a transform that can be chosen has differences."""
    return transform.endswith("diff")


def takes_seasonal(transform: str) -> bool:
    """Return whether its differences are those from cycle to cycle."""
    return transform.endswith("season-diff")


def lag_of(transform: str, season: int) -> int:
    """Return how many steps before it the one is that a step differs from; 0 of no differences.

    Args:
        transform: That can be chosen.
        season: Steps of a cycle.
    """
    if takes_seasonal(transform):
        return season
    return 1 if takes_differences(transform) else 0
