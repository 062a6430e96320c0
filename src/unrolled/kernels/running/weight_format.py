"""How kernels store the weights that they multiply with: the choice of a stream, while it reads.

Not here: what the formats are (emitting/headers/words.h).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from unrolled.cells import Cell
from unrolled.errors import OptionError
from unrolled.kernels.emitting import WeightFormat

__all__ = ["refuse_smaller_weights", "storing_weights", "weight_format"]

_format: ContextVar[WeightFormat] = ContextVar("weight_format", default="f32")


def weight_format() -> WeightFormat:
    """Return the format in use: "f32" but inside `storing_weights`."""
    return _format.get()


@contextmanager
def storing_weights(weights: WeightFormat) -> Iterator[None]:
    """Make every recurrence inside the `with` block store its weights so, or refuse to run."""
    token = _format.set(weights)
    try:
        yield
    finally:
        _format.reset(token)


def refuse_smaller_weights(cell: Cell, reason: str) -> None:
    """Raise `OptionError` where weights of fewer bits are wanted, which only kernels have.

    Args:
        cell: What is to be run.
        reason: Why no kernel runs it.
    """
    weights = weight_format()
    if weights != "f32":
        raise OptionError(
            f'cell {cell.name}: weights="{weights}" needs a kernel, and {reason}',
            'use weights="f32", which takes every way that a layer has',
        )
