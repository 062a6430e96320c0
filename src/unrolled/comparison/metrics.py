"""Which number of a run's results decides, which way is better, and how a number is shown."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from unrolled.errors import OptionError

__all__ = ["choose_metric", "lower_is_better", "numbers", "shown", "signed"]

_LOWER = ("loss", "error", "perplexity", "bits", "nats", "unknown")
_TINY = 1e-6
_MOST_PLACES = 7
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
