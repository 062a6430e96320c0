"""Which figure of the runs' results decides, and how a number is shown."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unrolled.errors import OptionError, field
from unrolled.metrics import Metric, find_metric

__all__ = ["choose_metric", "meanings", "numbers", "shown", "signed"]

_TINY = 1e-6
_MOST_PLACES = 7


def meanings(results: Mapping[str, Any]) -> list[Metric]:
    """Return the metrics that a run's results can be ranked by, the one that decides first."""
    metrics = [Metric(**meaning) for meaning in results["meanings"]]
    return [metric for metric in metrics if metric.better is not None]


def numbers(figures: Mapping[str, Any], metrics: Iterable[Metric]) -> dict[str, float]:
    """Return the figures that metrics are of, by their names, those that there are."""
    named = {metric.name: figures.get(metric.name) for metric in metrics}
    return {name: float(value) for name, value in named.items() if value is not None}


def choose_metric(results: Sequence[Mapping[str, Any]], wanted: str | None = None) -> Metric:
    """Return the metric that decides: the first that all results rank by, unless one is wanted.

    Args:
        results: What results.json of each run holds.
        wanted: Its name.

    Raises:
        OptionError: The results do not have the one that is wanted, or it does not rank.
    """

    def is_common(metric: Metric) -> bool:
        figures = [each["metrics"].get(metric.name) for each in results]
        return all(figure is not None and math.isfinite(figure) for figure in figures)

    common = [metric for metric in meanings(results[0]) if is_common(metric)]
    if wanted is not None:
        metric = find_metric(common, wanted)
        if metric is None:
            names = ", ".join(metric.name for metric in common)
            message = f"{field('metric')}: the results cannot be ranked by {wanted!r}"
            raise OptionError(message, f"choose one of {names}")
        return metric
    if not common:
        raise OptionError("the results have no metric in common to rank by", "did they diverge?")
    return common[0]


def shown(value: float, spread: float | None = None) -> str:
    """Return a number in about four digits; with a spread, in as many places as that needs.

    >>> shown(0.123456), shown(23.4567), shown(0.0012345), shown(1.2e-7), shown(0.0)
    ('0.1235', '23.46', '0.00123', '1.2e-07', '0')
    >>> shown(0.77123, 0.0042), shown(0.99951, 0.000021)
    ('0.7712 ± 0.0042', '0.99951 ± 0.00002')
    """
    if not math.isfinite(value):
        return str(value)
    if not spread and abs(value) < _TINY:
        return f"{value:.1e}" if value else "0"
    places = _places(value)
    if spread is None:
        return f"{value:.{places}f}"
    if spread:
        places = max(places, min(_MOST_PLACES, -math.floor(math.log10(spread))))
    return f"{value:.{places}f} ± {spread:.{places}f}"


def signed(difference: float, like: float) -> str:
    """Return a difference with its sign, in the decimal places that a value like `like` has.

    >>> signed(0.00123, like=0.77), signed(-0.00004, like=0.00123)
    ('+0.0012', '-0.00004')
    """
    return f"{difference:+.{_places(like)}f}"


def _places(value: float) -> int:
    """Return the decimal places that show four digits, or three of a small number."""
    if abs(value) >= 1:
        return max(0, 4 - len(str(int(abs(value)))))
    if abs(value) >= 0.01 or value == 0:
        return 4
    return min(_MOST_PLACES, 2 - math.floor(math.log10(abs(value))))
