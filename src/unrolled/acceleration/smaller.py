"""Weights of fewer bits in inference: which calls read them, and where they lie packed.

A layer keeps its float32 weights, for gradients and for all that reads a `state_dict`. Beside it,
as long as it lives, are copies of its matrices as a kernel of smaller weights reads them, which are
made at the first call and again when torch counts a change of a weight. Nothing is an attribute of
the layer: its copies and pickles make theirs.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from unrolled.acceleration.gradients import wants_gradient
from unrolled.cells import Cell
from unrolled.kernels import (
    ShortCalls,
    UnscaledError,
    WeightCache,
    WeightFormat,
    caching_weights,
    kernel_or_reason,
    rounded,
    storing_weights,
    without_a_scale,
)

__all__ = [
    "KeptWeights",
    "forget_packed",
    "kept_weights",
    "matrices_of",
    "or_float32",
    "rounding_error",
]


Sizes = tuple[Cell, int, int, int, int, bool]
"""A cell; inputs, units, layers and directions; whether there are biases."""


class KeptWeights:
    """The packed weights of one layer.

    Args:
        weights: How they are stored.
        parts: How many layers and directions it has.
        has_kernel: Whether there is what reads them.
    """

    def __init__(self, weights: WeightFormat, parts: int, *, has_kernel: bool = True) -> None:
        self.weights, self.has_kernel, self._parts = weights, has_kernel, parts
        self._cache = WeightCache(weights)
        self._sizes: Sizes | None = None
        self._calls: ShortCalls | None = None

    def short_calls(
        self, sizes: Sizes, names: tuple[str, ...], *, single: bool = False
    ) -> ShortCalls:
        """Return the short calls of the layer, of what `ShortCalls` is given."""
        if self._calls is None or sizes != self._sizes:
            self._calls = ShortCalls(*sizes, names, single=single, cache=self._cache)
            self._sizes = sizes
        return self._calls

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have kernels read these weights inside the block."""
        with caching_weights(self._cache):
            yield
        if len(self._cache) > self._parts:  # weights that the layer had before: the next call
            self._cache.clear()  # packs those that it has alone


_of_layers: Any = WeakIdKeyDictionary()


def kept_weights(
    layer: Any, cell: Cell, weights: WeightFormat, parts: int, read: Sequence[Any]
) -> KeptWeights | None:
    """Return the packed weights that a call is to read; None: those of float32, as they are.

    They are for inference: a layer in `eval()`, and a call without a gradient. Not one in training:
    who computes a step again for its gradient would get another output.

    Args:
        layer: The layer.
        cell: Its equations.
        weights: How it stores weights in inference.
        parts: How many layers and directions it has.
        read: What a call reads: the weights, the input, the state or None.
    """
    if weights == "f32" or layer.training or wants_gradient(read):
        return None
    kept = _of_layers.get(layer)
    if kept is None or kept.weights != weights:  # of a call that began before `accelerate`
        with storing_weights(weights):
            kernel = kernel_or_reason(cell)
        if isinstance(kernel, str):  # a layer that was copied or loaded: `accelerate` asks, too
            warnings.warn(
                f'{type(layer).__name__}: weights="{weights}" needs a kernel, so it computes with '
                f"float32: {kernel}",
                stacklevel=2,
            )
        kept = KeptWeights(weights, parts, has_kernel=not isinstance(kernel, str))
        _of_layers[layer] = kept
    return kept if kept.has_kernel else None


def or_float32(layer: Any, kept: KeptWeights, read: Callable[[KeptWeights | None], Any]) -> Any:
    """Return what `read` gives of the packed weights; of None, if some have no scale any more.

    Args:
        layer: The layer.
        kept: Its packed weights.
        read: The call, of packed weights; of None: of those of float32.
    """
    try:
        return read(kept)
    except UnscaledError as error:
        problem = without_a_scale("int8", matrices_of(layer)) or error.message
        warnings.warn(
            f"{type(layer).__name__}: {problem}, so it computes with float32",
            stacklevel=3,
        )
        return read(None)


def forget_packed(layer: Any) -> None:
    """Pack the weights of a layer again at its next call."""
    _of_layers.pop(layer, None)


def matrices_of(layer: Any) -> dict[str, Tensor]:
    """Return the weight matrices of a layer or cell of torch, by name."""
    names = getattr(layer, "_flat_weights_names", ("weight_ih", "weight_hh"))
    weights = {name: getattr(layer, name) for name in names}
    return {name: weight for name, weight in weights.items() if weight.dim() == 2}


@torch.no_grad()
def rounding_error(layer: Any, weights: WeightFormat) -> float:
    """Return how far a layer's matrices are from those that it computes with, relative norm."""
    matrices = matrices_of(layer).values()
    total = sum(float(w.square().sum()) for w in matrices)
    lost = sum(float((rounded(w, weights) - w).square().sum()) for w in matrices)
    return float((lost / total) ** 0.5) if total else 0.0
