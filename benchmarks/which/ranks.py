"""Ranks of cells over blocks, and what they allow to say.

A block is what all cells were given alike: a seed of a data set, or a data set. In each the best
cell has rank 1, and level ones share the mean of theirs.

Source: J. Demsar (2006), "Statistical comparisons of classifiers over multiple data sets";
M. Friedman (1937); M. G. Kendall and B. Babington Smith (1939) for the agreement W.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean

LEVEL = 0.05


def ranks(figures: Mapping[str, float], better: str) -> dict[str, float]:
    """Return each cell's rank, the best first; what is not a number comes last.

    >>> ranks({"a": 0.2, "b": 0.1, "c": 0.2, "d": float("nan")}, "lower")
    {'a': 2.5, 'b': 1.0, 'c': 2.5, 'd': 4.0}
    """
    sign = 1 if better == "lower" else -1
    keys = {name: sign * x if math.isfinite(x) else math.inf for name, x in figures.items()}
    ordered = sorted(keys.values())
    first = {key: ordered.index(key) for key in set(ordered)}
    return {name: first[key] + (1 + ordered.count(key)) / 2 for name, key in keys.items()}


def mean_ranks(blocks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean rank of each cell over blocks of ranks."""
    return {name: fmean(block[name] for block in blocks) for name in blocks[0]}


def agreement(blocks: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Return Kendall's W, from 0 to 1 where all blocks have one order, and Friedman's p.

    >>> same = [{"a": 1.0, "b": 2.0, "c": 3.0}] * 4
    >>> w, p = agreement(same)
    >>> w, round(p, 3)
    (1.0, 0.018)
    """
    size, number = len(blocks[0]), len(blocks)
    middle = (size + 1) / 2
    spread = sum((mean - middle) ** 2 for mean in mean_ranks(blocks).values())
    ties = sum(
        count**3 - count
        for block in blocks
        for count in (list(block.values()).count(rank) for rank in set(block.values()))
    )
    most = (size**3 - size) / 12 - ties / (12 * number)
    w = spread / most if most else 0.0
    return w, chi_square_p(number * (size - 1) * w, size - 1)


def chi_square_p(x: float, df: int) -> float:
    """Return the chance of at least x (Wilson and Hilferty 1931, to about 0.005).

    >>> round(chi_square_p(18.307, 10), 3)
    0.05
    """
    if x <= 0:
        return 1.0
    part = 2 / (9 * df)
    return 1 - NormalDist().cdf(((x / df) ** (1 / 3) - 1 + part) / math.sqrt(part))


def smallest_difference(size: int, number: int, pairs: int) -> float:
    """Return the least difference of two mean ranks that can be told from chance.

    Args:
        size: How many cells are ranked.
        number: Over how many blocks.
        pairs: How many differences are looked at (Bonferroni, Holm's first step).

    >>> round(smallest_difference(5, 30, 4), 3)  # Demsar's example: 2.498 sqrt(5 6 / (6 30))
    1.02
    """
    quantile = NormalDist().inv_cdf(1 - LEVEL / (2 * pairs))
    return quantile * math.sqrt(size * (size + 1) / (6 * number))


def told_apart(means: Mapping[str, float], number: int, control: str) -> list[str]:
    """Return the cells whose mean ranks can be told from the control's, by Holm's procedure."""
    size = len(means)
    others = sorted(
        (name for name in means if name != control),
        key=lambda name: -abs(means[name] - means[control]),
    )
    apart = []
    for place, name in enumerate(others):
        if abs(means[name] - means[control]) < smallest_difference(size, number, size - 1 - place):
            break
        apart.append(name)
    return apart
