"""Which way a cell is run over a sequence: its compiled kernel, torch's own code, or the reference.

All take the same arguments and give the same numbers to rounding.
"""

import sys
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
from unrolled.kernels import autograd, reference, vendor
from unrolled.kernels.build import cache_folder
from unrolled.kernels.compiler import KernelError
from unrolled.kernels.fused import Kernel, make_kernel
from unrolled.kernels.reference import Weights
from unrolled.kernels.steps import Steps
from unrolled.kernels.trace import UntraceableError

__all__ = [
    "Path",
    "choose_path",
    "may_step",
    "recorded_recurrence",
    "recurrence",
    "steps_of",
    "using_path",
]

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
        kernel = _needed_kernel(cell)
        return autograd.run(kernel, x, batch_sizes, weights, states, reverse=reverse)
    run = vendor.run if path == "torch" else reference.run
    return run(cell, x, batch_sizes, weights, states, reverse=reverse)


@torch.no_grad()
def recorded_recurrence(
    cell: Cell,
    x: Tensor,
    batch_sizes: Sequence[int],
    weights: Weights,
    states: tuple[Tensor, ...],
    *,
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor]]:
    """Do what `recurrence` does, without gradients, and return what the cell named at each step.

    Returns:
        Output and states as `recurrence`, and by name all (B, H) tensors that the cell returned,
        (N, H) each in the order of `x`; what it returned as booleans is 0 or 1.
    """
    if _path_of(cell, x, batch_sizes, weights, states) == "kernel":
        return _needed_kernel(cell).record(x, batch_sizes, weights, states, reverse=reverse)
    steps: dict[int, dict[str, Tensor]] = {}
    output, after = reference.run(
        cell, x, batch_sizes, weights, states, reverse=reverse, watch=steps.__setitem__
    )
    shape = states[-1].shape[1:]
    if not steps:  # all rows have length zero: the names, of nothing
        one = torch.zeros(1, x.shape[1], dtype=x.dtype, device=x.device)
        start = tuple(state.new_zeros(1, *state.shape[1:]) for state in states)
        _, _, named = recorded_recurrence(cell, one, [1], weights, start, reverse=reverse)
        return output, after, {name: value[:0] for name, value in named.items()}
    names = [
        name
        for name, value in steps[0].items()
        if isinstance(value, Tensor) and value.dim() == 2 and value.shape[1:] == shape
    ]
    in_order = [steps[t] for t in range(len(steps))]
    named = {n: torch.cat([values[n].to(output.dtype) for values in in_order]) for n in names}
    return output, after, named


def kernel_taken(
    cell: Cell,
    x: Tensor,
    batch_sizes: Sequence[int],
    weights: Weights,
    states: tuple[Tensor, ...],
) -> Kernel | None:
    """Return the kernel that `recurrence` would run, None if it would take another path."""
    taken = _path_of(cell, x, batch_sizes, weights, states) == "kernel"
    return _needed_kernel(cell) if taken else None


def _path_of(
    cell: Cell,
    x: Tensor,
    batch_sizes: Sequence[int],
    weights: Weights,
    states: tuple[Tensor, ...],
) -> Path:
    tensors = (x, *states, *weights.tensors())
    if not x.numel() or _is_transformed(tensors):
        return "reference"  # it knows how to do nothing, and its operations have rules
    return choose_path(
        cell,
        # a type that no kernel has, where none can read the tensors
        dtype=x.dtype if all(map(_is_readable, tensors)) else torch.float64,
        device=x.device.type,
        even=bool(batch_sizes) and batch_sizes[-1] == len(states[0]),
        projected=weights.weight_hr is not None,
    )


def _needed_kernel(cell: Cell) -> Kernel:
    """Return the kernel of a cell that is to run on one."""
    found = kernel_or_reason(cell)
    if isinstance(found, Kernel):
        return found
    raise KernelError(f"cell {cell.name}: has no kernel: {found}")


def steps_of(cell: Cell, layers: Sequence[Weights], batch_size: int) -> Steps | None:
    """Return a stack of layers of `cell`, ready to stream by its kernel; None if it has none."""
    usable = all(
        w.dtype is torch.float32 and w.is_cpu and w.is_contiguous() and not w.is_inference()
        for weights in layers
        for w in weights.tensors()
    )
    if any(weights.weight_hr is not None for weights in layers) or not usable:
        return None
    kernel = kernel_of(cell) if choose_path(cell) == "kernel" else None
    return Steps(kernel, layers, batch_size) if kernel else None


def may_step(x: Tensor) -> bool:
    """Whether `Steps` may read `x`: no other path is forced, and it is a plain tensor."""
    return _forced.get() in (None, "kernel") and _is_readable(x) and not _is_transformed((x,))


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
        kernel = make_kernel(cell)
        if problem := cache_folder().problem:
            _warn(
                f"kernels are compiled anew in every process: the cache cannot be used: {problem}"
            )
        return kernel
    except UntraceableError as error:
        return f"{error}; cell {cell.name} runs on the reference loop, which is slower"
    except KernelError as error:
        return f"cells run without compiled kernels, which is slower: {error}"


@cache
def _warn(reason: str) -> None:
    inside = (
        __file__.removesuffix("kernels/dispatch.py"),
        torch.__file__.removesuffix("__init__.py"),
    )
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        frame, level = frame.f_back, level + 1
    warnings.warn(reason, stacklevel=level)  # the line that called a layer


def _is_readable(x: Tensor) -> bool:
    """Whether a kernel can read `x` from memory: not traced, and not to be cast."""
    return (
        type(x) in (Tensor, torch.nn.Parameter)
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and not (x.is_cpu and torch.is_autocast_enabled("cpu"))
    )


def _is_transformed(tensors: Sequence[Tensor]) -> bool:
    """Whether torch.func transforms the tensors, or they are dual numbers."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    return forward_ad._current_level >= 0 or any(map(wrapped, tensors))
