"""What a comparison says, in plain sentences: what was told apart, what was not, and how.

Not here: the arithmetic (`statistics.py`).
"""

from unrolled.comparison.gather import Comparison, Row
from unrolled.comparison.metrics import shown, signed
from unrolled.comparison.statistics import LEVEL, Difference
from unrolled.languages import ENGLISH, Phrases
from unrolled.metrics import Metric
from unrolled.training import LAST

__all__ = ["best_first", "method", "verdict"]


def best_first(comparison: Comparison) -> list[Row]:
    """Return the contestants, the best mean in the metric that decides first."""
    metric = comparison.metric
    sign = 1 if metric.better == "lower" else -1
    return sorted(comparison.rows, key=lambda row: sign * row.metrics[metric.name])


def verdict(comparison: Comparison, language: str = ENGLISH) -> list[str]:
    """Return what can be said of the contestants, in sentences.

    Raises:
        OptionError: There is no such language.
    """
    say = Phrases(language, "comparison")
    rows, metric = best_first(comparison), comparison.metric
    best = rows[0]
    value = say.signs(shown(best.metrics[metric.name], best.spreads.get(metric.name)))
    key = "verdict.best" if best.num_seeds > 1 else "verdict.best_of_one"
    words = {"metric": metric.label, "value": value, "number": best.num_seeds}
    sentences = [say(key, name=best.contestant, **words)]
    if len(rows) == 1:
        return sentences
    if all(difference.p is None for difference in comparison.differences):
        sentences.append(say("verdict.one_seed"))
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
        others = _listed(say, apart, best, metric)
        sentences.append(say("verdict.better", name=best.contestant, others=others))
    if together:
        others = _listed(say, together, best, metric)
        sentences.append(say("verdict.equal", name=best.contestant, others=others))
    worse: dict[str, list[str]] = {}
    for difference in comparison.differences:
        if difference in apart + together:
            continue
        if difference.is_significant:
            better_one, worse_one = _order(difference, metric)
            worse.setdefault(better_one, []).append(worse_one)
    if worse:
        orders = [
            say("verdict.order", better=name, worse=", ".join(names))
            for name, names in worse.items()
        ]
        sentences.append(say("verdict.also", orders="; ".join(orders)))
    return sentences


def method(comparison: Comparison, language: str = ENGLISH) -> list[str]:
    """Return how it was found out, in sentences.

    Raises:
        OptionError: There is no such language.
    """
    say = Phrases(language, "comparison")
    sentences = [say("method.budget", number=say.number(comparison.plan.num_parameters, ","))]
    if comparison.part == "held_out":
        chose = any(each.results.get("selected_by") != LAST for each in comparison.finished)
        sentences.append(say("method.held_out_chose" if chose else "method.held_out"))
    tested = [difference for difference in comparison.differences if difference.p is not None]
    if tested:
        levels = {"level": say.number(LEVEL), "chance": say.number(LEVEL, ".0%")}
        sentences.append(say("method.test", number=len(tested), **levels))
    if comparison.missing:
        sentences.append(say("method.missing", names="; ".join(comparison.missing)))
    return sentences


def _listed(say: Phrases, differences: list[Difference], best: Row, metric: Metric) -> str:
    """Return the others of `best`'s differences, each with how far it is and how surely."""
    parts = []
    like = best.metrics[metric.name]
    for difference in differences:
        other, mean = difference.second, difference.mean
        low, high = difference.low, difference.high
        if other == best.contestant:
            other, mean = difference.first, -mean
        if low is None or high is None or difference.p is None:
            parts.append(say("verdict.in_common", name=other))
            continue
        if other == difference.first:
            low, high = -high, -low
        mean_, low_, high_ = (say.signs(signed(value, like)) for value in (mean, low, high))
        p = say.signs(f"p = {shown_p(difference.p)}".replace("= <", "<"))
        parts.append(say("verdict.other", name=other, mean=mean_, low=low_, high=high_, p=p))
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
