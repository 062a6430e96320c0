"""What a new library must show before it is used: the numbers of the reference, on a small case.

A compiler may be wrong, or be told to compute otherwise than C does by a script or a file that
nobody reads. Not here: what a kernel promises (tests); this is to tell a wrong library from a right
one, in less time than it took to compile.
"""

import ctypes
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.cells.surroundings import Surroundings
from unrolled.kernels.building import KernelError, cell_library
from unrolled.kernels.emitting import ProductFormat
from unrolled.kernels.reference import reference_recurrence
from unrolled.kernels.running.kernel import Kernel, kernel_recurrence
from unrolled.kernels.running.library import Library
from unrolled.kernels.running.mixed import MixedProducts
from unrolled.kernels.running.problem import Problem, Recurrence
from unrolled.kernels.running.weight_format import rounded
from unrolled.kernels.weights import Weights

__all__ = ["make_kernel", "prove", "rounded_weights"]

_BATCH_SIZES = (13, 13, 5)  # more rows than a tile has, and rows that end
_INPUT_SIZE, _HIDDEN_SIZE = 3, 67  # more than a panel, and no whole vectors
_NEAR = 1e-4  # relative: kernels are below 1e-5, what a wrong compiler makes is above 1e-2
_NEAR_MIXED = 2e-3  # the same: a state that differs by a bit may round to another bfloat16
_ROUNDINGS = 100  # times the error of the loop in float32: some equations grow what is rounded


def make_kernel(cell: Cell, surroundings: Surroundings, products: ProductFormat = "f32") -> Kernel:
    """Return the compiled kernel of `cell`, proven before its first use.

    Args:
        cell: The equations.
        surroundings: What they read from outside.
        products: How it multiplies.

    Raises:
        EquationsError: No kernel can do what the equations hold.
        KernelError: There is neither a prebuilt library nor a compiler, or it fails, or what it
            made is wrong, or torch's threads cannot be called.
    """
    proof = partial(prove, cell, surroundings, products=products)
    library = Library(cell_library(cell, surroundings, proof, products))
    return Kernel(cell, library, surroundings)


def prove(
    cell: Cell,
    surroundings: Surroundings,
    library: ctypes.CDLL,
    products: ProductFormat = "f32",
) -> None:
    """Hold values and gradients of a new library against the reference loop in float64.

    Where it rounds weights, the loop is given such as need no rounding; where it rounds all factors
    of products, so does the loop.

    Takes its numbers from no generator of the user's, and leaves the modes of a thread out of
    account: it is called in one of its own.

    Raises:
        KernelError: They differ, or the library is not a kernel.
    """
    try:
        kernel = Kernel(cell, Library(library), surroundings)
    except (AttributeError, ValueError) as error:
        raise _wrong(cell, str(error)) from error
    problem, upstream = _problem_of(cell)
    problem = problem._replace(weights=rounded_weights(problem.weights, products))
    is_mixed = products == "mixed"
    largest = _NEAR_MIXED if is_mixed else _NEAR
    if not kernel.library.trains or not _has_gradient(problem, upstream):
        upstream = []

    def loop(problem: Problem) -> Recurrence:
        with MixedProducts() if is_mixed else nullcontext():
            return problem.solved_by(reference_recurrence)

    def compiled(problem: Problem) -> Recurrence:
        return kernel_recurrence(kernel, problem)

    rounded = _values_and_gradients(loop, problem, upstream)
    got = _values_and_gradients(compiled, problem, upstream)
    try:
        exact = _values_and_gradients(loop, problem, upstream, torch.float64)
    except Exception:  # equations that take float32 alone: they are held to that
        exact = rounded
    for name, ours, near, right in zip(_names(problem), got, rounded, exact, strict=True):
        known = near.isfinite() & right.isfinite()  # the others may differ by a rounding
        distance = _norm((ours - right)[known])
        allowed = max(largest * _norm(right[known]), _ROUNDINGS * _norm((near - right)[known]))
        if not distance <= allowed:
            raise _wrong(cell, f"its {name} is off by {distance:.2g}, of {allowed:.2g} allowed")
    _prove_nan(cell, loop, compiled, problem)


def _prove_nan(
    cell: Cell,
    loop: Callable[[Problem], Recurrence],
    compiled: Callable[[Problem], Recurrence],
    problem: Problem,
) -> None:
    """Hold the places of NaN against the reference where each gate has one unit that is NaN."""
    bias = problem.weights.bias_ih
    assert bias is not None
    bias = bias.clone()
    for gate in range(len(cell.feedforward)):
        bias[gate * _HIDDEN_SIZE + gate % _HIDDEN_SIZE] = math.nan
    with_nan = problem._replace(weights=problem.weights._replace(bias_ih=bias))
    with torch.no_grad():
        expected, got = (path(with_nan)[0] for path in (loop, compiled))
    if not torch.equal(expected.isnan(), got.isnan()):
        raise _wrong(cell, "NaN does not become what it should")


def rounded_weights(weights: Weights, to: ProductFormat) -> Weights:
    """Return weights of which a kernel that stores them as `to` says keeps every bit."""
    ih, hh = (None if w is None else rounded(w, to) for w in weights[:2])
    assert ih is not None
    return weights._replace(weight_ih=ih, weight_hh=hh)


def _problem_of(cell: Cell) -> tuple[Problem, list[Tensor]]:
    """Return a problem, and the gradients of its results."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu") * 0.4

    units = _HIDDEN_SIZE
    input_size = units if cell.reads_raw_input else _INPUT_SIZE
    gates, recurrent = len(cell.feedforward) * units, len(cell.recurrent) * units
    weights = Weights(
        numbers(gates, input_size),
        numbers(recurrent, units) * (2 / math.sqrt(units)) if recurrent else None,
        numbers(gates),
        numbers(recurrent) if recurrent else None,
        None,
        tuple(numbers(units) for _ in cell.parameters),
    )
    num_rows, batch_size = sum(_BATCH_SIZES), _BATCH_SIZES[0]
    states = tuple(numbers(batch_size, units) for _ in cell.states)
    x = numbers(num_rows, input_size + len(cell.inputs) * units)
    problem = Problem(cell, x, _BATCH_SIZES, weights, states, False)
    upstream = [numbers(num_rows, units), *(numbers(batch_size, units) for _ in states)]
    return problem, upstream


def _has_gradient(problem: Problem, upstream: list[Tensor]) -> bool:
    """Whether torch can differentiate the equations, which may change what it needs for that."""
    try:
        _values_and_gradients(lambda p: p.solved_by(reference_recurrence), problem, upstream)
    except RuntimeError:
        return False
    return True


def _names(problem: Problem) -> list[str]:
    results = ["output", *(f"state {name}" for name in problem.cell.states)]
    weights = [
        name for name, w in zip(Weights._fields, problem.weights[:5], strict=False) if w is not None
    ]
    inputs = ["x", *problem.cell.states, *weights, *problem.cell.parameters]
    return [*results, *(f"gradient of {name}" for name in inputs)]


def _values_and_gradients(
    path: Callable[[Problem], Recurrence],
    problem: Problem,
    upstream: Sequence[Tensor],
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """Return output, states and all gradients, in float64; without `upstream` these are zeros."""
    wanted = bool(upstream)
    leaves = [tensor.to(dtype, copy=True).requires_grad_(wanted) for tensor in problem.tensors()]
    output, states = path(problem.signature().problem(leaves, problem.batch_sizes))
    results = [output, *states]
    pairs = [(r, d.to(dtype)) for r, d in zip(results, upstream, strict=False) if r.requires_grad]
    gradients: Sequence[Tensor] = [torch.zeros_like(leaf) for leaf in leaves]
    if pairs:
        ends, directions = zip(*pairs, strict=True)
        gradients = torch.autograd.grad(ends, leaves, directions, materialize_grads=True)
    return [tensor.detach().double() for tensor in (*results, *gradients)]


def _norm(tensor: Tensor) -> float:
    return float(tensor.norm())


def _wrong(cell: Cell, reason: str) -> KernelError:
    return KernelError(
        f"cell {cell.name}: its new kernel is not used, because it failed its proof: {reason}",
        "the compiler, or arguments that it is given, are at fault: set CC to another",
    )
