"""A language model that writes: a token of each text read and the next one drawn, in one call of C.

What it does is in `writer.c`; here it is given its memory, and the weights that it reads. Not for
reading a prompt, nor for what a token means.
"""

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolled.kernels.building import KernelError, load_library
from unrolled.kernels.building.warning import warn_once
from unrolled.kernels.emitting import call_text
from unrolled.kernels.memory import is_plain
from unrolled.kernels.running.arena import FLOAT
from unrolled.kernels.running.library import pool_address
from unrolled.kernels.running.paths import may_use_kernels
from unrolled.kernels.running.stepper import Stepper

__all__ = ["Writer", "writer_of", "writer_source"]

_pointer, _integer, _double = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double


class _Description(ctypes.Structure):
    """`Writer` of writer.c."""

    _fields_ = [
        *((name, _pointer) for name in ("step", "parallel_for", "calls")),
        *((name, _integer) for name in ("num_layers", "batch_size", "input_size", "hidden_size")),
        ("num_tokens", _integer),
        *((name, _pointer) for name in ("embedding", "weight", "bias", "x", "h")),
        *((name, _pointer) for name in ("scores", "likely", "order")),
        *((name, _double) for name in ("temperature", "top_p")),
        ("top_k", _integer),
    ]


def writer_of(
    stepper: Stepper, embedding: Tensor | None, weight: Tensor, bias: Tensor | None
) -> "Writer | None":
    """Return a writer; None where there can be none.

    Args:
        stepper: The layers, for this writer alone.
        embedding: What is read for each token, (V, I); None: one-hot.
        weight: Of the scores, (V, H).
        bias: Of the scores, (V,), or None.
    """
    weights = [tensor for tensor in (embedding, weight, bias) if tensor is not None]
    usable = all(is_plain(w) and w.is_contiguous() and not w.is_inference() for w in weights)
    if not usable or any(w.dtype is not torch.float32 or not w.is_cpu for w in weights):
        return None
    library = _library()
    return None if library is None else Writer(library, stepper, embedding, weight, bias)


class Writer:
    """A language model in the middle of B texts; made by `writer_of`."""

    def __init__(
        self,
        library: ctypes.CDLL,
        stepper: Stepper,
        embedding: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
    ) -> None:
        self._stepper = stepper
        batch_size, input_size = stepper.input_shape
        (num_tokens, hidden_size), (step, calls) = weight.shape, stepper.entry
        assert input_size == (len(weight) if embedding is None else embedding.shape[1])
        tensors = [embedding, weight, bias]
        self._weights = [*stepper.weights, *(tensor for tensor in tensors if tensor is not None)]
        self._ids = [*map(id, self._weights)]
        self._places = _places(self._weights)
        self._versions = [*map(_version_of, self._weights)]
        self._is_known = False
        x = torch.zeros(batch_size, input_size, **FLOAT)
        h = torch.empty(batch_size, hidden_size, **FLOAT)
        scores = torch.empty(batch_size, num_tokens, **FLOAT)
        likely = torch.empty(num_tokens, **FLOAT)
        order = torch.empty(num_tokens, dtype=torch.int64)
        self._alive = (tensors, calls, x, h, scores, likely, order)
        memory = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
        memory += [tensor.data_ptr() for tensor in (x, h, scores, likely, order)]
        sizes = (len(calls), batch_size, input_size, hidden_size, num_tokens)
        self._description = _Description(
            step, pool_address(), ctypes.addressof(calls), *sizes, *memory, 1.0, 1.0, 0
        )
        self._address = ctypes.addressof(self._description)
        self._write = library.unrolled_write

    @property
    def states(self) -> tuple[Tensor, ...]:
        """The states of all layers, (L, B, H) each, updated by every token that is read."""
        return self._stepper.states

    def choose(self, temperature: float, top_k: int | None, top_p: float | None) -> None:
        """Say how tokens are drawn, as `filter_scores` of language models does."""
        self._description.temperature = temperature
        self._description.top_k, self._description.top_p = top_k or 0, top_p or 1.0

    def serves(self, weights: Sequence[Tensor] | None) -> bool:
        """Whether it reads these weights; asked before each token.

        Args:
            weights: Of the layers, then the embedding, weight and bias of the scores; None: others.
        """
        if weights is None or [*map(id, weights)] != self._ids or not may_use_kernels():
            return False
        if _places(self._weights) != self._places:
            return False
        versions = [*map(_version_of, self._weights)]
        if versions != self._versions:
            self._versions, self._is_known = versions, False
        return self._stepper.is_unchanged()

    def write(self, numbers: int, tokens: int) -> None:
        """Read a token for each row, and draw the next.

        Args:
            numbers: Address of B numbers in 0..1, float64.
            tokens: Address of B tokens, int64, each below V; updated. That of a row whose scores
                are not finite numbers is -1, and stays so.
        """
        self._write(self._address, numbers, tokens, self._is_known)
        self._is_known = True


_version_of = attrgetter("_version")


def _places(weights: Sequence[Tensor]) -> list[int]:
    """Return what changes with where weights are; asked at every token, so in few calls."""
    sizes = map(Tensor.numel, weights)
    return [*map(Tensor.data_ptr, weights), *sizes, *map(Tensor.is_contiguous, weights)]


def writer_source() -> str:
    """Return the C file of writers."""
    text = Path(__file__).with_name("writer.c").read_text(encoding="utf-8")
    return f"{call_text()}\n{text}"


@lru_cache
def _library() -> ctypes.CDLL | None:
    """Return writer.c, loaded; None, after a warning, where it cannot be had."""
    try:
        library = load_library(writer_source(), "writer", _prove)
    except KernelError as error:
        warn_once(f"models write more slowly than they could: {error}")
        return None
    _declare(library)
    return library


def _declare(library: ctypes.CDLL) -> Any:
    for function in (library.unrolled_write, library.unrolled_draw):
        function.restype = None
    library.unrolled_draw.argtypes = (_pointer, _pointer, _pointer)
    library.unrolled_write.argtypes = (_pointer, _pointer, _pointer, _integer)
    return library


_CASES = ((1.0, None, None), (0.5, 3, None), (2.0, None, 0.6), (1.0, 5, 0.7), (0.0, None, None))


def _prove(library: ctypes.CDLL) -> None:
    """Hold a new library against torch, on the scores of one row.

    Raises:
        KernelError: It draws another token.
    """
    _declare(library)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(37, generator=generator)
    likely, order = torch.empty(37), torch.empty(37, dtype=torch.int64)
    tokens, numbers = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
    order_of = scores.argsort(descending=True, stable=True)
    for temperature, top_k, top_p in _CASES:
        writer = _Description(num_layers=1, batch_size=1, hidden_size=1, num_tokens=37)
        writer.scores, writer.likely, writer.order = (t.data_ptr() for t in (scores, likely, order))
        writer.temperature, writer.top_k, writer.top_p = temperature, top_k or 0, top_p or 1.0
        candidates = order_of[: 1 if temperature == 0 else top_k]
        shares = (scores.double()[candidates] / (temperature or 1.0)).softmax(0)
        before = shares.cumsum(0) - shares
        candidates = candidates[before < (top_p or 2.0)]
        shares = torch.zeros(37).double().index_copy(0, candidates, shares[: len(candidates)])
        ends = shares.cumsum(0) / shares.sum()
        for number in torch.linspace(0.001, 0.999, 29).double():
            expected = int(torch.searchsorted(ends, number, right=True))
            numbers[0] = number
            library.unrolled_draw(ctypes.addressof(writer), numbers.data_ptr(), tokens.data_ptr())
            if int(tokens) != expected and (ends - number).abs().min() > 1e-5:
                raise KernelError("a library that draws tokens draws others than torch")
