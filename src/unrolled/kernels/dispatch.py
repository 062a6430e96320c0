"""Which way a cell is run over a sequence: its compiled kernel, torch's own code, or the reference.

All take the same arguments and give the same numbers to rounding.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unrolled.cells import Cell
from unrolled.kernels import reference, vendor
from unrolled.kernels.compiler import KernelError
from unrolled.kernels.fused import Kernel, make_kernel
from unrolled.kernels.reference import Weights
from unrolled.kernels.trace import UntraceableError

__all__ = ["Path", "choose_path", "recurrence", "using_path"]

Path = Literal["kernel", "reference", "torch"]

_forced: ContextVar[Path | None] = ContextVar("forced", default=None)


def choose_path(
    cell: Cell,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    even: bool = True,
    projected: bool = False,
) -> Path:
    """Return the path that `recurrence` takes. The first time, this compiles the cell's kernel.

    Args:
        cell: The equations.
        dtype: Of all tensors.
        device: The type of the device that they are on.
        even: Whether all rows of the batch have the same length.
        projected: Whether the output is projected.
    """
    if forced := _forced.get():
        return forced
    if dtype is torch.float32 and device == "cpu" and not projected and kernel_of(cell):
        return "kernel"
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
    path = _path_of(cell, x, batch_sizes, weights, states)
    if path == "kernel":
        kernel = kernel_of(cell)
        if kernel is None:
            raise KernelError(f"cell {cell.name}: has no kernel", "see the warning that says why")
        return kernel.run(x, batch_sizes, weights, states, reverse=reverse)
    run = vendor.run if path == "torch" else reference.run
    return run(cell, x, batch_sizes, weights, states, reverse=reverse)


def kernel_taken(
    cell: Cell,
    x: Tensor,
    batch_sizes: Sequence[int],
    weights: Weights,
    states: tuple[Tensor, ...],
) -> Kernel | None:
    """Return the kernel that `recurrence` would run, None if it would take another path."""
    taken = _path_of(cell, x, batch_sizes, weights, states) == "kernel"
    return kernel_of(cell) if taken else None


def _path_of(
    cell: Cell,
    x: Tensor,
    batch_sizes: Sequence[int],
    weights: Weights,
    states: tuple[Tensor, ...],
) -> Path:
    tensors = (x, *states, *(w for w in weights[:5] if w is not None), *weights.parameters)
    readable = all(_is_readable(tensor) for tensor in tensors)
    path = choose_path(
        cell,
        dtype=x.dtype if readable else torch.float64,
        device=x.device.type,
        even=bool(batch_sizes) and batch_sizes[-1] == len(states[0]),
        projected=weights.weight_hr is not None,
    )
    if path == "kernel" and not x.numel():
        return "reference"  # nothing to do, and it knows how to do nothing
    return path


def kernel_of(cell: Cell) -> Kernel | None:
    """Return the compiled kernel of `cell`, or None after one warning that says why."""
    found = kernel_or_reason(cell)
    if isinstance(found, Kernel):
        return found
    _warn(found)
    return None


@cache
def kernel_or_reason(cell: Cell) -> Kernel | str:
    """Return the compiled kernel of `cell`, or why it has none."""
    try:
        return make_kernel(cell)
    except UntraceableError as error:
        return f"{error}; cell {cell.name} runs on the reference loop, which is slower"
    except KernelError as error:
        return f"cells run without compiled kernels, which is slower: {error}"


@cache
def _warn(reason: str) -> None:
    warnings.warn(reason, stacklevel=2)


def _is_readable(x: Tensor) -> bool:
    """Whether a kernel can read `x` from memory: not traced, transformed, cast or a dual number."""
    return (
        type(x) in (Tensor, torch.nn.Parameter)
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and forward_ad._current_level < 0
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
        and not torch.is_autocast_enabled(x.device.type)
    )
