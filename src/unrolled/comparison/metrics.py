"""Which number of a run's results decides, which way is better, and how a number is shown."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from unrolled.errors import OptionError

__all__ = ["choose_metric", "lower_is_better", "numbers", "shown"]

_LOWER = ("loss", "error", "perplexity", "bits", "nats")
_LOSSES = ("loss", "nats_per_token")


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics that can be compared: numbers, but not counts."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, float)
        or (isinstance(value, int) and not isinstance(value, bool) and "num_" not in name)
    }


def choose_metric(results: Iterable[Mapping[str, Any]], wanted: str | None = None) -> str:
    """Return the name of the metric that decides: the first that is no loss, unless one is wanted.

    Raises:
        OptionError: The results do not have the one that is wanted.
    """
    common: list[str] | None = None
    for metrics in results:
        names = [name for name, value in numbers(metrics).items() if math.isfinite(value)]
        common = names if common is None else [name for name in common if name in names]
    common = common or []
    if wanted is not None:
        if wanted not in common:
            raise OptionError(f"--metric: the results have no {wanted}", f"only {' '.join(common)}")
        return wanted
    return next((name for name in common if name not in _LOSSES), "loss")


def lower_is_better(metric: str) -> bool:
    """Whether less of this metric is better."""
    return any(word in metric for word in _LOWER)


def shown(value: float, spread: float | None = None) -> str:
    """Return a number in four digits; with a spread, in as many places as that.

    >>> shown(0.123456), shown(23.4567), shown(0.77123, 0.0042), shown(1.2e-7)
    ('0.1235', '23.46', '0.7712 ± 0.0042', '1.2e-07')
    """
    if not math.isfinite(value):
        return str(value)
    if 0 < abs(value) < 5e-5 and not spread:
        return f"{value:.1e}"
    places = max(0, 4 - (len(str(int(abs(value)))) if abs(value) >= 1 else 0))
    text = f"{value:.{places}f}"
    return text if spread is None else f"{text} ± {spread:.{places}f}"
