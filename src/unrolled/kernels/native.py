"""The door to a compiled kernel: its C structure, its functions, and torch's pool of threads.

Only here do Python and `runtime/call.h` meet. What the arguments mean is said there; how they come
from tensors is in `fused.py`.
"""

import ctypes
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from unrolled.kernels.compiler import KernelError

__all__ = ["MOST_PARAMETERS", "MOST_STATES", "Call", "Library"]

MOST_STATES, MOST_PARAMETERS = 8, 24  # of a cell that a kernel can have
_pointer, _integer = ctypes.c_void_p, ctypes.c_int64


class Call(ctypes.Structure):
    """`Call` of runtime/call.h."""

    _fields_ = [
        *((name, _integer) for name in ("num_steps", "num_rows", "input_size", "hidden_size")),
        *((name, _integer) for name in ("reverse", "train", "gate_stride")),
        *((name, _integer) for name in ("num_parts", "num_threads")),
        *((name, _pointer) for name in ("batch_sizes", "starts", "parts", "x")),
        *((name, _pointer) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        ("parameters", _pointer * MOST_PARAMETERS),
        *((name, _pointer) for name in ("packed", "workspace", "gates", "records")),
        ("initial", _pointer * MOST_STATES),
        ("states", _pointer * MOST_STATES),
        ("d_output", _pointer),
        ("d_states", _pointer * MOST_STATES),
        *((name, _pointer) for name in ("d_x", "d_weight_ih", "d_weight_hh")),
        *((name, _pointer) for name in ("d_bias_ih", "d_bias_hh")),
        ("d_parameters", _pointer * MOST_PARAMETERS),
    ]


class Library:
    """A loaded kernel.

    Args:
        library: What its source was compiled to.

    Attributes:
        slots: Vectors of H in a row of the gate buffer, in training.
        scratch_slots: The same, otherwise.
        records: The names of what a step records, in order.

    Raises:
        KernelError: torch's pool of threads cannot be called.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        described = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, _DESCRIPTION)))
        description = json.loads(described)
        self.slots: int = description["slots"]
        self.scratch_slots: int = description["scratch_slots"]
        self.records: tuple[str, ...] = tuple(description["records"])
        size = ctypes.c_int64.in_dll(library, "unrolled_call_bytes").value
        assert size == ctypes.sizeof(Call), (size, ctypes.sizeof(Call))
        self._library = library  # kept loaded
        pool = _pool()
        self._pool = _pointer(pool)
        call = ctypes.POINTER(Call)
        self._pack = _function(library, "pack", None, _pointer, call, _integer)
        self._forward = _function(library, "forward", None, _pointer, call)
        self._backward = _function(library, "backward", None, _pointer, call)
        self._step = _function(
            library, "step", None, _pointer, call, _integer, _pointer, _pointer, _integer
        )
        self._packed = _function(library, "packed_floats", _integer, call)
        self._workspace = _function(library, "workspace_floats", _integer, call, _integer)

    def packed_floats(self, call: Call) -> int:
        """Return how many floats `call.packed` must hold."""
        return int(self._packed(call))

    def workspace_floats(self, call: Call, *, backward: bool) -> int:
        """Return how many floats `call.workspace` must hold."""
        return int(self._workspace(call, backward))

    def pack(self, call: Call, *, known: bool) -> None:
        """Write `call.packed`; if it is `known` to hold these weights, only if a sample differs."""
        self._pack(self._pool, call, known)

    def forward(self, call: Call) -> None:
        """Run all steps."""
        self._forward(self._pool, call)

    def step(self, calls: Any, x: int, y: int, *, known: bool) -> None:
        """Run one step of a stack of layers, an array of calls; from and to the addresses."""
        self._step(self._pool, calls, len(calls), x, y, known)

    def backward(self, call: Call) -> None:
        """Compute all gradients."""
        self._backward(self._pool, call)


_DESCRIPTION = "unrolled_description"


def _function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = library[f"unrolled_{name}"]
    function.restype, function.argtypes = result, arguments
    return function


@lru_cache
def _pool() -> int:
    """Return the address of `torch_parallel_for`, a part of torch's stable ABI."""
    folder = Path(torch.__file__).parent / "lib"
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.dll"):
        if (file := folder / name).exists():
            try:
                address = ctypes.cast(ctypes.CDLL(str(file)).torch_parallel_for, _pointer).value
            except (OSError, AttributeError) as error:
                raise KernelError(f"torch's threads cannot be called: {error}") from error
            assert address is not None
            return address
    raise KernelError(f"torch's threads cannot be called: no libtorch_cpu in {folder}")
