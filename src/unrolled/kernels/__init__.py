"""How a cell is run over a sequence: `recurrence` is the one door, and picks the path.

Paths: `kernel` (C compiled from the cell's equations; float32 on CPU), `torch` (the cells that
torch implements) and `reference` (any cell, a loop in torch, which proves the others).
"""

from unrolled.kernels.compiler import KernelError
from unrolled.kernels.dispatch import (
    Path,
    choose_path,
    may_step,
    recorded_recurrence,
    recurrence,
    steps_of,
    using_path,
)
from unrolled.kernels.fused import Packed, packing_once
from unrolled.kernels.reference import Weights
from unrolled.kernels.steps import Steps
from unrolled.kernels.trace import UntraceableError

__all__ = [
    "KernelError",
    "Packed",
    "Path",
    "Steps",
    "UntraceableError",
    "Weights",
    "choose_path",
    "may_step",
    "packing_once",
    "recorded_recurrence",
    "recurrence",
    "steps_of",
    "using_path",
]
