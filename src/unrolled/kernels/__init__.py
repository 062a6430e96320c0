"""How a cell is run over a sequence: `recurrence` is the one door, and picks the path.

Paths: `reference` (any cell, a loop in torch) and `torch` (the cells that torch implements).
All take the same arguments and give the same numbers to rounding; `using_path` forces one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from torch import Tensor

from unrolled.cells import Cell
from unrolled.kernels import reference, vendor
from unrolled.kernels.reference import Weights

__all__ = ["Path", "Weights", "choose_path", "recurrence", "using_path"]

Path = Literal["reference", "torch"]

_forced: ContextVar[Path | None] = ContextVar("forced", default=None)


def choose_path(cell: Cell, *, even: bool = True, projected: bool = False) -> Path:
    """Return the path that `recurrence` takes for `cell`.

    Args:
        cell: The equations.
        even: Whether all rows of the batch have the same length.
        projected: Whether the output is projected; torch has no fast code for that on CPU.
    """
    if forced := _forced.get():
        return forced
    return "torch" if cell in vendor.CELLS and even and not projected else "reference"


@contextmanager
def using_path(path: Path) -> Iterator[None]:
    """Make every recurrence inside the `with` block take `path`."""
    token = _forced.set(path)
    try:
        yield
    finally:
        _forced.reset(token)


def recurrence(
    cell: Cell,
    x: Tensor,
    batch_sizes: Sequence[int],
    weights: Weights,
    states: tuple[Tensor, ...],
    *,
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `cell` over a batch; arguments and result are those of `reference.run`."""
    even = bool(batch_sizes) and batch_sizes[-1] == len(states[0])
    path = choose_path(cell, even=even, projected=weights.weight_hr is not None)
    run = {"reference": reference.run, "torch": vendor.run}[path]
    return run(cell, x, batch_sizes, weights, states, reverse=reverse)
