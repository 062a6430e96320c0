"""Examples into parts: to learn from, to choose by, to measure on.

Not for texts, which are cut in two where they stand (`tasks/lm/task.py`).
"""

import random
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from unrolled.errors import DataError, OptionError, field

__all__ = ["Parts", "split"]


class Parts(NamedTuple):
    """Which examples belong to which part: their indices, in rising order."""

    training: list[int]
    held_out: list[int]
    test: list[int]


def split(
    keys: Sequence[Hashable],
    *,
    held_out: float,
    test: float = 0.0,
    seed: int = 0,
    classes: Sequence[Hashable] | None = None,
) -> Parts:
    """Return a random split in which examples with equal keys are in one part.

    A key says what must not be seen twice: a sentence that has several translations, say. So a part
    may be larger than asked for by less than the examples of one key.

    Args:
        keys: One for each example.
        held_out: Part of the examples, in [0, 1).
        test: Part of the examples, in [0, 1).
        seed: The same seed and keys give the same split, on every machine.
        classes: One for each example: each part gets its share of every class, as far as keys
            allow, and training keeps one of each as long as there are others.

    Raises:
        DataError: There are too few different keys for the parts that are asked for.

    Example:
        >>> split(["a", "a", "b", "c", "d"], held_out=0.2, test=0.2, seed=1)
        Parts(training=[0, 1, 4], held_out=[2], test=[3])
    """
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    order = list(groups.values())
    generator = random.Random(seed)
    generator.shuffle(order)
    if classes is not None:
        order = _by_class(order, [classes[group[0]] for group in order], generator)
    parts: list[list[int]] = []
    for fraction in (held_out, test):
        part: list[int] = []
        while order and len(part) < round(fraction * len(keys)):
            part += order.pop()
        parts.append(part)
    training = [index for group in order for index in group]
    if not training or any(not part for part, f in zip(parts, (held_out, test), strict=True) if f):
        if held_out + test >= 1:
            together = f"{field('held_out')} and {field('test')} together"
            raise OptionError(f"{together} must be below 1, got {held_out + test:g}")
        asked = [field(name) for name, f in (("held_out", held_out), ("test", test)) if f]
        without = f", or set {' and '.join(asked)} to 0" if asked else ""
        raise DataError(
            f"{len(keys)} examples ({len(groups)} different) are too few to hold out {held_out:g} "
            f"and test on {test:g} of them",
            f"give more different examples{without}",
        )
    return Parts(sorted(training), *map(sorted, parts))


def _by_class(
    groups: Sequence[list[int]], classes: Sequence[Hashable], generator: random.Random
) -> list[list[int]]:
    """Return groups in an order in which every stretch has about its share of each class.

    Those of a class stand at even distances, the first of them at a random place. The first group
    of each class comes first: parts are taken from the end.
    """
    totals: Counter[Hashable] = Counter()
    for group, name in zip(groups, classes, strict=True):
        totals[name] += len(group)
    offsets = {name: generator.random() for name in dict.fromkeys(classes)}
    seen: Counter[Hashable] = Counter()
    places = []
    for group, name in zip(groups, classes, strict=True):
        place = (seen[name] + offsets[name] * len(group)) / totals[name]
        places.append(place if seen[name] else -1.0)
        seen[name] += len(group)
    return [groups[index] for index in sorted(range(len(groups)), key=places.__getitem__)]
