"""What was freed is given back to the system, where the C library can be asked to.

Of a large table one form is made of another, piece by piece. What is freed of the first lies
between pieces of the second, and glibc keeps it for itself: the process would grow by both.
"""

import ctypes
from functools import cache
from typing import Any

__all__ = ["give_back"]


def give_back() -> None:
    """Give free memory back to the system: with glibc in milliseconds, nothing with others."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; Windows has no names here
        return None
