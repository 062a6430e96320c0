"""From tensors to the `Call` of a kernel: checked, since a kernel trusts its arguments."""

from functools import lru_cache

import torch
from torch import Tensor

from unrolled.errors import ShapeError
from unrolled.kernels.emitting import Call
from unrolled.kernels.memory import readable
from unrolled.kernels.running.partition import Partition
from unrolled.kernels.running.problem import Problem
from unrolled.kernels.weights import Weights

__all__ = ["WEIGHT_FIELDS", "check_numbers", "make_call", "threads_run_at_once"]

WEIGHT_FIELDS = Weights._fields[:4]
"""The weights that a `Call` has under their own names, in the order of `Weights`."""


def make_call(problem: Problem, partition: Partition) -> tuple[Call, list[Tensor]]:
    """Return the arguments that all passes have, and what must outlive the call.

    Args:
        problem: Plain tensors (`is_plain`), as many as `check_numbers` wants.
        partition: Of its rows.

    Raises:
        ShapeError: A tensor of another shape, type or device than the others ask for, or without
            memory; a kernel would read past its end.
    """
    cell, x, _, weights, states, reverse = problem
    where = f"cell {cell.name}"
    (batch_size, hidden_size), x_stride = states[0].shape, x.shape[1]
    input_size = x_stride - len(cell.inputs) * hidden_size
    call = Call()
    call.num_steps, call.num_parts, call.batch_sizes, call.starts, call.parts = partition.bounds
    call.num_rows, call.input_size, call.hidden_size = partition.num_rows, input_size, hidden_size
    call.reverse = reverse
    call.num_threads = torch.get_num_threads() if threads_run_at_once() else call.num_parts
    alive = [readable(where, "x", x, (partition.num_rows, x_stride))]
    call.x, call.x_stride = alive[0].data_ptr(), x_stride
    call.inputs, call.inputs_stride = call.x + input_size * x.element_size(), x_stride
    if cell.reads_raw_input and input_size != hidden_size:
        raise ShapeError(f"{where}: x_t must have the {hidden_size} units, got {input_size}")
    call.head_size = weights.head_size(cell, hidden_size)
    shapes = weights.shapes(cell, input_size, hidden_size, call.head_size)
    for name, weight, shape in zip(WEIGHT_FIELDS, weights[:4], shapes, strict=True):
        if weight is not None:
            alive.append(readable(where, name, weight, shape))
            setattr(call, name, alive[-1].data_ptr())
    for index, vector in enumerate(weights.parameters):
        alive.append(readable(where, "weight vector", vector, (hidden_size,)))
        call.parameters[index] = alive[-1].data_ptr()
    for index, state in enumerate(states):
        alive.append(readable(where, "state", state, (batch_size, hidden_size)))
        call.initial[index] = alive[-1].data_ptr()
    return call, alive


def check_numbers(problem: Problem, partition: Partition) -> None:
    """Raise `ShapeError` unless there are as many tensors, and of as many dims, as a call has."""
    cell, x, _, weights, states, _ = problem
    got = (len(states), len(weights.parameters), x.dim(), states[0].dim() if states else 0)
    where = f"cell {cell.name}"
    if got != (len(cell.states), len(cell.parameters), 2, 2):
        raise ShapeError(
            f"{where}: needs x (N, I), {len(cell.states)} states (B, H) and "
            f"{len(cell.parameters)} weight vectors, got x {tuple(x.shape)}, states "
            f"{[tuple(state.shape) for state in states]} and {len(weights.parameters)} vectors"
        )
    biased = weights.bias_ih is not None or weights.bias_hh is not None
    wanted = (True, bool(cell.recurrent), biased, biased and bool(cell.recurrent))
    for name, weight, is_wanted in zip(WEIGHT_FIELDS, weights[:4], wanted, strict=True):
        if (weight is not None) != is_wanted:
            what = f"{name} is missing" if is_wanted else f"has no recurrent part, but {name}"
            raise ShapeError(f"{where}: {what}")
    if states[0].shape[0] < partition.num_nonempty:
        raise ShapeError(f"{where}: {partition.num_nonempty} rows have {len(states[0])} states")


@lru_cache
def threads_run_at_once() -> bool:
    """Whether torch's pool gives every piece a thread of its own, so that pieces may meet."""
    return "backend: OpenMP" in torch.__config__.parallel_info()
