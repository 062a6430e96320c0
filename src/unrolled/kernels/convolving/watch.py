"""Whether a stream's modules are what they were: asked before each step, so in C and in one call.

A network has a hundred modules and fifty weights; to ask each of them from Python takes longer than
the step itself.
"""

import ctypes
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from unrolled.kernels.convolving.library import NetworkLibrary
from unrolled.kernels.running.crossing import dlpack_exchange, is_possible

__all__ = ["ANOTHER", "CHANGED", "SAME", "Watch"]

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64

ANOTHER, CHANGED, SAME = range(3)
"""What `Watch.look` says: other modules, other numbers, or all as it was."""


class _Python(ctypes.Structure):
    """`Python` of network.c."""

    _fields_ = [
        *((name, _pointer) for name in ("item", "size", "attribute", "as_integer", "decrease")),
        *((name, _pointer) for name in ("clear_error", "look", "version")),
    ]


class _Watch(ctypes.Structure):
    """`Watch` of network.c."""

    _fields_ = [
        *((name, _integer) for name in ("num_dicts", "num_entries", "num_weights")),
        *((name, _pointer) for name in ("dicts", "sizes", "owners", "keys", "values")),
        *((name, _pointer) for name in ("weights", "addresses", "versions")),
    ]


_FUNCTIONS = (
    "PyDict_GetItemWithError",
    "PyDict_Size",
    "PyObject_GetAttr",
    "PyLong_AsLongLong",
    "Py_DecRef",
    "PyErr_Clear",
)
_VERSION = sys.intern("_version")


class Watch:
    """Dicts whose entries are to stay the same objects, and weights, as they are now.

    Attributes:
        addresses: What the C functions that look are given.

    Args:
        library: Whose C looks.
        dicts: The dicts.
        weights: float32 tensors, on CPU.
    """

    def __init__(
        self, library: NetworkLibrary, dicts: Sequence[Mapping[Any, Any]], weights: Sequence[Tensor]
    ) -> None:
        entries = [(owner, key, value) for owner in dicts for key, value in owner.items()]
        pointers, integers = _pointer * len(weights), _integer * len(weights)
        of_entries = _pointer * len(entries)
        arrays: tuple[Any, ...] = (
            (_pointer * len(dicts))(*map(id, dicts)),
            (_integer * len(dicts))(*map(len, dicts)),
            *(of_entries(*map(id, column)) for column in zip(*entries, strict=True)),
            pointers(*map(id, weights)),
            integers(*(weight.data_ptr() for weight in weights)),
            integers(*(weight._version for weight in weights)),
        )
        self._alive = (dicts, entries, weights, arrays)
        counts = (len(dicts), len(entries), len(weights))
        self._watch = _Watch(*counts, *map(ctypes.addressof, arrays))
        self._python = _table()
        self._look = library.watch
        self.addresses = (ctypes.addressof(self._python), ctypes.addressof(self._watch))

    @staticmethod
    def is_possible() -> bool:
        """Whether this Python and this torch have what network.c asks of them."""
        return is_possible()

    def look(self) -> int:
        """Return whether all is as it was when last looked at: ANOTHER, CHANGED or SAME.

        The next look compares with now.
        """
        return int(self._look(*self.addresses))


def _table() -> _Python:
    functions = [ctypes.cast(getattr(ctypes.pythonapi, n), _pointer).value for n in _FUNCTIONS]
    exchange = dlpack_exchange()
    assert exchange is not None
    return _Python(*functions, (_pointer * 7).from_address(exchange)[5], id(_VERSION))
