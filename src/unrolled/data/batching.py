"""Examples of different lengths into batches whose rows are of about the same length.

What is in a batch is the caller's business: here are indices, and tensors of steps.
"""

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from unrolled.errors import UnrolledError

__all__ = ["IGNORE", "batches_by_length", "batches_that_come", "pad", "shuffled_batches"]

Item = TypeVar("Item")
Numbers = TypeVar("Numbers", list[int], "array[int]")

IGNORE = -100
"""The target that does not count: torch's own default for `ignore_index`."""

_BATCHES_SORTED_TOGETHER = 32


def shuffled_batches(lengths: Sequence[int], batch_size: int, seed: str) -> Sequence[Sequence[int]]:
    """Return all examples in random batches, each of examples of about the same length.

    The examples are shuffled; in each lot of 32 batches they are sorted by length and cut; and the
    batches are shuffled.

    Args:
        lengths: Steps of each example.
        batch_size: Examples in a batch; in one of them there may be fewer.
        seed: The same seed gives the same batches, on every machine.
    """
    chance = random.Random(seed)
    order = array("q", range(len(lengths)))
    chance.shuffle(order)
    lot = _BATCHES_SORTED_TOGETHER * batch_size
    batches: list[Sequence[int]] = []
    for start in range(0, len(order), lot):
        together = sorted(order[start : start + lot], key=lambda index: lengths[index])
        batches += _cut(array("q", together), batch_size)
    chance.shuffle(batches)
    return batches


def batches_by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return all examples in batches of at most `batch_size`, the shortest first.

    Example:
        >>> batches_by_length([5, 1, 4], batch_size=2)
        [[1, 2], [0]]
    """
    return _cut(sorted(range(len(lengths)), key=lambda index: lengths[index]), batch_size)


def batches_that_come(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    """Yield items as they come, so many at a time.

    Where reading them fails, those that came before are yielded first.

    Example:
        >>> list(batches_that_come("abc", batch_size=2))
        [['a', 'b'], ['c']]
    """
    failure: UnrolledError | None = None
    batch: list[Item] = []
    coming = iter(items)
    while True:
        try:
            batch.append(next(coming))
        except StopIteration:
            break
        except UnrolledError as error:
            failure = error
            break
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch
    if failure is not None:
        raise failure


def pad(sequences: Sequence[Tensor], value: float = 0) -> tuple[Tensor, Tensor]:
    """Return sequences as one batch, and their lengths.

    Args:
        sequences: At least one, (T_b, ...) each, alike in all but their steps.
        value: What the steps after a sequence's end are filled with.

    Returns:
        (B, T, ...) with T the most steps, and (B,) int64.

    Example:
        >>> pad([torch.tensor([1, 2]), torch.tensor([3])])
        (tensor([[1, 2],
                [3, 0]]), tensor([2, 1]))
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    padded = torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True, padding_value=value)
    return padded, lengths


def _cut(order: Numbers, batch_size: int) -> "list[Numbers]":
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
