"""Examples into parts: to learn from, to choose by, to measure on.

Not for texts, which are cut in two where they stand (`tasks/lm/task.py`).
"""

import random
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from unrolled.errors import DataError, OptionError, field

__all__ = ["Parts", "split"]


class Parts(NamedTuple):
    """Which examples belong to which part: their indices, in rising order."""

    training: list[int]
    held_out: list[int]
    test: list[int]


def split(keys: Sequence[Hashable], *, held_out: float, test: float = 0.0, seed: int = 0) -> Parts:
    """Return a random split in which examples with equal keys are in one part.

    A key says what must not be seen twice: a sentence that has several translations, say. So a part
    may be larger than asked for by less than the examples of one key.

    Args:
        keys: One for each example.
        held_out: Part of the examples, in [0, 1).
        test: Part of the examples, in [0, 1).
        seed: The same seed and keys give the same split, on every machine.

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
    random.Random(seed).shuffle(order)
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
        raise DataError(
            f"{len(keys)} examples ({len(groups)} different) are too few to hold out {held_out:g} "
            f"and test on {test:g} of them",
            "give more examples",
        )
    return Parts(sorted(training), *map(sorted, parts))
