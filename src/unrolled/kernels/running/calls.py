"""From tensors to the `Call` of a kernel: checked, since a kernel trusts its arguments."""

from functools import lru_cache

import torch
from torch import Tensor

from unrolled.errors import ShapeError
from unrolled.kernels.emitting import Call
from unrolled.kernels.running.partition import Partition, partition_of
from unrolled.kernels.running.problem import Problem
from unrolled.kernels.weights import Weights

__all__ = ["WEIGHT_FIELDS", "checked_partition", "make_call"]

WEIGHT_FIELDS = Weights._fields[:4]
"""The weights that a `Call` has under their own names, in the order of `Weights`."""


def checked_partition(problem: Problem) -> Partition:
    """Divide the rows of `problem` among threads.

    Raises:
        ShapeError: A tensor of another shape, type or device than the others ask for; a kernel
            would read past its end.
    """
    cell, x, batch_sizes, weights, states, _ = problem
    partition = partition_of(tuple(batch_sizes), torch.get_num_threads())
    batch_size, hidden_size = states[0].shape
    num_gates = len(cell.gates) * hidden_size
    num_recurrent = len(cell.recurrent) * hidden_size
    expected: list[tuple[str, Tensor | None, tuple[int, ...]]] = [
        ("x", x, (partition.num_rows, x.shape[1])),
        ("weight_ih", weights.weight_ih, (num_gates, x.shape[1])),
        ("weight_hh", weights.weight_hh, (num_recurrent, hidden_size)),
        ("bias_ih", weights.bias_ih, (num_gates,)),
        ("bias_hh", weights.bias_hh, (num_recurrent,)),
        *(("state", state, (batch_size, hidden_size)) for state in states),
        *(("weight vector", vector, (hidden_size,)) for vector in weights.parameters),
    ]
    for name, tensor, shape in expected:
        if tensor is None:
            continue
        if tensor.shape != shape or tensor.dtype is not torch.float32 or not tensor.is_cpu:
            raise ShapeError(
                f"cell {cell.name}: {name} must be float32 {shape} on cpu, got "
                f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
            )
    recurrent = [weights.weight_hh is not None, weights.bias_hh is not None]
    if recurrent != [num_recurrent > 0, num_recurrent > 0 and weights.bias_ih is not None]:
        raise ShapeError(f"cell {cell.name}: weight_hh or one of two biases is missing")
    if batch_size < partition.num_nonempty:
        raise ShapeError(
            f"cell {cell.name}: {partition.num_nonempty} rows have {batch_size} states"
        )
    return partition


def make_call(problem: Problem, partition: Partition) -> tuple[Call, list[Tensor]]:
    """Return the arguments that all passes have, and what must outlive the call."""
    _, x, _, weights, states, reverse = problem
    call = Call()
    call.num_steps, call.num_rows = len(partition.batch_sizes), partition.num_rows
    call.input_size, call.hidden_size = x.shape[1], states[0].shape[1]
    call.reverse = reverse
    call.num_parts = len(partition.parts) - 1
    call.num_threads = torch.get_num_threads() if _threads_run_at_once() else call.num_parts
    call.batch_sizes, call.starts = partition.batch_sizes.data_ptr(), partition.starts.data_ptr()
    call.parts = partition.parts.data_ptr()
    alive = [x.contiguous()]
    call.x = alive[0].data_ptr()
    for name, weight in zip(WEIGHT_FIELDS, weights[:4], strict=True):
        if weight is not None:
            alive.append(weight.contiguous())
            setattr(call, name, alive[-1].data_ptr())
    for index, vector in enumerate(weights.parameters):
        alive.append(vector.contiguous())
        call.parameters[index] = alive[-1].data_ptr()
    for index, state in enumerate(states):
        alive.append(state.contiguous())
        call.initial[index] = alive[-1].data_ptr()
    return call, alive


@lru_cache
def _threads_run_at_once() -> bool:
    """Whether torch's pool gives every piece a thread of its own, so that pieces may meet."""
    return "backend: OpenMP" in torch.__config__.parallel_info()
