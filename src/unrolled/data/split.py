"""Examples into parts: to learn from, to choose by, to measure on.

Not for texts, which are cut in two where they stand (`tasks/lm/task.py`).
"""

import random
from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, MutableSequence, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.data.memory import give_back
from unrolled.errors import DataError, OptionError, field

__all__ = ["Parts", "split"]

_DIGEST = 16  # bytes


class Parts(NamedTuple):
    """Which examples belong to which part: their indices, in rising order."""

    training: list[int]
    held_out: list[int]
    test: list[int]


def split(
    keys: Iterable[Hashable],
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
        keys: One for each example; texts are not kept.
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
    groups = _Groups(keys)
    order: MutableSequence[int] = array("q", range(len(groups)))
    generator = random.Random(seed)
    generator.shuffle(order)
    if classes is not None:
        order = _by_class(order, groups, classes, generator)
    parts: list[list[int]] = []
    for fraction in (held_out, test):
        part: list[int] = []
        while order and len(part) < round(fraction * groups.num_keys):
            part += groups[order.pop()]
        parts.append(part)
    training = [index for number in order for index in groups[number]]
    if not training or any(not part for part, f in zip(parts, (held_out, test), strict=True) if f):
        if held_out + test >= 1:
            together = f"{field('held_out')} and {field('test')} together"
            raise OptionError(f"{together} must be below 1, got {held_out + test:g}")
        asked = [field(name) for name, f in (("held_out", held_out), ("test", test)) if f]
        without = f", or set {' and '.join(asked)} to 0" if asked else ""
        raise DataError(
            f"{groups.num_keys} examples ({len(groups)} different) are too few to hold out "
            f"{held_out:g} and test on {test:g} of them",
            f"give more different examples{without}",
        )
    divided = Parts(sorted(training), *map(sorted, parts))
    del groups, order, training, parts
    give_back()
    return divided


class _Groups:
    """Indices of equal keys, groups in the order of their first ones: in arrays, as most are small.

    Args:
        keys: One for each index.
    """

    def __init__(self, keys: Iterable[Hashable]) -> None:
        group_of = _group_of(keys)
        self.num_keys = len(group_of)
        self._indices = np.argsort(group_of, kind="stable")
        self._bounds = np.concatenate([[0], np.bincount(group_of).cumsum()])

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, number: int) -> list[int]:
        indices: list[int] = self._indices[self._bounds[number] : self._bounds[number + 1]].tolist()
        return indices


def _group_of(keys: Iterable[Hashable]) -> NDArray[np.int64]:
    """Return the number of each key's group, (N,), groups in the order of their first ones.

    A text counts by its BLAKE2 digest: those of a table would take several times its size.
    """
    numbers: dict[Hashable, int] = {}
    rows = bytearray()
    for key in keys:
        if isinstance(key, str):
            rows += blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()
        else:
            rows += numbers.setdefault(key, len(numbers)).to_bytes(_DIGEST, "big")
    high, low = np.frombuffer(rows, np.uint64).reshape(-1, 2).T
    order = np.lexsort((low, high))  # equal ones stand as they came
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
    number_of = np.empty(int(is_first.sum()), np.int64)
    number_of[np.argsort(order[is_first])] = np.arange(len(number_of))
    group_of = np.empty(len(order), np.int64)
    group_of[order] = number_of[np.cumsum(is_first) - 1]
    return group_of


def _by_class(
    order: Sequence[int], groups: _Groups, classes: Sequence[Hashable], generator: random.Random
) -> MutableSequence[int]:
    """Return groups in an order in which every stretch has about its share of each class.

    Those of a class stand at even distances, the first of them at a random place. The first group
    of each class comes first: parts are taken from the end.
    """
    totals: Counter[Hashable] = Counter()
    for number in order:
        first, *others = groups[number]
        totals[classes[first]] += 1 + len(others)
    offsets = {name: generator.random() for name in totals}
    seen: Counter[Hashable] = Counter()
    places = array("d")
    for number in order:
        first, *others = groups[number]
        name, size = classes[first], 1 + len(others)
        place = (seen[name] + offsets[name] * size) / totals[name]
        places.append(place if seen[name] else -1.0)
        seen[name] += size
    by_place: list[int] = np.argsort(np.frombuffer(places), kind="stable").tolist()
    return array("q", (order[index] for index in by_place))
