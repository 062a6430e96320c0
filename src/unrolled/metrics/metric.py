"""A metric: a figure's name, its unit, and which way is better.

Whoever shows, compares or chooses by figures asks the metric; nothing is guessed from its name.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Metric", "check_declared", "find_metric"]


@dataclass(frozen=True)
class Metric:
    """What a figure means.

    Args:
        name: The key in a run's results, with underscores.
        better: Which way is better; None for a figure that describes and does not rank, as a
            number of examples.
        unit: "nats/token", "%"; empty for what has none.
        share: Whether it is a part of what was counted, in 0..1, so that chance has a known size.

    Example:
        >>> error_rate = Metric("word_error_rate", "lower")
        >>> error_rate.label, error_rate.is_better(0.1, 0.2)
        ('word error rate', True)
    """

    name: str
    better: Literal["higher", "lower"] | None
    unit: str = ""
    share: bool = False

    @property
    def label(self) -> str:
        """The name as people read it, with the unit if there is one."""
        unit = f" ({self.unit})" if self.unit else ""
        return self.plain_label + unit

    @property
    def plain_label(self) -> str:
        """The name as people read it, without the unit."""
        return self.name.removeprefix("num_").replace("_", " ")

    def is_better(self, value: float, other: float) -> bool:
        """Whether `value` is better than `other`."""
        assert self.better is not None
        return value > other if self.better == "higher" else value < other

    def standard_error(self, value: float, number: int) -> float:
        """Return how far `value` may be off by chance, where `number` things were counted.

        That of a share, sqrt(p (1 - p) / n), without a bound where nothing was counted; 0 for what
        is not a share, where a mean tells no spread.

        Example:
            >>> round(Metric("accuracy", "higher", share=True).standard_error(0.8, 400), 4)
            0.02
        """
        if not self.share:
            return 0.0
        return math.sqrt(value * (1 - value) / number) if number else math.inf

    def to_dict(self) -> dict[str, Any]:
        """Return it in types that JSON has."""
        return asdict(self)


def find_metric(metrics: Iterable[Metric], name: str) -> Metric | None:
    """Return the metric called `name`, None if there is none."""
    return next((metric for metric in metrics if metric.name == name), None)


def check_declared(metrics: Iterable[Metric], figures: Mapping[str, Any]) -> None:
    """Assert that every number among `figures` has a metric that says what it means."""
    names = {metric.name for metric in metrics}
    numbers = {name for name, figure in figures.items() if isinstance(figure, int | float)}
    assert numbers <= names, f"no metric declares {', '.join(sorted(numbers - names))}"
