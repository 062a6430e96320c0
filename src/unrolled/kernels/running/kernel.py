"""A cell's compiled kernel on tensors, forwards and backwards.

What a kernel computes is in the C that `emitting` writes; what autograd knows of it in `autograd`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.cells.surroundings import Surroundings
from unrolled.errors import OptionError
from unrolled.kernels.emitting import MOST_STATES, Call
from unrolled.kernels.memory import are_observed, are_plain, readable
from unrolled.kernels.reference import reference_recurrence
from unrolled.kernels.running.arena import (
    FLOAT,
    buffer,
    buffer_like,
    keep_scratch,
    lasting,
    take_scratch,
)
from unrolled.kernels.running.autograd import Forward, RecurrenceFunction
from unrolled.kernels.running.calls import WEIGHT_FIELDS, check_numbers, make_call
from unrolled.kernels.running.library import Library
from unrolled.kernels.running.partition import Partition, partition_of
from unrolled.kernels.running.problem import Problem, Recurrence, split
from unrolled.kernels.running.weight_cache import pack_weights

__all__ = ["Kernel", "KernelPasses", "kernel_numbered", "kernel_recurrence"]

_PADDING = 16  # floats: rows whose stride is a power of two are slow to multiply transposed


@dataclass(frozen=True, eq=False)
class Kernel:
    """A cell's compiled kernel.

    Args:
        cell: The equations.
        library: The loaded code.
        surroundings: What the equations read from outside, as it was when they were captured.
    """

    cell: Cell
    library: Library
    surroundings: Surroundings

    @property
    def number(self) -> int:
        """What `kernel_numbered` knows it by, in this process; never 0."""
        if self not in _numbered:
            _numbered.append(self)
        return _numbered.index(self) + 1

    def gate_width(self, hidden_size: int) -> int:
        """Return how many floats of gates training keeps for each row."""
        return self.library.slots * hidden_size + self.library.numbers + _PADDING


_numbered: list[Kernel] = []  # for ever, as their code stays loaded


def kernel_numbered(number: int) -> Kernel:
    """Return the kernel with this `number`."""
    return _numbered[number - 1]


def kernel_recurrence(kernel: Kernel, problem: Problem) -> Recurrence:
    """Do what `reference_recurrence` does, for float32 tensors on CPU, without a projection."""
    passes, tensors = KernelPasses(kernel, problem), problem.tensors()
    if (
        kernel.library.trains
        and torch.is_grad_enabled()
        and any(tensor.requires_grad for tensor in tensors)
    ):
        differentiable: Any = RecurrenceFunction.apply
        output, *after = differentiable(passes, *tensors)
    else:
        output, *after = passes.forward(problem).results
    return output, tuple(after)


class KernelPasses:
    """`Passes` by a kernel; the inputs are `Problem.tensors()`.

    Its tape holds the gates, which the backward pass overwrites, and the histories of all states:
    their values after each step, (N, H) each, the first being the output.

    Args:
        kernel: The kernel.
        problem: What they are to solve; its tensors are not held.

    Raises:
        ShapeError: There are too few or too many tensors; from `forward` and `backward`: they do
            not fit one another.
    """

    def __init__(self, kernel: Kernel, problem: Problem) -> None:
        self.partition = partition_of(problem.batch_sizes, torch.get_num_threads())
        check_numbers(problem, self.partition)
        self._library, self._surroundings = kernel.library, kernel.surroundings
        self._gate_width = kernel.gate_width
        self._signature, self._batch_sizes = problem.signature(), problem.batch_sizes
        self._where = f"cell {problem.cell.name}"
        self._tape_is_whole = Lock()  # taken by the backward pass that overwrites the gates

    def fill(self, inputs: Sequence[Tensor]) -> Problem:
        """Return the problem with these tensors."""
        return self._signature.problem(inputs, self._batch_sizes)

    def forward(
        self,
        problem: Problem,
        *,
        train: bool = False,
        record: bool = False,
        capacity: int | None = None,
    ) -> Forward:
        """Run all steps.

        Args:
            problem: The tensors.
            train: Whether to keep what `backward` reads.
            record: Whether to record all that the cell names.
            capacity: Rows of the gates and of all histories but the output's, if more than N.
        """
        library, partition, states = self._library, self.partition, problem.states
        num_rows, hidden_size = partition.num_rows, states[0].shape[1]
        call, alive = make_call(problem, partition)
        packed, is_cached = pack_weights(library, call, problem.weights)
        output = buffer(num_rows, hidden_size)
        if train:
            tape = self._make_tape(call, output, len(states), capacity or num_rows)
            histories = tape[1:]
        else:
            call.gate_stride = library.scratch_slots * hidden_size + library.numbers
            tape = []
            histories = [output, *(_copy(state[: partition.num_nonempty]) for state in states[1:])]
        for index, history in enumerate(histories):
            call.states[index] = history.data_ptr()
        records = None
        if record:
            records = torch.empty(num_rows, len(library.records), hidden_size, **FLOAT)
            call.records = records.data_ptr()
        workspace = take_scratch("workspace", library.workspace_floats(call, backward=False))
        call.workspace = workspace.data_ptr()
        library.forward(call)
        del alive  # what the call pointed to
        keep_scratch("workspace", workspace)
        if not is_cached:
            keep_scratch("packed", packed)
        after = [_ends(output, states[0], partition, problem.reverse)]
        for history, state in zip(histories[1:], states[1:], strict=True):
            after.append(
                _ends(history, state, partition, problem.reverse)
                if train
                else _with_empty_rows(history, state)
            )
        return Forward((output, *after), tape, records)

    def _make_tape(
        self, call: Call, output: Tensor, num_states: int, capacity: int
    ) -> list[Tensor]:
        """Return memory for the gates and the histories; `call` is given the former."""
        hidden_size = output.shape[1]
        gates = lasting(capacity, self._gate_width(hidden_size))
        call.train, call.gates, call.gate_stride = 1, gates.data_ptr(), gates.stride(0)
        return [gates, output, *(lasting(capacity, hidden_size) for _ in range(num_states - 1))]

    def can_read(self, d_results: Sequence[Tensor | None]) -> bool:
        """Whether the gradients are plain, and nobody looks at torch's operations."""
        return not are_observed() and are_plain(d for d in d_results if d is not None)

    def backward(
        self,
        problem: Problem,
        tape: Sequence[Tensor] | None,
        d_results: Sequence[Tensor | None],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Return the gradients of the input, the states, the weights and the vectors."""
        call, alive = make_call(problem, self.partition)
        gates, *histories = self._whole(tape, problem)
        call.train, call.gates, call.gate_stride = 1, gates.data_ptr(), gates.stride(0)
        d_output, *d_after = d_results
        # absent is not zero: times an infinite derivative it is nothing, and no NaN
        present = (d_output is not None) << MOST_STATES
        for place, d in enumerate(d_after):
            present |= (d is not None) << place
        call.given = present
        if d_output is None:
            alive.append(torch.zeros_like(histories[0]))
        else:
            shape = (self.partition.num_rows, problem.states[0].shape[1])
            alive.append(readable(self._where, "gradient of the output", d_output, shape))
        call.d_output = alive[-1].data_ptr()
        d_states = [
            torch.zeros_like(state, memory_format=torch.contiguous_format)
            if d is None
            else _copy(readable(self._where, "gradient of a state", d, state.shape))
            for state, d in zip(problem.states, d_after, strict=True)
        ]
        for index, (history, d_state) in enumerate(zip(histories, d_states, strict=True)):
            call.states[index], call.d_states[index] = history.data_ptr(), d_state.data_ptr()
        x_wanted, starts_wanted, weights_wanted = split(wanted, len(d_states))
        call.starts_wanted = any(starts_wanted)
        d_x = buffer_like(problem.x) if x_wanted else None
        call.d_x = None if d_x is None else d_x.data_ptr()
        d_weights = _weight_gradients(call, problem, weights_wanted)
        workspace = take_scratch("workspace", self._library.workspace_floats(call, backward=True))
        call.workspace = workspace.data_ptr()
        self._library.backward(call)
        keep_scratch("workspace", workspace)
        starts = [
            d if is_wanted else None for d, is_wanted in zip(d_states, starts_wanted, strict=True)
        ]
        return [d_x, *starts, *d_weights]

    def _whole(self, tape: Sequence[Tensor] | None, problem: Problem) -> list[Tensor]:
        """Return a tape that may be overwritten: the one given, if there is one and it is whole."""
        if tape is None or not self._tape_is_whole.acquire(False):
            return list(self.forward(problem, train=True).tape)
        rows, width = self.partition.num_rows, problem.states[0].shape[1]
        gates, *histories = tape
        whole = [readable(self._where, "the kept gates", gates, (rows, self._gate_width(width)))]
        for history in histories:  # the operator's are longer
            first = history if history.shape[0] <= rows else history[:rows]
            whole.append(readable(self._where, "the kept states", first, (rows, width)))
        return whole

    def reference(self, problem: Problem) -> Sequence[Tensor]:
        """Return the results by the reference loop.

        Raises:
            OptionError: Something that the equations read has changed since the forward pass.
        """
        if name := self._surroundings.changed_name():
            raise OptionError(
                f"cell {problem.cell.name}: {name} has changed since the forward pass, and this "
                "gradient needs another one",
                "change it after the backward pass",
            )
        output, after = problem.solved_by(reference_recurrence)
        return (output, *after)


def _weight_gradients(call: Call, problem: Problem, wanted: Sequence[bool]) -> list[Tensor | None]:
    """Return memory for the `wanted` gradients of the weights, which `call` is given."""
    weights = problem.weights
    gradients = [
        buffer_like(weight) if is_wanted else None
        for weight, is_wanted in zip(weights.tensors(), wanted, strict=True)
    ]
    names = [name for name, w in zip(WEIGHT_FIELDS, weights[:4], strict=True) if w is not None]
    for name, gradient in zip(names, gradients, strict=False):
        if gradient is not None:
            setattr(call, f"d_{name}", gradient.data_ptr())
    for index, gradient in enumerate(gradients[len(names) :]):
        if gradient is not None:
            call.d_parameters[index] = gradient.data_ptr()
    return gradients


def _copy(tensor: Tensor) -> Tensor:
    """Return a copy whose rows follow one another, whatever the strides."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _ends(history: Tensor, initial: Tensor, partition: Partition, reverse: bool) -> Tensor:
    """Return the state at the end of each row of the batch, from those after all steps."""
    num_nonempty, history = partition.num_nonempty, history[: partition.num_rows]
    if reverse:
        ended = history[:num_nonempty].clone()
    elif partition.even:
        ended = history[-num_nonempty:].clone()
    else:
        ended = history[partition.last]
    return _with_empty_rows(ended, initial)


def _with_empty_rows(ended: Tensor, initial: Tensor) -> Tensor:
    """Return `ended` with the rows of length zero below it, whose states never changed."""
    count = ended.shape[0]
    return ended if count == initial.shape[0] else torch.cat([ended, initial[count:]])
