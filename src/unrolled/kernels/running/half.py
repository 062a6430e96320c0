"""Tensors of half the width, bfloat16 and float16: a kernel computes with them in float32.

Torch's own loops round every operation to them, and take as long as in float32 or longer. So where
there is a kernel, its tensors are made float32 before it and its results narrow after it; gradients
go back by the same way. Not for one cell: where the processor multiplies bfloat16, torch's LSTM
does so, and many rows of one length are faster there.
"""

import torch
from torch import Tensor

from unrolled.cells import Cell, lstm, rnn_relu, rnn_tanh
from unrolled.kernels.memory import are_observed, are_plain
from unrolled.kernels.running.paths import choose_path
from unrolled.kernels.running.problem import Problem
from unrolled.kernels.running.weight_format import weight_format

__all__ = ["half_results", "widened"]

_HALVES = (torch.bfloat16, torch.float16)
_TYPES = (torch.float32, *_HALVES)
_MANY_ROWS = 8  # from which torch's LSTM is as fast in training, and faster otherwise


def widened(problem: Problem) -> Problem | None:
    """Return `problem` in float32, where a kernel is to solve it and not torch in half the width.

    That is under autocast, and where the input is bfloat16 or float16. None otherwise.
    """
    x = problem.x
    if x.dtype not in _HALVES and not torch.is_autocast_enabled("cpu"):
        return None
    tensors = problem.tensors()
    if not (x.is_cpu and x.numel() and all(tensor.dtype in _TYPES for tensor in tensors)):
        return None
    if are_observed() or not are_plain(tensors) or problem.weights.weight_hr is not None:
        return None
    if _is_torchs(problem) or choose_path(problem.cell) != "kernel":
        return None
    floats = [tensor.float() for tensor in tensors]
    return problem.signature().problem(floats, problem.batch_sizes)


def _is_torchs(problem: Problem) -> bool:
    """Whether torch's LSTM multiplies bfloat16 here, and at least about as fast."""
    sizes = problem.batch_sizes
    is_autocast = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if is_autocast else problem.x.dtype
    is_native = dtype is torch.bfloat16 and torch.cpu._is_avx512_bf16_supported()
    is_even = sizes[0] == sizes[-1] == len(problem.states[0])
    is_native &= problem.x.dtype is not torch.float16
    is_native &= weight_format() == "f32"
    is_native &= not problem.has_heads
    return problem.cell is lstm and is_native and is_even and sizes[0] >= _MANY_ROWS


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
