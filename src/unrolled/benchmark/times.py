"""Numbers about repeated measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Self

__all__ = ["Times"]


@dataclass(frozen=True)
class Times:
    """The times of a contestant's repeats, in milliseconds.

    quartiles: between them lies the middle half.
    """

    repeats: int
    median: float
    quartiles: tuple[float, float]
    minimum: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Sum up repeats, one at least, in seconds.

        Example:
            >>> Times.of([0.004, 0.001, 0.002, 0.003, 0.005])
            Times(repeats=5, median=3.0, quartiles=(2.0, 4.0), minimum=1.0)
        """
        times = [1e3 * second for second in seconds]
        if len(times) == 1:
            return cls(1, times[0], (times[0], times[0]), times[0])
        lower, _, upper = quantiles(times, n=4, method="inclusive")
        return cls(len(times), median(times), (lower, upper), min(times))

    @property
    def spread(self) -> float:
        """The width of the middle half, as a part of the median."""
        return (self.quartiles[1] - self.quartiles[0]) / self.median
