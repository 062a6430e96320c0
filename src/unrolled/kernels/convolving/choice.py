"""Whether a stack of residual blocks runs by its kernel, and that it does."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from unrolled.kernels.building import KernelError
from unrolled.kernels.building.warning import warn_once
from unrolled.kernels.convolving.library import NetworkLibrary, load_network
from unrolled.kernels.convolving.passes import NetworkPasses
from unrolled.kernels.convolving.problem import NetworkProblem
from unrolled.kernels.convolving.proof import prove_network
from unrolled.kernels.memory import check_devices
from unrolled.kernels.running.autograd import RecurrenceFunction
from unrolled.kernels.running.paths import may_read, may_use_kernels, warn_of_cache

__all__ = ["MOST_TAPS", "convolve_blocks", "network_kernel", "network_or_reason"]

MOST_TAPS = 4096
"""Of a convolution by the kernel, whose threads have pointers to them on their stacks."""


def convolve_blocks(problem: NetworkProblem) -> Sequence[Tensor] | None:
    """Return what `reference_blocks` does, by the kernel; None where it cannot read the tensors.

    Raises:
        ShapeError: The tensors do not fit one another.
    """
    tensors = problem.floats()
    if not may_use_kernels() or not may_read(*tensors) or not problem.x.numel():
        check_devices("TCN", tensors)  # for torch's convolutions do not
        return None
    if any(tensor.dtype is not torch.float32 for tensor in tensors):
        return None
    library = network_kernel() if problem.shapes[0].kernel_size <= MOST_TAPS else None
    if library is None:
        return None
    passes = NetworkPasses(library, problem)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        differentiable: Any = RecurrenceFunction.apply
        results: Sequence[Tensor] = differentiable(passes, *problem.tensors())
        return results
    return passes.forward(problem).results


def network_kernel() -> NetworkLibrary | None:
    """Return the kernel, or None after one warning that says why there is none."""
    library = network_or_reason()
    if isinstance(library, str):
        warn_once(library)
        return None
    return library


@lru_cache
def network_or_reason() -> NetworkLibrary | str:
    """Return the kernel, compiled if need be, or why there is none."""
    try:
        library = load_network(prove_network)
        warn_of_cache()
        return library
    except KernelError as error:
        return f"TCNs run on torch's conv1d, which is slower: {error}"
