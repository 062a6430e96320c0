"""A loaded kernel: its C functions, and torch's pool of threads, which they run on.

Only here is C called. How its arguments come from tensors is in `calls.py`.
"""

import ctypes
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from unrolled.kernels.building import KernelError
from unrolled.kernels.emitting import Call
from unrolled.kernels.running.weight_format import UnscaledError

__all__ = ["Library", "pool_address"]

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64


class Library:
    """A loaded kernel.

    Args:
        library: What its source was compiled to.

    Attributes:
        slots: Vectors of H in a row of the gate buffer, in training.
        scratch_slots: The same, otherwise.
        numbers: Floats behind them, in both, that are for all units of a row.
        records: The names of what a step records, in order.
        trains: Whether it has a backward pass.

    Raises:
        KernelError: Torch's pool of threads cannot be called.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        text = ctypes.c_char.in_dll(library, "unrolled_description")
        description = json.loads(ctypes.string_at(ctypes.addressof(text)))
        self.slots: int = description["slots"]
        self.scratch_slots: int = description["scratch_slots"]
        self.numbers: int = description["numbers"]
        self.records: tuple[str, ...] = tuple(description["records"])
        self.trains: bool = description["trains"]
        self._library = library  # stays loaded
        self._pool = _pointer(pool_address())
        call = ctypes.POINTER(Call)
        self._pack = _function(library, "pack", _integer, _pointer, call, _integer)
        self._forward = _function(library, "forward", None, _pointer, call)
        if self.trains:
            self._backward = _function(library, "backward", None, _pointer, call)
        self._step = _function(
            library, "step", _integer, _pointer, call, _integer, _pointer, _pointer, _integer
        )
        self._packed_floats = _function(library, "packed_floats", _integer, call)
        self._workspace_floats = _function(library, "workspace_floats", _integer, call, _integer)

    def address(self, name: str) -> int:
        """Return where the function `unrolled_{name}` is."""
        address = ctypes.cast(self._library[f"unrolled_{name}"], _pointer).value
        assert address is not None
        return address

    def packed_floats(self, call: Call) -> int:
        """Return how many floats `call.packed` must hold."""
        return int(self._packed_floats(call))

    def workspace_floats(self, call: Call, *, backward: bool) -> int:
        """Return how many floats `call.workspace` must hold."""
        return int(self._workspace_floats(call, backward))

    def pack(self, call: Call, *, known: bool) -> None:
        """Write `call.packed`, to be kept; if it is `known` to be it, only if a sample differs.

        Raises:
            UnscaledError: The weights are of int8, and some have no scale.
        """
        if not self._pack(self._pool, call, known):
            raise UnscaledError

    def forward(self, call: Call) -> None:
        """Run all steps, with weights that are packed now unless they are kept."""
        self._forward(self._pool, call)

    def step(self, calls: Any, x: int, y: int, *, known: bool) -> None:
        """Run one step of a stack of layers, an array of calls; from and to the addresses.

        Raises:
            UnscaledError: As `pack`; then nothing was read.
        """
        if not self._step(self._pool, calls, len(calls), x, y, known):
            raise UnscaledError

    def backward(self, call: Call) -> None:
        """Compute all gradients."""
        self._backward(self._pool, call)


def _function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = library[f"unrolled_{name}"]
    function.restype, function.argtypes = result, arguments
    return function


@lru_cache
def pool_address() -> int:
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
