"""Memory for kernels: large pages, and blocks that are used again from call to call.

The system makes new memory zero, page by page, each time that it is given out: as long as a tenth
of a training step. So scratch stays with its thread, and large blocks, which live as long as
tensors do, go back to an arena.
"""

import ctypes
import math
import threading
import weakref
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["FLOAT", "Arena", "buffer", "buffer_like", "keep_scratch", "lasting", "take_scratch"]

_HUGE_PAGE = 2 << 20
_MADV_HUGEPAGE = 14
_MOST_KEPT = 64 << 20  # bytes of each kind of scratch, for each thread
_LEAST_OF_ARENA = 4 << 20  # bytes; what is smaller, malloc keeps
_MOST_OF_ARENA = 512 << 20

# stated each time, because a user may have changed torch's defaults
FLOAT: Any = {"dtype": torch.float32, "device": "cpu"}

_of_this_thread = threading.local()

# glibc maps what is larger than the largest mapped block that was freed, so that each call faults
# its pages in, and gives back what is free above twice that: this has it keep a call's results
torch.empty(2 * _LEAST_OF_ARENA // 4, **FLOAT)


def take_scratch(name: str, floats: int) -> Tensor:
    """Return memory for the length of one call: this thread's own, unless it is large.

    It is out of reach until `keep_scratch`: a signal may come in the middle of a call, and its
    handler run another one.
    """
    if 4 * floats > _MOST_KEPT:
        return lasting(floats)
    memory: Tensor | None = _of_this_thread.__dict__.pop(name, None)
    if memory is None or memory.shape[0] < floats:
        with torch.inference_mode(False):
            memory = buffer(floats)
    return memory


def keep_scratch(name: str, memory: Tensor) -> None:
    """Keep what `take_scratch` gave for the next call of this thread, unless it is large."""
    if memory.nbytes <= _MOST_KEPT:
        _of_this_thread.__dict__[name] = memory


def buffer(*shape: int) -> Tensor:
    """Return uninitialised memory, in huge pages where it is large, since page faults cost most."""
    return _in_huge_pages(torch.empty(shape, **FLOAT))


def buffer_like(tensor: Tensor) -> Tensor:
    """Return such memory of the shape of a float32 tensor, in half the time."""
    return _in_huge_pages(torch.empty_like(tensor, memory_format=torch.contiguous_format))


def _in_huge_pages(memory: Tensor) -> Tensor:
    if memory.nbytes >= 2 * _HUGE_PAGE:
        begin = -(-memory.data_ptr() // _HUGE_PAGE) * _HUGE_PAGE
        end = (memory.data_ptr() + memory.nbytes) // _HUGE_PAGE * _HUGE_PAGE
        _advise(begin, end - begin)
    return memory


class Arena:
    """Large blocks that are used again once nothing sees them.

    A block is lent as a tensor on a ctypes array over it. Whatever sees the memory - views, numpy
    arrays, storages, graphs - keeps that array alive, and its end gives the block back. Blocks in
    use and kept are never more than were in use at one time.

    Such a tensor cannot be given a larger storage (`resize_`), and so is not for a user's hands.

    There is no lock: an array may end at any moment, also inside of these functions, and a process
    may fork. Each change is one operation on a dict, which happens whole or not at all; what walks
    through one has made a list of its values before, which makes no objects on the way.

    Args:
        most_kept: Bytes of blocks that nobody uses.
    """

    def __init__(self, most_kept: int) -> None:
        self._most_kept = most_kept
        self._most_used = 0
        self._used: dict[int, int] = {}  # bytes, by address
        self._kept: dict[int, Tensor] = {}  # the longest kept first

    @property
    def kept_bytes(self) -> int:
        """Bytes of blocks that nobody uses."""
        return sum(block.nbytes for block in list(self._kept.values()))

    @property
    def used_bytes(self) -> int:
        """Bytes of blocks that are lent."""
        return sum(list(self._used.values()))

    def lend(self, *shape: int) -> Tensor:
        """Return uninitialised memory."""
        floats = math.prod(shape)
        block = self._take(floats)
        if block is None:
            step = 1 << max(floats.bit_length() - 4, 0)  # sizes that are about the same are one
            size = -(-floats // step) * step
            self._drop(self._most_used - 4 * size)
            with torch.inference_mode(False):
                block = buffer(size)
        address = block.data_ptr()
        self._used[address] = block.nbytes
        self._most_used = max(self._most_used, self.used_bytes)
        array = (ctypes.c_float * floats).from_address(address)
        weakref.finalize(array, self._give_back, block).atexit = False
        return torch.frombuffer(array, dtype=torch.float32).view(shape)

    def _take(self, floats: int) -> Tensor | None:
        """Return the smallest kept block that is large enough, and not much too large."""
        fitting = (b for b in list(self._kept.values()) if floats <= len(b) <= 1.25 * floats)
        for block in sorted(fitting, key=len):
            if self._kept.pop(block.data_ptr(), None) is not None:  # no other thread was faster
                return block
        return None

    def _give_back(self, block: Tensor) -> None:
        self._used.pop(block.data_ptr())
        self._kept[block.data_ptr()] = block
        self._drop(self._most_used)

    def _drop(self, most: int) -> None:
        """Give blocks to the system until those used and kept are not above `most` bytes."""
        for block in list(self._kept.values()):
            num_bytes = self.kept_bytes
            if num_bytes <= self._most_kept and num_bytes + self.used_bytes <= most:
                break
            self._kept.pop(block.data_ptr(), None)


_arena = Arena(_MOST_OF_ARENA)


def lasting(*shape: int) -> Tensor:
    """Return uninitialised memory that lasts as long as anything sees it; not for users' hands."""
    return _arena.lend(*shape) if 4 * math.prod(shape) >= _LEAST_OF_ARENA else buffer(*shape)


def _advise(begin: int, size: int) -> None:
    advise = getattr(_libc(), "madvise", None)
    if advise is not None:  # elsewhere pages stay as they are
        advise(ctypes.c_void_p(begin), ctypes.c_size_t(size), _MADV_HUGEPAGE)


@lru_cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
