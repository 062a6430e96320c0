"""How kernels store the weights that they multiply with: the choice of a stream, while it reads.

Not here: what the formats are (emitting/headers/words.h).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

from unrolled.cells import Cell
from unrolled.errors import OptionError
from unrolled.kernels.emitting import ProductFormat, WeightFormat

__all__ = [
    "UnscaledError",
    "refuse_smaller_weights",
    "rounded",
    "storing_weights",
    "too_many_products",
    "weight_format",
    "without_a_scale",
]

_MOST_SUMMED = 1 << 16  # products of bytes that a sum of 32 bits holds


class UnscaledError(OptionError):
    """Weights that were packed as int8 have become infinite or NaN since: rows have no scale."""

    def __init__(self) -> None:
        super().__init__(
            'weights="int8" are finite, and some have become infinite or NaN', 'use weights="f32"'
        )


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


def rounded(matrix: Tensor, to: ProductFormat) -> Tensor:
    """Return what a kernel multiplies with that stores a matrix so, in its own type."""
    if to in ("f32", "mixed"):
        return matrix
    if to == "bf16":
        return matrix.bfloat16().to(matrix.dtype)
    scale = matrix.abs().amax(1, keepdim=True) / 127
    return (matrix / scale.where(scale != 0, 1)).round() * scale


def too_many_products(weights: WeightFormat, matrices: Iterable[Tensor]) -> str | None:
    """Return why sums of products with these do not fit, in words; None if they do.

    Args:
        weights: How they would be stored.
        matrices: (N, K) each, of which a sum has K products, whatever the layer's sizes are.
    """
    largest = max(matrix.shape[1] for matrix in matrices)
    if weights != "int8" or largest <= _MOST_SUMMED:
        return None
    return f'weights="int8" add up to {_MOST_SUMMED} products, got {largest}'


def without_a_scale(weights: WeightFormat, matrices: Mapping[str, Tensor]) -> str | None:
    """Return why there are rows whose scale is no number, in words; None if there are none.

    Args:
        weights: How they would be stored.
        matrices: By name, on CPU.
    """
    if weights == "int8":
        for name, matrix in matrices.items():
            if not bool(matrix.isfinite().all()):
                return f'weights="int8" are finite, {name} has numbers that are infinite or NaN'
    return None


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
