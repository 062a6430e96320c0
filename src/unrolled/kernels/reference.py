"""The reference: a cell run over a sequence by a plain loop in torch.

Any cell, any floating type, any device, differentiable as often as wanted. It defines what every
faster path must compute; it is not itself fast.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import accumulate
from weakref import WeakSet

import torch
from torch import Tensor
from torch.nn.functional import linear

from unrolled.cells import Cell
from unrolled.errors import OptionError, ShapeError
from unrolled.kernels.modes import CHANGE_HINT, ChangeWatch
from unrolled.kernels.weights import Weights, recurrent_product

__all__ = ["gate_blocks", "recurrent_terms", "reference_recurrence", "step_parts"]

_Step = Callable[[int, tuple[Tensor, ...]], tuple[Tensor, ...]]


def reference_recurrence(
    cell: Cell,
    x: Tensor,
    batch_sizes: Sequence[int],
    weights: Weights,
    states: tuple[Tensor, ...],
    *,
    reverse: bool = False,
    on_step: Callable[[int, dict[str, Tensor]], None] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run `cell` over a batch whose rows are sorted by length, longest first.

    Args:
        cell: The equations.
        x: The input, (N, I): all rows of the first step, then all rows that reach the second
            step, and so on, as in a PackedSequence. In each row, the I numbers are followed by the
            H of each of the cell's `inputs`.
        batch_sizes: The number of rows at each step, T of them, never growing; their sum is N.
        weights: The weights of this layer and direction.
        states: The states before the first step, (B, P) for the output state and (B, H) for the
            others; B may exceed `batch_sizes[0]`, the rest being rows of length zero.
        reverse: Read each row from its own end to its beginning.
        on_step: Called at each step with its number and all that the cell returned by name.

    Returns:
        The output (N, P), in the order of `x`, and the states at the end of each row.
    """
    gates, inputs = step_parts(cell, x, weights)
    starts = [0, *accumulate(batch_sizes)]
    recurrent = recurrent_terms(cell, weights)
    # copies, so that equations which change what they are given harm nobody before they are told
    states = tuple(state.clone() for state in states)
    parameters = {
        name: vector.clone()
        for name, vector in zip(cell.parameters, weights.parameters, strict=True)
    }

    def step(t: int, before: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        at_t = dict(
            zip(cell.feedforward, (g[starts[t] : starts[t + 1]] for g in gates), strict=True)
        )
        beside = {name: part[starts[t] : starts[t + 1]] for name, part in inputs.items()}
        named = dict(zip(cell.states, before, strict=True))
        terms = recurrent(before[0])
        arguments = [*at_t.values(), *named.values(), *parameters.values(), *beside.values()]
        arguments += [term for term in terms.values() if isinstance(term, Tensor)]
        versions = _versions(arguments)
        watch = None if cell in _watched else _change_watch(cell, arguments)
        with watch or nullcontext():
            values = cell(at_t, terms, named, parameters, beside)
        if watch:
            _watched.add(cell)
        if versions != _versions(arguments):
            where = f"cell {cell.name}: an operation"
            raise OptionError(f"{where} changes what the equations are given", CHANGE_HINT)
        if on_step is not None:
            on_step(t, values)
        _check_states(cell, values, next(iter(at_t.values())).shape)
        output, *others = (values[state] for state in cell.states)
        if weights.weight_hr is not None:
            output = linear(output, weights.weight_hr)
        return (output, *others)

    if not batch_sizes:  # all rows have length zero
        return _nothing([x, *weights.tensors()], states)
    scan = _scan_backwards if reverse else _scan_forwards
    outputs, states = scan(step, batch_sizes, states)
    return torch.cat(outputs), states


def step_parts(cell: Cell, x: Tensor, weights: Weights) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return what all steps read that does not depend on states.

    Args:
        cell: The equations.
        x: (..., I + E * H), E the number of the cell's `inputs`.
        weights: Of the layer.

    Returns:
        The input's part of each gate, (..., H), and by name the cell's `step_inputs`, (..., H).

    Raises:
        ShapeError: x has another width.
    """
    num_rows, input_size = weights.weight_ih.shape
    if not cell.step_inputs:
        return gate_blocks(linear(x, weights.weight_ih, weights.bias_ih), len(cell.feedforward)), {}
    count, hidden_size = len(cell.inputs), num_rows // len(cell.feedforward)
    if x.shape[-1] != input_size + count * hidden_size:
        raise ShapeError(
            f"cell {cell.name}: x must have {input_size} + {count} * {hidden_size} numbers in a "
            f"row, got {x.shape[-1]}",
            f"x_t, then the inputs beside it: {', '.join(cell.inputs) or 'none'}",
        )
    raw = x.narrow(-1, 0, input_size)
    gates = gate_blocks(linear(raw, weights.weight_ih, weights.bias_ih), len(cell.feedforward))
    beside = x.narrow(-1, input_size, count * hidden_size)
    parts = [*gate_blocks(beside, count)] if count else []
    # a copy of the raw input: equations that change it are to be told, and the gates read it too
    parts += [raw.clone()] if cell.reads_raw_input else []
    return gates, dict(zip(cell.step_inputs, parts, strict=True))


def gate_blocks(tensor: Tensor, count: int) -> list[Tensor]:
    """Return the `count` parts of the last dim, one for each gate.

    Not by `chunk`: what it gives, torch itself refuses to change in place, in words of its own.
    """
    width = tensor.shape[-1] // count
    return [tensor.narrow(-1, index * width, width) for index in range(count)]


def _parts(tensor: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Return the rows of `tensor`, so many at a time."""
    starts = accumulate(sizes, initial=0)
    return [tensor.narrow(0, start, size) for start, size in zip(starts, sizes, strict=False)]


def _nothing(
    read: Sequence[Tensor], states: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the results of no step, in a graph of all that is `read`, with gradients of zero.

    Where several processes share their gradients, each must have one for each weight.
    """
    zero = torch.stack([tensor.flatten()[:0].sum() for tensor in read]).sum()
    output, *others = (state + zero.to(state.dtype) for state in states)
    return output[:0], (output, *others)


_watched: WeakSet[Cell] = WeakSet()


def _change_watch(cell: Cell, given: Sequence[Tensor]) -> ChangeWatch | None:
    """Return what refuses operations that change what is given; None where torch has no place.

    It is for a cell's first step in this process, being slow: at all steps, what torch counts tells
    of such changes, but for some, as by `h.data.mul_(0.5)` and in inference mode.
    """
    is_plain = all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in given)
    is_free = torch._C._len_torch_dispatch_stack() == 0 and torch._C._get_tracing_state() is None
    is_transformed = torch._C._functorch.peek_interpreter_stack() is not None
    if is_plain and is_free and not is_transformed:
        return ChangeWatch(f"cell {cell.name}", given)
    return None


def _versions(tensors: Sequence[Tensor]) -> list[int]:
    """Return what torch counts up when a tensor is changed in place; nothing where it does not."""
    return [] if tensors[0].is_inference() else [tensor._version for tensor in tensors]


def _check_states(cell: Cell, values: dict[str, Tensor], shape: torch.Size) -> None:
    for state in cell.states:
        got = getattr(values[state], "shape", type(values[state]).__name__)
        if got != shape:
            got = got if isinstance(got, str) else tuple(got)
            raise ShapeError(
                f"cell {cell.name}: the new state {state} must be {tuple(shape)}, got {got}",
                "a step gives each unit of each row a new value",
            )


def _scan_forwards(
    step: _Step, batch_sizes: Sequence[int], states: tuple[Tensor, ...]
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Run every step from the first to the last; rows leave as they end, the shortest first."""
    outputs, ended = [], []
    for t, rows in enumerate(batch_sizes):
        if rows < len(states[0]):
            ended.append([state[rows:] for state in states])
            states = tuple(state[:rows] for state in states)
        states = step(t, states)
        outputs.append(states[0])
    if ended:
        parts = zip(states, *reversed(ended), strict=True)
        states = tuple(torch.cat(part) for part in parts)
    return outputs, states


def _scan_backwards(
    step: _Step, batch_sizes: Sequence[int], initial: tuple[Tensor, ...]
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Run every step from the last to the first; rows join at their own end, the longest first."""
    outputs = []
    states = tuple(state[:0] for state in initial)
    for t in reversed(range(len(batch_sizes))):
        states = _join(states, initial, batch_sizes[t])
        states = step(t, states)
        outputs.append(states[0])
    return outputs[::-1], _join(states, initial, len(initial[0]))


def _join(states: tuple[Tensor, ...], initial: tuple[Tensor, ...], rows: int) -> tuple[Tensor, ...]:
    """Return `states` grown to `rows` rows by the initial states of the rows that join."""
    present = len(states[0])
    if rows == present:
        return states
    return tuple(
        torch.cat([state, first[present:rows]])
        for state, first in zip(states, initial, strict=True)
    )


def recurrent_terms(
    cell: Cell, weights: Weights
) -> Callable[[Tensor], dict[str, Tensor | Callable[[Tensor], Tensor]]]:
    """Return the function h_{t-1} -> the recurrent terms of all gates, by name."""
    if weights.weight_hh is None:
        return lambda _: {}
    hidden_size = len(weights.weight_hh) // len(cell.recurrent)
    direct = cell.recurrent[: len(cell.recurrent) - len(cell.applied)]
    sizes = [hidden_size * len(direct), *(hidden_size for _ in cell.applied)]
    matrices = _parts(weights.weight_hh, sizes)
    biases = [None] * len(sizes) if weights.bias_hh is None else _parts(weights.bias_hh, sizes)
    products = {
        name: lambda v, w=w, b=b: recurrent_product(_kept(v), w, b)
        for name, w, b in zip(cell.applied, matrices[1:], biases[1:], strict=True)
    }

    # torch.compile of 2.10 knows no `|` of types: a text
    def terms(h: Tensor) -> "dict[str, Tensor | Callable[[Tensor], Tensor]]":
        if not direct:
            return {**products}
        u = gate_blocks(recurrent_product(h, matrices[0], biases[0]), len(direct))
        return {**dict(zip(direct, u, strict=True)), **products}

    return terms


def _kept(vector: Tensor) -> Tensor:
    """Return what autograd keeps of a product: a copy, for equations may change their vector."""
    return vector.clone() if torch.is_grad_enabled() else vector
