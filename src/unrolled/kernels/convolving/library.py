"""The compiled kernel of networks, network.c: its structures, and its functions.

Only here is it called. How its arguments come from tensors is in `passes.py`.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path

from unrolled.kernels.building import load_library
from unrolled.kernels.emitting import call_text
from unrolled.kernels.running.library import pool_address

__all__ = [
    "PIECE_NUMBERS",
    "SAMPLES",
    "BlockCall",
    "NetworkCall",
    "NetworkLibrary",
    "SamplesCall",
    "load_network",
    "network_source",
]

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64

SAMPLES = 16
"""How many numbers of a weight network.c compares."""

PIECE_NUMBERS = 6
"""How many numbers `Piece` of network.c has, int64 all."""


class BlockCall(ctypes.Structure):
    """`Block` of network.c."""

    _fields_ = [
        ("input_size", _integer),
        ("dilation", _integer),
        ("scale", ctypes.c_double),
        *((name, _pointer * 3) for name in ("weight", "bias")),
        *((name, _pointer * 2) for name in ("past", "state", "keep", "d_state", "d_past")),
        *((name, _pointer * 3) for name in ("d_weight", "d_bias")),
    ]


class NetworkCall(ctypes.Structure):
    """`Network` of network.c."""

    _fields_ = [
        *((name, _integer) for name in ("num_blocks", "num_steps", "batch_size", "hidden_size")),
        *((name, _integer) for name in ("kernel_size", "num_threads", "train")),
        *((name, _integer) for name in ("x_step", "x_row", "y_step", "y_row")),
        ("lengths", _pointer),
        ("num_pieces", _integer),
        *((name, _pointer) for name in ("pieces", "x", "y", "d_x")),
        ("blocks", ctypes.POINTER(BlockCall)),
        *((name, _pointer) for name in ("packed", "workspace", "tape")),
    ]


class SamplesCall(ctypes.Structure):
    """`Samples` of network.c."""

    _fields_ = [
        ("num_weights", _integer),
        *((name, _pointer) for name in ("weights", "sizes", "known")),
    ]


def network_source() -> str:
    """Return the C file of the kernel."""
    text = Path(__file__).with_name("network.c").read_text(encoding="utf-8")
    structures = ((BlockCall, "Block"), (NetworkCall, "Network"), (SamplesCall, "Samples"))
    assertions = [
        f'_Static_assert(offsetof({theirs}, {name}) == {getattr(ours, name).offset}, "{name}");'
        for ours, theirs in structures
        for name, *_ in ours._fields_
    ]
    assertions.append(f'_Static_assert(sizeof(Piece) == 8 * {PIECE_NUMBERS}, "Piece");')
    assertions.append(f'_Static_assert(SAMPLES == {SAMPLES}, "SAMPLES");')
    return "\n".join([call_text(), text, "/* As library.py has it. */", *assertions, ""])


class NetworkLibrary:
    """The loaded kernel.

    Args:
        library: What `network_source` was compiled to.

    Raises:
        KernelError: Torch's pool of threads cannot be called.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        pool, call = _pointer(pool_address()), ctypes.POINTER(NetworkCall)

        def function(name: str, result: object, *arguments: object) -> Callable[..., int]:
            entry = library[f"unrolled_network_{name}"]
            entry.restype, entry.argtypes = result, arguments  # type: ignore[assignment]  # of ctypes
            return entry

        self._library, self._pool = library, pool  # stays loaded
        self.pool = pool.value
        self.packed_floats = function("packed_floats", _integer, call)
        self.tape_floats = function("tape_floats", _integer, call)
        self._workspace_floats = function("workspace_floats", _integer, call, _integer)
        self.step_floats = function("step_floats", _integer, call)
        self.is_known = function("is_known", _integer, ctypes.POINTER(SamplesCall))
        # called with the interpreter's lock held, since they read objects
        self.watch = ctypes.PYFUNCTYPE(_integer, _pointer, _pointer)(
            ("unrolled_network_watch", library)
        )
        self.short_step = ctypes.PYFUNCTYPE(_integer, _pointer, _integer, _pointer, _pointer)(
            ("unrolled_network_short_step", library)
        )
        self._pack = function("pack", None, _pointer, call)
        self._forward = function("forward", None, _pointer, call)
        self._backward = function("backward", None, _pointer, call)
        self._step = function("step", None, _pointer, call, _integer, _pointer, _pointer)

    def workspace_floats(self, call: NetworkCall, *, backward: bool) -> int:
        """Return how many floats `call.workspace` must hold."""
        return self._workspace_floats(call, backward)

    def pack(self, call: NetworkCall) -> None:
        """Write `call.packed`, for steps."""
        self._pack(self._pool, call)

    def forward(self, call: NetworkCall) -> None:
        """Run all blocks."""
        self._forward(self._pool, call)

    def backward(self, call: NetworkCall) -> None:
        """Compute all gradients."""
        self._backward(self._pool, call)

    def step(self, call: NetworkCall, count: int, x: int, y: int) -> None:
        """Run one step after `count` others, from and to the addresses."""
        self._step(self._pool, call, count, x, y)


def load_network(prove: Callable[[NetworkLibrary], None]) -> NetworkLibrary:
    """Return the kernel, compiled now or from the cache.

    Args:
        prove: Is given what was compiled now; raises a KernelError if it is wrong.

    Raises:
        KernelError: There is neither a prebuilt library nor a compiler, or it fails, or the library
            cannot be loaded.
    """
    library = load_library(network_source(), "tcn", lambda library: prove(NetworkLibrary(library)))
    return NetworkLibrary(library)
