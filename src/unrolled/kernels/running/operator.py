"""The recurrence as an operator of torch: what torch.compile and torch.export see of a layer.

A tracer cannot follow lengths, which are data, nor enter a kernel, and would write out every step
of the reference. To it, one layer in one direction is one node, `unrolled::recurrence`, whatever
path it takes when it runs. Not for eager calls, which need no dispatcher: those go straight to
`recurrence`, which is what the operator runs, too.

Three operators, each given a padded batch. `recurrence` is what a layer calls and an exported
program holds; its autograd formula runs `recurrence_train`, which also returns the tape that
`recurrence_backward` reads.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.registry import find_cell
from unrolled.errors import ShapeError, UnrolledError
from unrolled.kernels.exporting import register
from unrolled.kernels.holding import refuse_compiled
from unrolled.kernels.memory import is_transformed
from unrolled.kernels.running.arena import lasting
from unrolled.kernels.running.autograd import Forward, RecurrenceFunction, gradients_of_rerun
from unrolled.kernels.running.kernel import Kernel, KernelPasses, kernel_numbered
from unrolled.kernels.running.padded_batch import PaddedBatch, padded
from unrolled.kernels.running.paths import kernel_of, path_of, require_kernel, using_path
from unrolled.kernels.running.problem import Problem, split

__all__: list[str] = []  # it is called by torch.ops.unrolled


# ---- What the operators do -----------------------------------------------------------------------


def _run(*arguments: Any) -> list[Tensor]:
    """Run a layer in one direction: [output (T, B, P), *states at the end (B, ...)]."""
    batch = PaddedBatch(*arguments)
    refuse_compiled(batch.cell)
    with _without_autograd(batch):
        return _in_own_memory(batch.solved(), batch)


def _run_train(*arguments: Any) -> list[Tensor]:
    """Return what `_run` does and then, unless `gate_width` is 0, a tape for backward.

    That is the number of the kernel that has run or 0, () int64, its gates, (T * B, gate_width),
    and the histories of all states but the output, (T * B, H) each: rows without padding, with room
    for any lengths.
    """
    *first, gate_width = arguments
    if not gate_width:
        return _run(*first)
    batch = PaddedBatch(*first)
    refuse_compiled(batch.cell)
    with _without_autograd(batch):
        rows, problem = batch.flattened()
        kernel = _kernel_for(problem, gate_width)
        if kernel is None:
            return _run(*first) + _empty_tape(batch, gate_width)
        capacity = batch.x.shape[0] * batch.x.shape[1]
        passes = KernelPasses(kernel, problem)
        results, (gates, _, *histories), _ = passes.forward(problem, train=True, capacity=capacity)
        return [*padded(rows, results), _number(kernel.number), gates, *histories]


def _kernel_for(problem: Problem, gate_width: int) -> Kernel | None:
    """Return the kernel that runs `problem`, if its gates have the width that was promised."""
    if path_of(problem) != "kernel":
        return None
    kernel = require_kernel(problem.cell)
    return kernel if kernel.gate_width(problem.states[0].shape[1]) == gate_width else None


def _run_backward(*arguments: Any) -> list[Tensor]:
    """Return the `wanted` gradients of x, states and weights.

    Raises:
        ShapeError: These are not what `_run_train` returned, and gradients of its results.
    """
    *first, d_results, output, tape, wanted = arguments
    batch = PaddedBatch(*first)
    _check_backward(batch, d_results, output, tape, wanted)
    if tape and tape[0]:
        with _without_autograd(batch):
            gradients = _kernel_gradients(batch, d_results, output, tape, wanted)
    else:
        gradients = gradients_of_rerun(
            lambda leaves: batch.with_tensors(leaves).solved(),
            batch.tensors(),
            d_results,
            wanted,
            create_graph=False,
        )
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient, is_wanted in zip(batch.tensors(), gradients, wanted, strict=True)
        if is_wanted
    ]


def _check_backward(
    batch: PaddedBatch,
    d_results: Sequence[Tensor | None],
    output: Tensor,
    tape: Sequence[Tensor],
    wanted: Sequence[bool],
) -> None:
    num_states = len(batch.states)
    numbers = (len(d_results), len(wanted), len(tape) or 1 + num_states)
    shape = (*batch.x.shape[:2], batch.states[0].shape[-1])
    outputs = [tensor.shape for tensor in (output, d_results[0]) if tensor is not None]
    num_rows = batch.x.shape[0] * batch.x.shape[1]
    types = {tensor.dtype for tensor in (output, *tape[1:])}
    if (
        numbers != (1 + num_states, len(batch.tensors()), 1 + num_states)
        or any(output_shape != shape for output_shape in outputs)
        or any(tensor.dim() != 2 or len(tensor) != num_rows for tensor in tape[1:])
        or types != {batch.x.dtype}
    ):
        raise ShapeError(
            f"unrolled::recurrence_backward: needs {num_states + 1} gradients, {shape} the first, "
            f"and the output and the tape of unrolled::recurrence_train, of {batch.x.dtype}"
        )


def _kernel_gradients(
    batch: PaddedBatch,
    d_results: Sequence[Tensor | None],
    output: Tensor,
    tape: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients by the kernel that left gates and histories on the `tape`."""
    rows, problem = batch.flattened()
    number, gates, *histories = tape
    passes = KernelPasses(kernel_numbered(int(number)), problem)  # of which the tape is
    num_rows = passes.partition.num_rows
    # copied, because an operator must not change its arguments
    gates = lasting(num_rows, gates.shape[1]).copy_(gates[:num_rows])
    d_output, *d_after = d_results
    gradients = passes.backward(
        problem,
        [gates, rows.drop_padding(output), *histories],
        [_or_none(rows.drop_padding, d_output), *(_or_none(rows.sort, d) for d in d_after)],
        wanted,
    )
    d_x, d_states, d_weights = split(gradients, len(batch.states))
    unsorted = (_or_none(rows.unsort, d) for d in d_states)
    return [_or_none(rows.restore_padding, d_x), *unsorted, *d_weights]


def _or_none(function: Callable[[Tensor], Tensor], tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else function(tensor)


def _number(value: int) -> Tensor:
    return torch.full((), value, dtype=torch.int64, device="cpu")


def _empty_tape(batch: PaddedBatch, gate_width: int) -> list[Tensor]:
    """Return the tape where no kernel ran: the same shapes, nothing in them."""
    if not gate_width:
        return []
    num_rows = batch.x.shape[0] * batch.x.shape[1]
    histories = [batch.x.new_empty(num_rows, state.shape[1]) for state in batch.states[1:]]
    return [_number(0), batch.x.new_empty(num_rows, gate_width), *histories]


def _in_own_memory(results: Sequence[Tensor], batch: PaddedBatch) -> list[Tensor]:
    """Return `results` contiguous and in memory of their own, as an operator must."""
    taken = {tensor.untyped_storage().data_ptr() for tensor in (batch.x, *batch.states)}
    copies = []
    for result in results:
        dense = result.contiguous()
        dense = dense.clone() if dense.untyped_storage().data_ptr() in taken else dense
        taken.add(dense.untyped_storage().data_ptr())
        copies.append(dense)
    return copies


@contextmanager
def _without_autograd(batch: PaddedBatch) -> Iterator[None]:
    """Leave gradients and types to the caller of the operator."""
    with torch.no_grad(), torch.autocast(batch.x.device.type, enabled=False):
        yield


# ---- For tracers and for autograd ----------------------------------------------------------------


def _fake(*arguments: Any) -> list[Tensor]:
    """Return results of the right shapes."""
    batch = _on_one_device(*arguments)
    if torch.compiler.is_exporting():  # a program that is compiled here says so when it runs
        refuse_compiled(batch.cell)
    num_steps, batch_size, _ = batch.x.shape
    output = batch.x.new_empty(num_steps, batch_size, batch.states[0].shape[1])
    return [output, *(state.new_empty(state.shape) for state in batch.states)]


def _on_one_device(*arguments: Any, others: Sequence[Tensor | None] = ()) -> PaddedBatch:
    """Return the batch; without numbers (meta) among tensors that have some, there is no result."""
    batch = PaddedBatch(*arguments)
    devices = {str(t.device) for t in (*batch.tensors(), *others) if t is not None}
    if len(devices) > 1:
        raise ShapeError(f"cell {batch.cell}: tensors on several devices: {sorted(devices)}")
    return batch


def _fake_train(*arguments: Any) -> list[Tensor]:
    *first, gate_width = arguments
    return _fake(*first) + _empty_tape(PaddedBatch(*first), gate_width)


def _fake_backward(*arguments: Any) -> list[Tensor]:
    *first, d_results, output, tape, wanted = arguments
    batch = _on_one_device(*first, others=[*d_results, output, *tape[1:]])
    tensors = zip(batch.tensors(), wanted, strict=True)
    return [tensor.new_empty(tensor.shape) for tensor, is_wanted in tensors if is_wanted]


class _OperatorPasses:
    """`Passes` by the operators, which a tracer can see; the inputs are lengths and `tensors()`."""

    def __init__(self, batch: PaddedBatch) -> None:
        self._num_states = len(batch.states)
        self._options = batch[4:]  # no tensors: autograd keeps those

    def fill(self, inputs: Sequence[Any]) -> PaddedBatch:
        lengths, *tensors = inputs
        x, states, weights = split(tensors, self._num_states)
        return PaddedBatch(x, lengths, list(states), list(weights), *self._options)

    def forward(self, batch: PaddedBatch, *, train: bool) -> Forward:
        assert train
        results = torch.ops.unrolled.recurrence_train(*batch, _gate_width(batch))
        output, *after = results[: 1 + self._num_states]
        return Forward((output, *after), [output, *results[1 + self._num_states :]])

    def can_read(self, d_results: Sequence[Tensor | None]) -> bool:
        """Whether none stands for several; those of a tracer are read, for it to see."""
        return not any(d is not None and is_transformed(d) for d in d_results)

    def backward(
        self,
        batch: PaddedBatch,
        tape: Sequence[Tensor] | None,
        d_results: Sequence[Tensor | None],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        output, *rest = self.forward(batch, train=True).tape if tape is None else tape
        gradients = iter(
            torch.ops.unrolled.recurrence_backward(
                *batch, list(d_results), output, rest, list(wanted[1:])
            )
        )
        return [next(gradients) if is_wanted else None for is_wanted in wanted]

    def reference(self, batch: PaddedBatch) -> list[Tensor]:
        return _decomposed(*batch)


def _gate_width(batch: PaddedBatch) -> int:
    """Return how many floats a row training keeps: none where no kernel can run."""
    if batch.projected or batch.x.dtype is not torch.float32 or batch.x.device.type != "cpu":
        return 0
    kernel = kernel_of(find_cell(batch.cell))
    return 0 if kernel is None else kernel.gate_width(batch.states[0].shape[1])


def _decomposed(*arguments: Any) -> list[Tensor]:
    """Run a layer by torch's own operations, which torch.func can transform."""
    with using_path("reference"):
        return PaddedBatch(*arguments).solved()


def _autograd(keys: Any, *arguments: Any) -> list[Tensor]:
    if torch._C._are_functorch_transforms_active():
        return _decomposed(*arguments)
    batch = PaddedBatch(*arguments)
    tensors = batch.tensors()
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        differentiable: Any = RecurrenceFunction.apply
        return list(differentiable(_OperatorPasses(batch), batch.lengths, *tensors))
    return _below_autograd("recurrence", keys, *arguments)


def _no_autograd(name: str, keys: Any, *arguments: Any) -> list[Tensor]:
    """Run a part of `unrolled::recurrence`, which has no gradient of its own."""
    if torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments):
        raise UnrolledError(
            f"unrolled::{name} has no gradient: it is a part of unrolled::recurrence, which has",
            "take second derivatives without torch.compile",
        )
    return _below_autograd(name, keys, *arguments)


def _below_autograd(name: str, keys: Any, *arguments: Any) -> list[Tensor]:
    """Go on to what comes after autograd among the dispatcher's `keys`."""
    operator = getattr(torch.ops.unrolled, name).default
    results: list[Tensor] = operator.redispatch(keys & torch._C._after_autograd_keyset, *arguments)
    return results


# ---- The operators -------------------------------------------------------------------------------

_PADDED_BATCH = (
    "Tensor x, Tensor? lengths, Tensor[] states, Tensor[] weights, "
    "str cell, bool biased, bool projected, bool reverse"
)
_NAMESPACE: Any = torch.library.Library("unrolled", "DEF")  # type: ignore[no-untyped-call]  # torch has no types for it


def _define(name: str, arguments: str, run: Any, fake: Any, autograd: Any) -> None:
    signature = f"{name}({_PADDED_BATCH}{arguments}) -> Tensor[]"
    _NAMESPACE.define(signature, tags=torch.Tag.pt2_compliant_tag)
    _NAMESPACE.impl(name, run, "CompositeExplicitAutograd")
    _NAMESPACE.impl(name, autograd, "Autograd", with_keyset=True)
    torch.library.register_fake(f"unrolled::{name}", fake, lib=_NAMESPACE)


_define("recurrence", "", _run, _fake, _autograd)
_NAMESPACE.impl("recurrence", _decomposed, "FuncTorchBatchedDecomposition")
register(torch.ops.unrolled.recurrence.default)
_define(
    "recurrence_train",
    ", int gate_width",
    _run_train,
    _fake_train,
    partial(_no_autograd, "recurrence_train"),
)
_define(
    "recurrence_backward",
    ", Tensor?[] d_results, Tensor output, Tensor[] tape, bool[] wanted",
    _run_backward,
    _fake_backward,
    partial(_no_autograd, "recurrence_backward"),
)
