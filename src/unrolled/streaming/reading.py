"""What a model reads: which axis of its input is time, in words such as "B T 40"."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError, ShapeError
from unrolled.layers import FiniteMemoryLayer, RecurrentLayer

__all__ = ["Reading", "likely_readings"]

EXAMPLES = "such as reads='B T 40' or, of tokens, reads='B T'"


@dataclass(frozen=True)
class Reading:
    """The axes of a model's input.

    Args:
        axes: "B", "T" or a number of features each.
        dtype: Of its numbers; int64 of tokens, which have no axis for features.
    """

    axes: tuple[str, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, text: str, dtype: torch.dtype) -> "Reading":
        """Return the axes that a text says.

        Raises:
            OptionError: It is not B, T and numbers of features.

        Example:
            >>> Reading.of("B T 40", torch.float32).time
            1
        """
        axes = tuple(text.split()) if isinstance(text, str) else ()
        features = [axis for axis in axes if axis not in ("B", "T")]
        right = axes.count("B") == axes.count("T") == 1 and len(axes) - len(features) == 2
        if not right or any(not axis.isdecimal() or int(axis) < 1 for axis in features):
            raise OptionError(
                f"stream: reads must say the axes of the input, got {text!r}", EXAMPLES
            )
        return cls(axes, dtype if features else torch.int64)

    @cached_property
    def time(self) -> int:
        """The axis that is time."""
        return self.axes.index("T")

    @cached_property
    def batch(self) -> int:
        """The axis that is the batch."""
        return self.axes.index("B")

    def shape(self, batch_size: int, num_steps: int) -> tuple[int, ...]:
        """Return the shape of an input."""
        shape = list(self._features)
        shape[self.time], shape[self.batch] = num_steps, batch_size
        return tuple(shape)

    @cached_property
    def _features(self) -> list[int]:
        return [0 if axis in ("B", "T") else int(axis) for axis in self.axes]

    def check(self, x: Tensor, batch_size: int, where: str) -> None:
        """Raise `ShapeError` unless it is an input; asked at every step."""
        shape = x.shape
        if len(shape) == len(self.axes) and x.dtype is self.dtype:
            if shape == self.shape(batch_size, shape[self.time]):
                return
        sizes = [str(size) for size in self.shape(batch_size, 0)]
        sizes[self.time] = "T"
        expected = f"({', '.join(sizes)}) of {self.dtype}"
        raise ShapeError(f"{where} must be {expected}, got {tuple(shape)} of {x.dtype}")

    def __str__(self) -> str:
        return " ".join(self.axes)


def likely_readings(model: nn.Module) -> Iterator[Reading]:
    """Yield what a model may read: what the first of its parts that has weights does, or tokens."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    for part in model.modules():
        if isinstance(part, nn.Embedding):
            break
        if isinstance(part, (RecurrentLayer, FiniteMemoryLayer, nn.RNNBase)):
            order = "B T" if part.batch_first else "T B"
            yield Reading.of(f"{order} {part.input_size}", dtype)
            break
        if isinstance(part, nn.Conv1d):
            yield Reading.of(f"B {part.in_channels} T", dtype)
            break
        if isinstance(part, nn.Linear):
            yield Reading.of(f"B T {part.in_features}", dtype)
            break
        if isinstance(part, nn.LayerNorm) and len(part.normalized_shape) == 1:
            yield Reading.of(f"B T {part.normalized_shape[0]}", dtype)
            break
        if isinstance(part, nn.BatchNorm1d):
            yield Reading.of(f"B {part.num_features} T", dtype)
            break
    yield Reading(("B", "T"), torch.int64)
