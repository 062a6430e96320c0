"""How a cell is run over a sequence: `recurrence` is the one door, and picks the path.

Paths: `kernel` (C compiled from the cell's equations; float32 on CPU), `torch` (the cells that
torch implements) and `reference` (any cell, a loop in torch, which proves the others).
"""

from unrolled.kernels.compiler import KernelError
from unrolled.kernels.dispatch import Path, choose_path, recurrence, using_path
from unrolled.kernels.fused import packing_once
from unrolled.kernels.reference import Weights
from unrolled.kernels.trace import UntraceableError

__all__ = [
    "KernelError",
    "Path",
    "UntraceableError",
    "Weights",
    "choose_path",
    "packing_once",
    "recurrence",
    "using_path",
]
