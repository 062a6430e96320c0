"""Tensors of half the width, bfloat16 and float16: kernels compute with them too.

Torch's own loops round every operation to them, and take as long as in float32 or longer. So where
there is a kernel, its tensors are made float32 before it and its results narrow after it; gradients
go back by the same way. In bfloat16 it is the kernel that multiplies bfloat16, in float16 that of
float32.
"""

import torch
from torch import Tensor

from unrolled.cells import Cell, lstm, rnn_relu, rnn_tanh
from unrolled.kernels.emitting import ProductFormat
from unrolled.kernels.memory import are_observed, are_plain
from unrolled.kernels.running.kernel import Kernel
from unrolled.kernels.running.paths import choose_path, require_kernel
from unrolled.kernels.running.problem import Problem
from unrolled.kernels.running.weight_format import weight_format

__all__ = ["half_results", "widened"]

_HALVES = (torch.bfloat16, torch.float16)
_TYPES = (torch.float32, *_HALVES)


def widened(problem: Problem) -> tuple[Kernel, Problem] | None:
    """Return the kernel that is to solve `problem`, and the problem in float32.

    That is under autocast, and where the input is bfloat16 or float16. None otherwise.
    """
    x, is_autocast = problem.x, torch.is_autocast_enabled("cpu")
    if x.dtype not in _HALVES and not is_autocast:
        return None
    tensors = problem.tensors()
    if not (x.is_cpu and x.numel() and all(tensor.dtype in _TYPES for tensor in tensors)):
        return None
    if are_observed() or not are_plain(tensors) or problem.weights.weight_hr is not None:
        return None
    products: ProductFormat = weight_format()
    lower = torch.get_autocast_dtype("cpu") if is_autocast else x.dtype
    if lower is torch.bfloat16 and products == "f32":
        products = "mixed"
    if choose_path(problem.cell, products=products) != "kernel":
        return None
    floats = [tensor.float() for tensor in tensors]
    wide = problem.signature().problem(floats, problem.batch_sizes)
    return require_kernel(problem.cell, products), wide


def half_results(
    cell: Cell, x: Tensor, output: Tensor, after: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return float32 results in the type that torch.nn gives for an input `x`.

    Without autocast that of `x`. Under autocast: of RNN the type of autocast; of LSTM that type if
    `x` has it or is float32; of GRU, and so of all other cells, if `x` has it; else float32.
    """
    dtype = x.dtype
    if torch.is_autocast_enabled("cpu"):
        lower = torch.get_autocast_dtype("cpu")
        is_lower = dtype is lower or cell in (rnn_tanh, rnn_relu)
        is_lower |= cell is lstm and dtype is torch.float32
        dtype = lower if is_lower else torch.float32
    return output.to(dtype), tuple(state.to(dtype) for state in after)
