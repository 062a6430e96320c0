"""What is known of a value while a model is followed: which of its axes is time, and when it comes.

A model is followed once, on tensors without memory whose batch and time have sizes that nothing
else has (`marker_sizes`), so that an axis is known by its size wherever transposes and reshapes
have put it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from torch import Tensor, nn

from unrolled.errors import OptionError

__all__ = ["EndState", "Series", "axis_of", "marker_sizes", "refusal"]

_LEAST_ROWS, _LEAST_STEPS = 1_000, 100_000


@dataclass(frozen=True)
class Series:
    """A value with a time axis: what a stream has a piece of at a time.

    Args:
        slot: Where a running stream keeps it.
        sample: A tensor of its shape and type, without memory.
        time: Which axis is time.
        batch: Which axis is the batch.
        length: How many steps it has where the input has as many as while it is followed.
        emitted: How many of them a stream has by then: fewer, where the last see zeros behind the
            end.
        first: The number of the input step with which its step 0 comes; step j comes with the
            input step first + j rate.
        rate: Input steps from one of its steps to the next.
        ahead: Who looks behind the end, if anyone does.
    """

    slot: int
    sample: Tensor
    time: int
    batch: int
    length: int
    emitted: int
    first: int = 0
    rate: int = 1
    ahead: str = ""

    def like(self, slot: int, sample: Tensor) -> "Series":
        """Return what has the steps of this one, and the axes that its sample says."""
        time, batch = axis_of(sample, self.length), axis_of(sample, self.batch_size)
        if time is None or batch is None:
            raise LookupError
        return replace(self, slot=slot, sample=sample, time=time, batch=batch)

    @property
    def batch_size(self) -> int:
        """The size that marks the batch."""
        return int(self.sample.shape[self.batch])


@dataclass(frozen=True)
class EndState:
    """A value that only the end of a sequence has: what a layer returns beside its output."""

    name: str


def axis_of(sample: Tensor, size: int) -> int | None:
    """Return the one axis of that size; None if there is none, or more than one."""
    axes = [axis for axis, length in enumerate(sample.shape) if length == size]
    return axes[0] if len(axes) == 1 else None


def marker_sizes(model: nn.Module) -> tuple[int, int]:
    """Return a batch size and a number of steps that no weight of `model` has to do with."""
    sizes = {size for weight in _weights(model) for size in weight.shape}
    batch_size = next(n for n in _primes(_LEAST_ROWS) if n not in sizes)
    return batch_size, next(_primes(max([_LEAST_STEPS, *(8 * size for size in sizes)])))


def refusal(where: str, why: str, hint: str = "") -> OptionError:
    """Return the error that says which part of a model cannot be streamed, and why."""
    return OptionError(f"stream: {where} {why}", hint)


def _weights(model: nn.Module) -> Iterable[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _primes(least: int) -> Iterator[int]:
    for number in range(least, 4 * least):
        if all(number % divisor for divisor in range(2, math.isqrt(number) + 1)):
            yield number
