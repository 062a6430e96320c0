"""What a few seeds allow to say: paired differences, their chance, and plain sentences about them.

Two contestants with the same seed saw the same data in the same order, so that what is tested is
the difference between the two in each seed (Student's paired t-test, df = K - 1). All pairs are
tested, and Holm's procedure keeps the chance of a single false claim among them below 5 %.

Source: S. Holm (1979), "A simple sequentially rejective multiple test procedure"; M. Abramowitz and
I. A. Stegun (1964), 26.7.3 and 26.7.4, for Student's distribution.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

__all__ = ["LEVEL", "Difference", "compare_all", "student_p", "student_quantile"]

LEVEL = 0.05
"""The chance of a false claim that is accepted, over all pairs together."""


@dataclass(frozen=True)
class Difference:
    """How far two contestants are apart, in a metric.

    Args:
        first: One.
        second: The other.
        mean: Mean of first - second over the seeds that both have.
        low: The lower end of the 95 % interval of the mean, taken alone; None with one seed.
        high: Its upper end.
        p: The chance of a mean as far from 0 if there were no difference, corrected for all pairs;
            None with one seed.
        num_seeds: K, how many seeds both have.
    """

    first: str
    second: str
    mean: float
    low: float | None
    high: float | None
    p: float | None
    num_seeds: int

    @property
    def is_significant(self) -> bool:
        """Whether it can be told from chance."""
        return self.p is not None and self.p < LEVEL


def compare_all(values: Mapping[str, Mapping[int, float]]) -> list[Difference]:
    """Return the difference of every pair that has seeds in common.

    Args:
        values: By contestant, the metric of each seed.

    Example:
        >>> same = {"gru": {0: 0.5, 1: 0.7}, "lstm": {0: 0.6, 1: 0.8}}
        >>> [difference] = compare_all(same)
        >>> round(difference.mean, 3), difference.p  # twice the same: 2 / 2^2 by its sign alone
        (-0.1, 0.5)
    """
    compared: list[tuple[str, str, list[float]]] = []
    for first, second in combinations(values, 2):
        seeds = sorted(values[first].keys() & values[second].keys())
        if seeds:
            differences = [values[first][seed] - values[second][seed] for seed in seeds]
            compared.append((first, second, differences))
    alone = [_paired_p(differences) for *_, differences in compared]
    corrected = iter(_holm([p for p in alone if p is not None]))
    result = []
    for (first, second, differences), p in zip(compared, alone, strict=True):
        low, high = _interval(differences)
        shown = None if p is None else next(corrected)
        mean = fmean(differences)
        result.append(Difference(first, second, mean, low, high, shown, len(differences)))
    return result


def student_p(t: float, df: int) -> float:
    """Return the chance that Student's t is at least as far from 0 as `t`.

    Args:
        t: Any number.
        df: Degrees of freedom, at least 1.

    Example:
        >>> round(student_p(12.706, df=1), 4), round(student_p(-2.262, df=9), 4)
        (0.05, 0.05)
    """
    theta = math.atan(abs(t) / math.sqrt(df))
    if df == 1:
        return 1 - 2 * theta / math.pi
    odd = df % 2
    term = total = math.cos(theta) if odd else 1.0
    for k in range(3 if odd else 2, df, 2):  # each term is the one before by (k-1)/k cos^2
        term *= (k - 1) / k * math.cos(theta) ** 2
        total += term
    inside = math.sin(theta) * total
    return 1 - (2 / math.pi * (theta + inside) if odd else inside)


def student_quantile(p: float, df: int) -> float:
    """Return the t that Student's is as far from 0 as, or farther, with chance `p`, in (0, 1)."""
    low, high = 0.0, 1.0
    while student_p(high, df) > p:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_p(middle, df) > p else (low, middle)
    return high


def _paired_p(differences: Sequence[float]) -> float | None:
    """Return the chance of differences with such a mean, were theirs 0; None for a single one."""
    num = len(differences)
    if num < 2:
        return None
    mean, spread = fmean(differences), stdev(differences)
    if abs(mean) <= 1e-12 * max(abs(x) for x in differences):
        return 1.0
    if spread <= 1e-9 * abs(mean):
        return 2.0 ** (1 - num)  # all the same: Student's t has no say, but their sign has
    return student_p(mean / (spread / math.sqrt(num)), num - 1)


def _interval(differences: Sequence[float]) -> tuple[float | None, float | None]:
    num = len(differences)
    if num < 2:
        return None, None
    half = student_quantile(LEVEL, num - 1) * stdev(differences) / math.sqrt(num)
    return fmean(differences) - half, fmean(differences) + half


def _holm(ps: Sequence[float]) -> list[float]:
    """Return the p values corrected for their number, in the order given.

    >>> [round(p, 3) for p in _holm([0.04, 0.01, 0.03])]
    [0.06, 0.03, 0.06]
    """
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, ps[index] * (len(ps) - rank)))
        corrected[index] = largest
    return corrected
