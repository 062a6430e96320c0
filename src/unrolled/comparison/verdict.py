"""What a comparison says, in plain sentences: what was told apart, what was not, and how.

Not here: the arithmetic (`statistics.py`).
"""

from unrolled.comparison.gather import Comparison, Row
from unrolled.comparison.metrics import shown, signed
from unrolled.comparison.statistics import LEVEL, Difference
from unrolled.metrics import Metric
from unrolled.training import LAST

__all__ = ["best_first", "method", "verdict"]


def best_first(comparison: Comparison) -> list[Row]:
    """Return the contestants, the best mean in the metric that decides first."""
    metric = comparison.metric
    sign = 1 if metric.better == "lower" else -1
    return sorted(comparison.rows, key=lambda row: sign * row.metrics[metric.name])


def verdict(comparison: Comparison) -> list[str]:
    """Return what can be said of the contestants, in sentences."""
    rows, metric = best_first(comparison), comparison.metric
    best = rows[0]
    value = shown(best.metrics[metric.name], best.spreads.get(metric.name))
    sentences = [f"Best {metric.label}: {best.contestant}, {value}{_of_seeds(best)}."]
    if len(rows) == 1:
        return sentences
    if all(difference.p is None for difference in comparison.differences):
        sentences.append(
            "Each was trained with one seed alone, so nothing can be said about which is better: "
            "another seed may reverse the order. Train with several seeds to find out."
        )
        return sentences
    apart: list[Difference] = []
    together: list[Difference] = []
    for difference in comparison.differences:
        if best.contestant not in (difference.first, difference.second):
            continue
        if not difference.is_significant:
            together.append(difference)
        elif _order(difference, metric)[0] == best.contestant:  # else only over all its own seeds
            apart.append(difference)
    if apart:
        sentences.append(f"{best.contestant} is better than {_listed(apart, best, metric)}.")
    if together:
        sentences.append(
            f"{best.contestant} cannot be told from {_listed(together, best, metric)}."
        )
    others = [each for each in comparison.differences if each not in apart + together]
    worse: dict[str, list[str]] = {}
    for difference in others:
        if difference.is_significant:
            better_one, worse_one = _order(difference, metric)
            worse.setdefault(better_one, []).append(worse_one)
    if worse:
        orders = [f"{name} before {', '.join(names)}" for name, names in worse.items()]
        sentences.append(f"Also told apart: {'; '.join(orders)}.")
    return sentences


def method(comparison: Comparison) -> list[str]:
    """Return how it was found out, in sentences."""
    plan = comparison.plan
    sentences = [
        f"Every model has at most {plan.num_parameters:,} parameters, and as many units as they "
        "allow. With the same seed, all had the same data in the same order; ± is the standard "
        "deviation over the seeds."
    ]
    if comparison.part == "held_out":
        chose = any(each.results.get("selected_by") != LAST for each in comparison.finished)
        also = ", which also chose the weights that were kept: a little too good, for all alike"
        sentences.append(f"Measured on the held-out part{also * chose}.")
    tested = [difference for difference in comparison.differences if difference.p is not None]
    if tested:
        sentences.append(
            f"Each of the {len(tested)} pairs was tested with Student's paired t-test over the "
            f"seeds, corrected for their number by Holm: with p below {LEVEL} a pair counts as "
            f"told apart, and the chance of one false claim among all is below {LEVEL:.0%}. "
            "Intervals are 95 % each. Few seeds tell large differences only; not told apart does "
            "not mean equal."
        )
    if comparison.missing:
        sentences.append(
            f"Missing, because they have not finished: {'; '.join(comparison.missing)}."
        )
    return sentences


def _of_seeds(row: Row) -> str:
    return f" (mean of {row.num_seeds} seeds)" if row.num_seeds > 1 else " (one seed)"


def _listed(differences: list[Difference], best: Row, metric: Metric) -> str:
    """Return the others of `best`'s differences, each with how far it is and how surely."""
    parts = []
    like = best.metrics[metric.name]
    for difference in differences:
        other, mean = difference.second, difference.mean
        low, high = difference.low, difference.high
        if other == best.contestant:
            other, mean = difference.first, -mean
        if low is None or high is None or difference.p is None:
            parts.append(f"{other} (one seed in common)")
            continue
        if other == difference.first:
            low, high = -high, -low
        between = f"{signed(low, like)} to {signed(high, like)}"
        p = f"p = {shown_p(difference.p)}".replace("= <", "<")
        parts.append(f"{other} ({signed(mean, like)}, {between}, {p})")
    return ", ".join(parts)


def _order(difference: Difference, metric: Metric) -> tuple[str, str]:
    """Return the names of two contestants, the better one first."""
    if (difference.mean < 0) == (metric.better == "lower"):
        return difference.first, difference.second
    return difference.second, difference.first


def shown_p(p: float) -> str:
    """Return a chance in two digits.

    >>> shown_p(0.0421), shown_p(0.99999), shown_p(0.000012)
    ('0.042', '1.0', '< 0.0001')
    """
    if p < 0.0001:
        return "< 0.0001"
    return "1.0" if p > 0.995 else f"{p:.2g}"
