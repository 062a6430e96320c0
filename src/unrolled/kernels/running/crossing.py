"""The way from Python's objects to a kernel in one call: `crossing.c`, built as kernels are.

A small module of Python that is made at the first use, of C that needs no headers: functions of
Python's stable interface are given to it by address, tensors are read by DLPack's exchange. Where
there can be none, calls go through ctypes, in `kernel.py`: the same numbers, later.
"""

import ctypes
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unrolled.kernels.building import load_library
from unrolled.kernels.emitting import call_text
from unrolled.kernels.memory import UNOBSERVED
from unrolled.kernels.running.calls import threads_run_at_once
from unrolled.kernels.running.library import pool_address

__all__ = ["Crossing", "crossing_source", "dlpack_exchange", "is_possible", "load_crossing"]

_pointer, _integer = ctypes.c_void_p, ctypes.c_longlong

# In the order of crossing.c; of Python's interface, then objects.
_FUNCTIONS = (
    "PyObject_Vectorcall",
    "PyObject_VectorcallMethod",
    "PyObject_GetAttr",
    "PyDict_GetItemWithError",
    "PyObject_Type",
    "PyTuple_New",
    "PyTuple_Size",
    "PyTuple_GetItem",
    "PyTuple_SetItem",
    "PyLong_AsLongLong",
    "PyLong_FromLongLong",
    "PyLong_AsVoidPtr",
    "Py_IncRef",
    "Py_DecRef",
    "PyErr_Clear",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyCFunction_NewEx",
    "PyObject_GetBuffer",
    "PyBuffer_Release",
)
_METHODS = ("is_neg", "storage_offset", "untyped_storage", "nbytes", "requires_grad", "_version")
_MORE = ("is_inference", "new_empty", "empty_like", "raw_repr", "cpu", "_current_level")


class Crossing(NamedTuple):
    """The functions of crossing.c and streams.c, which explain their arguments."""

    infer: Callable[..., Any]
    train: Callable[..., Any]
    gradients: Callable[..., Any]
    step: Callable[..., Any]
    step_bound: Callable[..., Any]
    advance: Callable[..., Any]


def is_possible() -> bool:
    """Whether this Python and this torch have what crossing.c asks of them."""
    return (
        sys.implementation.name == "cpython"
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
        and dlpack_exchange() is not None
        and all(hasattr(ctypes.pythonapi, name) for name in _FUNCTIONS)
    )


def load_crossing(prove: Callable[[Crossing], None]) -> Crossing:
    """Return the functions, compiled now or from the cache.

    Args:
        prove: Is given what was compiled now; raises a KernelError if it is wrong.

    Raises:
        KernelError: There is neither a prebuilt library nor a compiler, or it fails, or the library
            cannot be loaded.
    """
    library = load_library(crossing_source(), "crossing", lambda library: prove(_open(library)))
    return _open(library)


def crossing_source() -> str:
    """Return the C file of crossings."""
    files = [Path(__file__).with_name(name) for name in ("crossing.c", "streams.c")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return f"{call_text()}\n{text}"


def _open(library: ctypes.CDLL) -> Crossing:
    table = _table()
    # called with the interpreter's lock held, since it makes objects
    opener = ctypes.PYFUNCTYPE(ctypes.py_object, _pointer, _integer)(("unrolled_crossing", library))
    functions = opener(ctypes.addressof(table), ctypes.sizeof(table))
    return Crossing(*functions)


_alive: list[object] = []  # what the table points to, for ever


def _table() -> ctypes.Array[ctypes.c_void_p]:
    """Return what crossing.c calls `py`."""
    exchange = dlpack_exchange()
    assert exchange is not None
    look = (_pointer * 7).from_address(exchange)[5]
    functions = [ctypes.cast(getattr(ctypes.pythonapi, n), _pointer).value for n in _FUNCTIONS]
    names = [sys.intern(name) for name in (*_METHODS, *_MORE)]
    objects: list[object] = [None, True, False, Tensor, torch.nn.Parameter, *names]
    objects[objects.index("empty_like")] = torch.empty_like
    objects += [
        vars(forward_ad),
        torch._C._dispatch_tls_local_include_set,
        torch.is_autocast_enabled,
        torch.is_grad_enabled,
        torch.get_num_threads,
        torch._C._increment_version,
    ]
    _alive.extend(objects)
    values = [*functions, look, pool_address(), *map(id, objects)]
    values += [UNOBSERVED, int(threads_run_at_once())]
    return (_pointer * len(values))(*values)


def dlpack_exchange() -> int | None:
    """Return the address of torch's table of DLPack's exchange, version 1; None without one."""
    capsule = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return None
    get = ctypes.PYFUNCTYPE(_pointer, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    address: int | None = get(capsule, b"dlpack_exchange_api")
    if not address or ctypes.c_uint32.from_address(address).value != 1:
        return None
    return address if (_pointer * 7).from_address(address)[5] else None
