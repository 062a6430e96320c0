"""The one recurrence: a cell run over a batch, in whatever way is right for these tensors."""

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.cells.registry import EXPORTED
from unrolled.kernels.exporting import prepare_legacy_export
from unrolled.kernels.memory import check_devices, check_memory, materialised
from unrolled.kernels.observer import GraphObserver, Observer
from unrolled.kernels.reference import reference_recurrence
from unrolled.kernels.rows import PaddedRows, RaggedRows
from unrolled.kernels.running.half import half_results, widened
from unrolled.kernels.running.kernel import KernelPasses, kernel_recurrence
from unrolled.kernels.running.paths import Path, path_of, require_kernel
from unrolled.kernels.running.problem import Problem, Recurrence
from unrolled.kernels.running.vendor import torch_recurrence
from unrolled.kernels.running.weight_format import refuse_smaller_weights
from unrolled.kernels.weights import Weights

__all__ = ["recurrence"]


def recurrence(
    cell: Cell,
    x: Tensor,
    rows: RaggedRows | PaddedRows,
    weights: Weights,
    states: tuple[Tensor, ...],
    *,
    reverse: bool = False,
    observer: Observer | None = None,
) -> Recurrence:
    """Run `cell` over a batch.

    Args:
        cell: The equations.
        x: The input, (N, I) as `rows.drop_padding` gives it; (T, B, I) with `PaddedRows`. Behind
            the I numbers of a row lie those of the cell's `inputs`, H each.
        rows: How the rows of the batch lie in `x`.
        weights: The weights of this layer and direction.
        states: The states before the first step, as `rows.sort` gives them: (B, P) for the output
            state and (B, H) for the others.
        reverse: Read each row from its own end to its beginning.
        observer: Who sees every value of every step; not with `PaddedRows`.

    Returns:
        The output (N, P), in the order of `x`, and the states at the end of each row.

    Raises:
        ShapeError: The tensors do not fit one another.
    """
    if isinstance(rows, PaddedRows):
        if not torch.compiler.is_dynamo_compiling():  # which cannot follow the question
            refuse_smaller_weights(cell, "a compiler of torch looks on")
        return _as_operator(cell, x, rows, weights, states, reverse)
    problem = Problem(cell, x, rows.batch_sizes, weights, states, reverse)
    if observer is not None:
        return _observed(problem, observer)
    if (wide := widened(problem)) is not None:
        kernel, wide_problem = wide
        with torch.autocast("cpu", enabled=False):
            output, after = kernel_recurrence(kernel, wide_problem)
        return half_results(cell, x, output, after)
    path, problem = _path_and_problem(problem)
    if path == "kernel":
        return kernel_recurrence(require_kernel(cell), problem)
    return problem.solved_by(torch_recurrence if path == "torch" else reference_recurrence)


def _path_and_problem(problem: Problem) -> tuple[Path, Problem]:
    """Return the path, and the problem with its numbers in memory: torch's LSTM does not ask."""
    path = path_of(problem)
    if path == "kernel":
        return path, problem
    tensors = [*map(materialised, problem.tensors())]
    check_devices(f"cell {problem.cell.name}", tensors)
    for tensor in tensors:
        check_memory(f"cell {problem.cell.name}: a tensor", tensor)
    problem.check_shapes()
    problem = problem.signature().problem(tensors, problem.batch_sizes)
    return path_of(problem), problem


def _as_operator(
    cell: Cell,
    x: Tensor,
    rows: PaddedRows,
    weights: Weights,
    states: tuple[Tensor, ...],
    reverse: bool,
) -> Recurrence:
    """Run `cell` as one operator of torch: `operator.py`, in the type of the weights."""
    if torch._C._get_tracing_state() is not None and torch.onnx.is_in_onnx_export():
        prepare_legacy_export()
    output, *after = torch.ops.unrolled.recurrence(
        x.to(weights.weight_ih.dtype),
        rows.lengths,
        list(states),
        weights.tensors(),
        cell.key + EXPORTED if torch.compiler.is_exporting() else cell.key,
        weights.bias_ih is not None,
        weights.weight_hr is not None,
        reverse,
    )
    return output, tuple(after)


def _observed(problem: Problem, observer: Observer) -> Recurrence:
    if isinstance(observer, GraphObserver):
        refuse_smaller_weights(problem.cell, "gradients of all values are wanted")
        x, beside = _apart(problem)
        seen = observer.input(x)
        seen = seen if beside is None else torch.cat([seen, beside], dim=-1)
        problem = problem._replace(x=seen)
        return problem.solved_by(reference_recurrence, on_step=observer.see)
    with torch.no_grad():
        output, after, values = _with_values(problem)
    x, beside = _apart(problem)
    blocks = () if beside is None else beside.chunk(len(problem.cell.inputs), dim=-1)
    inputs = dict(zip(problem.cell.inputs, blocks, strict=True))
    observer.see(x, inputs, problem.states, values)
    return output, after


def _apart(problem: Problem) -> tuple[Tensor, Tensor | None]:
    """Return x_t of all rows, (N, I), and what lies behind it, (N, E * H), if anything does."""
    input_size = problem.weights.weight_ih.shape[1]
    if not problem.cell.inputs:
        return problem.x, None
    return problem.x[:, :input_size], problem.x[:, input_size:]


def _with_values(
    problem: Problem,
) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor]]:
    """Return output, states, and by name all (B, H) values of the cell, (N, H) each."""
    path, problem = _path_and_problem(problem)
    if path == "kernel":
        kernel = require_kernel(problem.cell)
        (output, *after), _, records = KernelPasses(kernel, problem).forward(problem, record=True)
        assert records is not None
        values = dict(zip(kernel.library.records, records.unbind(1), strict=True))
        return output, tuple(after), values
    steps: dict[int, dict[str, Tensor]] = {}
    output, end = problem.solved_by(reference_recurrence, on_step=steps.__setitem__)
    if not steps:  # all rows have length zero: the names, of nothing
        x = problem.x.new_zeros(1, problem.x.shape[1])
        start = tuple(state.new_zeros(1, *state.shape[1:]) for state in problem.states)
        single = problem._replace(x=x, batch_sizes=(1,), states=start)
        return output, end, {name: value[:0] for name, value in _with_values(single)[2].items()}
    shape = problem.states[-1].shape[1:]
    names = [
        name
        for name, value in steps[0].items()
        if isinstance(value, Tensor) and value.dim() == 2 and value.shape[1:] == shape
    ]
    in_order = [steps[t] for t in range(len(steps))]
    return output, end, {n: torch.cat([s[n].to(output.dtype) for s in in_order]) for n in names}
