"""Memory for kernels: large pages, and scratch that a thread keeps from call to call."""

import ctypes
import threading
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["FLOAT", "buffer", "scratch"]

_HUGE_PAGE = 2 << 20
_MADV_HUGEPAGE = 14
_MOST_KEPT = 64 << 20  # bytes of each kind of scratch, for each thread

# said each time, because a user may have changed torch's defaults
FLOAT: Any = {"dtype": torch.float32, "device": "cpu"}

_kept = threading.local()


def scratch(name: str, floats: int) -> Tensor:
    """Return memory for the length of one call: this thread's, which is kept unless it is large.

    New memory has to be made zero by the system first, page by page, at each call.
    """
    if 4 * floats > _MOST_KEPT:
        return buffer(floats)
    held: Tensor | None = getattr(_kept, name, None)
    if held is None or len(held) < floats:
        with torch.inference_mode(False):
            held = buffer(floats)
        setattr(_kept, name, held)
    return held


def buffer(*shape: int) -> Tensor:
    """Return uninitialised memory, in huge pages where it is large: faults are what costs."""
    memory = torch.empty(shape, **FLOAT)
    if memory.nbytes >= 2 * _HUGE_PAGE:
        begin = -(-memory.data_ptr() // _HUGE_PAGE) * _HUGE_PAGE
        end = (memory.data_ptr() + memory.nbytes) // _HUGE_PAGE * _HUGE_PAGE
        _advise(begin, end - begin)
    return memory


def _advise(begin: int, size: int) -> None:
    advise = getattr(_libc(), "madvise", None)
    if advise is not None:  # elsewhere pages are what they are
        advise(ctypes.c_void_p(begin), ctypes.c_size_t(size), _MADV_HUGEPAGE)


@lru_cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
