"""The weights as a kernel reads them, packed: for one call, or kept from call to call."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.kernels.emitting import Call, WeightFormat
from unrolled.kernels.running.arena import FLOAT, take_scratch
from unrolled.kernels.running.library import Library
from unrolled.kernels.running.weight_format import (
    UnscaledError,
    storing_weights,
    weight_format,
    without_a_scale,
)
from unrolled.kernels.weights import Weights

__all__ = [
    "Packed",
    "WeightCache",
    "are_weights_cached",
    "caching_weights",
    "mark_of",
    "pack_weights",
]


Mark = tuple[int, int, torch.Size, tuple[int, ...]]
"""Of a weight: its address, how often torch knows that it was changed, its shape and strides."""


class Packed(NamedTuple):
    """The weights of a layer and direction, packed: of which, and as they were then."""

    weights: tuple[Tensor | None, ...]  # alive, so that their addresses stay their own
    marks: list[Mark]
    packed: Tensor


class WeightCache:
    """Packed weights, in use inside `caching_weights` blocks: empty, then filled by these.

    Args:
        weights: How kernels store weights inside of such a block.

    Attributes:
        num_packed: How many times weights were given memory here.
    """

    def __init__(self, weights: WeightFormat = "f32") -> None:
        self.weights = weights
        self.num_packed = 0
        self._entries: dict[object, Packed] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def pack(self, library: Library, call: Call, weights: tuple[Tensor | None, ...]) -> Tensor:
        """Return the packed weights, which `call` is given; packs them if they are not here.

        Raises:
            UnscaledError: They are of int8, and some have no scale.
        """
        call.kept = True
        key = (library, id(weights[0]))
        marks = [mark_of(weight) for weight in weights if weight is not None]
        entry = self._entries.get(key)
        known = entry is not None and _is_of(entry, weights, marks)
        if entry is None or not known:
            packed = torch.empty(library.packed_floats(call), **FLOAT)
            entry = Packed(weights, marks, packed)
            self.num_packed += 1
        call.packed = entry.packed.data_ptr()
        library.pack(call, known=known)
        self._entries[key] = entry
        return entry.packed

    def packed(self, library: Library, weight: Tensor) -> Packed | None:
        """Return what is here of the weights of which `weight` is the first; None: nothing."""
        return self._entries.get((library, id(weight)))

    def clear(self) -> None:
        """Forget all packed weights."""
        self._entries.clear()

    def clear_unscaled(self) -> None:
        """Forget those of int8, after another way did not read: they may be older than a NaN."""
        if self.weights == "int8":
            self.clear()


_in_use: ContextVar[WeightCache | None] = ContextVar("in_use", default=None)


@contextmanager
def caching_weights(cache: WeightCache) -> Iterator[None]:
    """Keep packed weights in `cache` for the next block that is given it.

    For many short calls with the same weights: streams and generation. Weights that have changed
    are packed again: those that torch counts as changed, and those of which a sample differs, for
    torch does not count what its fused optimisers do. Inside another such block that one's cache
    is used, so that many who write with one model share one copy; the format is this one's.
    """
    outer = _in_use.get()
    token = _in_use.set(cache if outer is None else outer)
    try:
        with storing_weights(cache.weights):
            yield
    finally:
        _in_use.reset(token)


def are_weights_cached() -> bool:
    """Whether a `caching_weights` block is around."""
    return _in_use.get() is not None


def pack_weights(library: Library, call: Call, weights: Weights) -> tuple[Tensor, bool]:
    """Return memory for packed weights, which `call` is given, and whether the cache in use has it.

    If so, they are in it. If not, it is scratch memory, to be kept after the call, which packs them
    there, or reads them where they are.

    Raises:
        UnscaledError: They are to be of int8, and some have no scale.
    """
    matrices, cache = weights[:4], _in_use.get()
    if cache is not None and all(map(_may_be_kept, matrices)):
        return cache.pack(library, call, matrices), True
    named = {"weight_ih": weights.weight_ih, "weight_hh": weights.weight_hh}
    if without_a_scale(weight_format(), {k: w for k, w in named.items() if w is not None}):
        raise UnscaledError
    packed = take_scratch("packed", library.packed_floats(call))
    call.packed = packed.data_ptr()
    return packed, False


def mark_of(weight: Tensor) -> Mark:
    """Return what changes when torch knows that a weight has changed, or lies otherwise."""
    return weight.data_ptr(), weight._version, weight.shape, weight.stride()


def _may_be_kept(weight: Tensor | None) -> bool:
    """Whether a weight is one that comes again, and whose changes torch counts."""
    return weight is None or (type(weight) is torch.nn.Parameter and not weight.is_inference())


def _is_of(entry: Packed, weights: tuple[Tensor | None, ...], marks: list[Mark]) -> bool:
    pairs = zip(entry.weights, weights, strict=True)
    return entry.marks == marks and all(a is b for a, b in pairs)
