"""What a new library of networks must show before it is used: the numbers of torch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.kernels.building import KernelError
from unrolled.kernels.convolving.library import NetworkLibrary
from unrolled.kernels.convolving.passes import NetworkPasses
from unrolled.kernels.convolving.problem import BlockShape, BlockWeights, NetworkProblem
from unrolled.kernels.convolving.reference import reference_blocks
from unrolled.kernels.running.autograd import RecurrenceFunction

__all__ = ["prove_network"]

_NUM_STEPS, _LENGTHS = 17, (17, 9, 0)  # more than a tile has, and rows that end
_SHAPES = (BlockShape(3, 67, 3, 1, 0.0), BlockShape(67, 67, 3, 4, 0.0))  # more than a panel
_NEAR = 1e-4  # relative: kernels are below 1e-5, what a wrong compiler makes is above 1e-2


def prove_network(library: NetworkLibrary) -> None:
    """Hold values and gradients of a new library against torch's in float64.

    Takes its numbers from no generator of the user's; called in a thread without the user's modes.

    Raises:
        KernelError: They differ.
    """
    problem = _problem()

    def compiled(problem: NetworkProblem) -> Sequence[Tensor]:
        differentiable: Any = RecurrenceFunction.apply
        results: Sequence[Tensor] = differentiable(
            NetworkPasses(library, problem), *problem.tensors()
        )
        return results

    got = _values_and_gradients(compiled, problem, torch.float32)
    expected = _values_and_gradients(reference_blocks, problem, torch.float64)
    for number, (ours, right) in enumerate(zip(got, expected, strict=True)):
        distance, allowed = float((ours - right).norm()), _NEAR * float(right.norm())
        if not distance <= allowed:
            raise KernelError(
                "the new kernel of TCN is not used, because it failed its proof: "
                f"result {number} is off by {distance:.2g}, of {allowed:.2g} allowed",
                "the compiler, or arguments that it is given, are at fault: set CC to another",
            )


def _problem() -> NetworkProblem:
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int, size: float = 0.3) -> Tensor:
        draws = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
        return draws * size

    batch_size = len(_LENGTHS)
    past, weights = [], []
    for shape in _SHAPES:
        inputs, units, taps = shape.input_size, shape.hidden_size, shape.kernel_size
        past += [numbers(shape.span, batch_size, size, size=1.0) for size in (inputs, units)]
        shortcut = inputs != units
        weights.append(
            BlockWeights(
                numbers(units, inputs, taps),
                numbers(units),
                numbers(units, units, taps, size=0.1),
                numbers(units),
                numbers(units, inputs, 1) if shortcut else None,
                numbers(units) if shortcut else None,
            )
        )
    x = numbers(_NUM_STEPS, batch_size, _SHAPES[0].input_size, size=1.0)
    lengths = torch.tensor(_LENGTHS, dtype=torch.int64, device="cpu")
    keep = (None,) * len(past)
    return NetworkProblem(_SHAPES, x, lengths, tuple(past), tuple(weights), keep)


def _values_and_gradients(
    path: Callable[[NetworkProblem], Sequence[Tensor]], problem: NetworkProblem, dtype: torch.dtype
) -> list[Tensor]:
    """Return output, states and all gradients, in float64."""
    leaves = [
        None if tensor is None else tensor.to(dtype, copy=True).requires_grad_()
        for tensor in problem.tensors()
    ]
    results = path(problem.signature().problem(leaves, problem.lengths, problem.pieces))
    generator = torch.Generator().manual_seed(1)
    directions = [
        torch.randn(r.shape, generator=generator, dtype=torch.float32, device="cpu").to(dtype)
        for r in results
    ]
    gradients = torch.autograd.grad(
        results, [leaf for leaf in leaves if leaf is not None], directions
    )
    return [tensor.detach().double() for tensor in (*results, *gradients)]
