"""Which way a cell is run over a sequence: its compiled kernel, torch's own code, or the reference.

All take the same arguments and give the same numbers to rounding.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unrolled.cells import Cell
from unrolled.cells.surroundings import Surroundings
from unrolled.kernels.building import KernelError, cache_folder, prebuilt_problem
from unrolled.kernels.building.warning import warn_once
from unrolled.kernels.capturing import EquationsError
from unrolled.kernels.emitting import ProductFormat, WeightFormat
from unrolled.kernels.memory import are_observed, are_plain, is_transformed
from unrolled.kernels.running.kernel import Kernel
from unrolled.kernels.running.problem import Problem
from unrolled.kernels.running.proof import make_kernel
from unrolled.kernels.running.vendor import TORCH_CELLS
from unrolled.kernels.running.weight_format import refuse_smaller_weights, weight_format

__all__ = [
    "Path",
    "choose_path",
    "kernel_of",
    "kernel_or_reason",
    "may_read",
    "may_step",
    "may_use_kernels",
    "path_of",
    "ready_kernel",
    "require_kernel",
    "using_path",
    "warn_of_cache",
]

Path = Literal["kernel", "reference", "torch"]

_forced_path: ContextVar[Path | None] = ContextVar("forced_path", default=None)


def choose_path(
    cell: Cell,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    even: bool = True,
    projected: bool = False,
    products: ProductFormat | None = None,
    has_heads: bool = False,
) -> Path:
    """Return the path that `recurrence` takes. The first time, this compiles the cell's kernel.

    Args:
        cell: The equations.
        dtype: The type of all tensors.
        device: The type of the device that they are on.
        even: Whether all rows of the batch have the same length.
        projected: Whether the output is projected.
        products: How the kernel multiplies; None: with weights in the format in use.
        has_heads: Whether the recurrent weights are those of heads.
    """
    if path := _forced_path.get():
        return path
    if dtype is torch.float32 and device == "cpu" and not projected and kernel_of(cell, products):
        return "kernel"
    even = even or device not in ("cpu", "meta")  # elsewhere torch's own code reads ragged rows
    is_torchs = cell in TORCH_CELLS and even and not (projected or has_heads)
    return "torch" if is_torchs else "reference"


@contextmanager
def using_path(path: Path) -> Iterator[None]:
    """Make every recurrence inside the `with` block take `path`."""
    token = _forced_path.set(path)
    try:
        yield
    finally:
        _forced_path.reset(token)


def path_of(problem: Problem) -> Path:
    """Return the path that these tensors take.

    Raises:
        KernelError: The kernel is forced where it cannot read them.
        OptionError: No kernel reads them, and the format of the weights needs one.
    """
    cell, x, batch_sizes, weights, states, _ = problem
    tensors = problem.tensors()
    is_readable = may_read(*tensors)
    if not x.numel() or (not is_readable and _are_transformed(tensors)):
        if x.numel():
            refuse_smaller_weights(cell, "torch.func transforms the tensors")
        return "reference"  # it can read nothing at all, and torch can transform its operations
    path = choose_path(
        cell,
        # a type that no kernel takes, where a kernel cannot read the tensors
        dtype=x.dtype if is_readable else torch.float64,
        device=x.device.type,
        even=bool(batch_sizes) and batch_sizes[-1] == len(states[0]),
        projected=weights.weight_hr is not None,
        has_heads=problem.has_heads,
    )
    if weight_format() != "f32" and not (
        path == "kernel" and is_readable and all(t.dtype is torch.float32 for t in tensors)
    ):
        refuse_smaller_weights(cell, "kernels read plain tensors of float32 on CPU")
    if path == "reference" and x.device.type not in ("cpu", "meta"):
        warn_once(_slow_on(cell, x.device.type))
    if path == "kernel" and not is_readable:
        raise KernelError(f"cell {cell.name}: the kernel was forced, and cannot read these tensors")
    return path


def may_step(x: Tensor) -> bool:
    """Whether `Stepper` may read `x`: no other path is forced, and it is a plain tensor."""
    return may_use_kernels() and may_read(x)


def may_use_kernels() -> bool:
    """Whether no other path is forced."""
    return _forced_path.get() in (None, "kernel")


def may_read(*tensors: Tensor) -> bool:
    """Whether a kernel may read `tensors`, and nobody wants torch's own operations instead."""
    return not (are_observed() or torch.is_autocast_enabled("cpu")) and are_plain(tensors)


def require_kernel(cell: Cell, products: ProductFormat | None = None) -> Kernel:
    """Return the kernel of a cell that has one, for `products` as `choose_path` takes them.

    Raises:
        KernelError: It has none, and a path was forced.
    """
    known = _outcomes.get(_key(cell, products))
    is_checked = known is not None and _forced_path.get() is None  # `choose_path` has just asked
    kernel = known.kernel_or_reason if known and is_checked else kernel_or_reason(cell, products)
    if isinstance(kernel, str):
        raise KernelError(f"cell {cell.name}: has no kernel: {kernel}")
    return kernel


def ready_kernel(cell: Cell, weights: WeightFormat = "f32") -> Kernel | None:
    """Return the kernel of a cell if it has been made, is as its equations say, and may be used.

    Args:
        cell: The equations.
        weights: How it stores weights.
    """
    known = _outcomes.get(_key(cell, weights))
    if known is None or not may_use_kernels():
        return None
    kernel = known.kernel_or_reason
    return kernel if isinstance(kernel, Kernel) and known.surroundings.unchanged() else None


def kernel_of(cell: Cell, products: ProductFormat | None = None) -> Kernel | None:
    """Return the compiled kernel of `cell`, or None after one warning that says why.

    Raises:
        OptionError: It has none, and the format of the weights needs one.
    """
    kernel = kernel_or_reason(cell, products)
    if isinstance(kernel, str):
        refuse_smaller_weights(cell, f"there is none: {kernel}")
        warn_once(kernel)
        return None
    return kernel


def kernel_or_reason(cell: Cell, products: ProductFormat | None = None) -> Kernel | str:
    """Return the compiled kernel of `cell`, or why it has none.

    It is made once, and again where something has changed that the equations read from outside.
    """
    key = _key(cell, products)
    known = _outcomes.get(key)
    if known is not None and (known.is_final or known.surroundings.unchanged()):
        return known.kernel_or_reason
    surroundings = Surroundings(cell.equations)
    num_changes = 0 if known is None else known.num_changes + 1
    is_final = known is not None and num_changes > _MOST_CHANGES
    if known is not None and is_final:
        name = known.surroundings.changed_name()
        problem = f"its equations read {name}, which has changed {num_changes} times"
        outcome: Kernel | str = f"cell {cell.name}: {problem}; {_runs_on_the_loop(cell)}"
    else:
        outcome = _make_kernel(cell, surroundings, products or weight_format())
    _outcomes[key] = _Outcome(outcome, surroundings, num_changes, is_final)
    return outcome


class _Outcome(NamedTuple):
    kernel_or_reason: Kernel | str
    surroundings: Surroundings
    num_changes: int
    is_final: bool


_MOST_CHANGES = 8  # of what a cell's equations read: each may take a second to compile
_outcomes: dict[object, _Outcome] = {}


def _key(cell: Cell, products: ProductFormat | None) -> object:
    """Return what the kernel of a cell is known by: the cell, and the format unless it is f32."""
    products = products or weight_format()
    return cell if products == "f32" else (cell, products)


def _make_kernel(cell: Cell, surroundings: Surroundings, products: ProductFormat) -> Kernel | str:
    try:
        kernel = make_kernel(cell, surroundings, products)
        warn_of_cache()
        return kernel
    except EquationsError as error:
        return f"{error}; {_runs_on_the_loop(cell)}"
    except KernelError as error:
        return f"cells run without compiled kernels, which is slower: {error}"


def warn_of_cache() -> None:
    """Warn once if the cache is a temporary one, or a kernel that was there could not be used."""
    if problem := prebuilt_problem():
        warn_once(f"kernels are compiled on this machine: {problem}")
    if problem := cache_folder().problem:
        warn_once(f"kernels are made again in every process: the cache cannot be used: {problem}")


def _runs_on_the_loop(cell: Cell) -> str:
    return f"cell {cell.name} runs on the reference loop, which is slower"


def _slow_on(cell: Cell, device: str) -> str:
    return (
        f"cell {cell.name}: on {device} it runs on the reference loop, which calls torch for every "
        "operation of every step, one after the other; its compiled kernel is for float32 on CPU"
    )


def _are_transformed(tensors: Sequence[Tensor]) -> bool:
    """Whether torch.func transforms the tensors, or they are dual numbers."""
    return forward_ad._current_level >= 0 or any(map(is_transformed, tensors))
