"""What a head is: raw numbers of a network in, what is said of a step out, and its loss."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["LEAST", "Head", "inverse_softplus"]

LEAST = 1e-4
"""Of what has to be above 0, on the scale of what is learned."""


class Head(ABC):
    """What is said of a step, by R parameters in the last dim.

    Args:
        size: R.
    """

    counts = False
    """Whether it is of counts, whose loss is on the scale of the data."""

    def __init__(self, size: int) -> None:
        self.size = size

    @abstractmethod
    def parameters(self, raw: Tensor) -> Tensor:
        """Return the parameters, (..., R), of raw numbers."""

    @abstractmethod
    def moved(self, parameters: Tensor, center: Tensor, width: Tensor) -> Tensor:
        """Return the parameters of center + width * y, each of them broadcast against (...)."""

    @abstractmethod
    def losses(self, parameters: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each target, (...)."""

    def widened(self, parameters: Tensor, spread: Tensor) -> Tensor:  # noqa: ARG002
        """Return them with intervals `spread` times as wide, (1,), around the same forecast.

        A number has none, and counts cannot be stretched.
        """
        return parameters

    @abstractmethod
    def point(self, parameters: Tensor) -> Tensor:
        """Return the forecast, (...): the mean of a squared error, else the median."""

    def quantiles(self, parameters: Tensor, levels: Sequence[float]) -> Tensor | None:  # noqa: ARG002
        """Return quantiles, (Q, ...); None of a head that says one number."""
        return None

    def draw(self, parameters: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """Return a value for each, (...), drawn at random; of a number that number."""
        return self.point(parameters)

    @abstractmethod
    def start(self, residuals: Tensor) -> Tensor:
        """Return raw numbers that fit residuals, (N, ...) with NaN, around zero: (..., R)."""


def inverse_softplus(values: Tensor) -> Tensor:
    """Return the raw numbers of which softplus makes `values`."""
    return values + torch.log(-torch.expm1(-values))
