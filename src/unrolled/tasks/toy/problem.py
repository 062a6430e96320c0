"""What a toy problem is: examples made from a seed, and levels that are known by arithmetic.

The problems themselves are in `problems.py` and `reber.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import OptionError

__all__ = ["Array", "Levels", "Toy", "require_at_least"]

Array = NDArray[Any]
Levels = dict[str, dict[str, float]]
"""What is known by arithmetic: by predictor ("chance" ... "solved"), its metrics by name."""


@dataclass(frozen=True)
class Toy(ABC):
    """A problem whose examples are made from a seed.

    Args:
        seed: Of the examples, at least 0.
    """

    name: ClassVar[str]
    symbols: ClassVar[str] = ""
    """What the numbers of inputs and targets stand for; empty where values are read."""

    seed: int = 0

    @property
    @abstractmethod
    def max_time(self) -> int:
        """How many steps a memory is asked for, at most; of strings, a usual length."""

    def __post_init__(self) -> None:
        require_at_least(self.name, "seed", self.seed, least=0)

    def example(self, number: int) -> tuple[Array, Array]:
        """Return the inputs and targets of example `number`.

        Args:
            number: Which, from 0.

        Returns:
            Inputs, (T,) int64 numbers of `symbols` or (T, 2) float32 values; and targets, (T,)
            int64 with `IGNORE` where nothing is asked, or () float32, due at the last step.
        """
        return self._make(np.random.default_rng((self.seed, number)))

    @abstractmethod
    def _make(self, random: np.random.Generator) -> tuple[Array, Array]:
        """Draw one example."""

    @abstractmethod
    def levels(self) -> Levels:
        """Return what guessing and a perfect answer score: the expected values of the metrics."""


def require_at_least(where: str, name: str, value: int, least: int) -> None:
    """Raise `OptionError` unless `value` is at least `least`."""
    if value < least:
        raise OptionError(f"{where}: {name} must be at least {least}, got {value}")
