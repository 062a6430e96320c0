"""From a cell's equations to two pointwise graphs: one step forward, and its gradient.

`graphs` does the tracing and the differentiation. Here the graphs' inputs get their roles and names
back, and the gates are put in the order of a kernel's columns:

    input only      gates whose two parts are used apart, their input part (GRU: n)
    both            gates whose parts are only ever added (LSTM: all four)
    recurrent only  the recurrent part of the first kind (GRU: n)

so that what the input weights feed is one slice of the columns, and what the recurrent weights
feed another. Nothing here knows of C.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from unrolled.cells import Cell
from unrolled.kernels.graphs import UntraceableError, pointwise_graphs

__all__ = ["Column", "Traced", "UntraceableError", "resolve", "trace"]

_ATEN = torch.ops.aten
PASS_THROUGH = (_ATEN.alias.default, _ATEN.detach.default, _ATEN.clone.default)


@dataclass(frozen=True)
class Column:
    """One gate's place in a kernel's rows: which parts of it arrive there.

    Args:
        gate: Its name.
        input: Whether the input's part, x.gate, is in it.
        recurrent: Whether the recurrent part, u.gate, is in it.
        node: The value that the column holds, in the forward graph.
    """

    gate: str
    input: bool
    recurrent: bool
    node: fx.Node


@dataclass(frozen=True)
class Traced:
    """A cell's step as graphs.

    Args:
        cell: The cell.
        columns: Its gates in the order of a kernel's columns.
        forward: Nodes of the step, in an order in which they can be computed.
        states_in: The states before the step.
        states_out: The states after it.
        parameters: The per-unit vectors.
        named: What the cell returned by name, states included.
        backward: Nodes of the gradient, likewise.
        saved: For each saved value that `backward` reads, the forward node it is.
        state_gradients_out: The gradients by `states_out`, which `backward` starts from.
        column_gradients: The gradient by each column; None is zero, as everywhere below.
        state_gradients_in: The gradients by `states_in`, but for what goes through the columns.
        parameter_gradients: The gradient by each per-unit vector, a row's share of it.
    """

    cell: Cell
    columns: tuple[Column, ...]
    forward: tuple[fx.Node, ...]
    states_in: tuple[fx.Node, ...]
    states_out: tuple[fx.Node, ...]
    parameters: tuple[fx.Node, ...]
    named: dict[str, fx.Node]
    backward: tuple[fx.Node, ...]
    saved: dict[fx.Node, fx.Node]
    state_gradients_out: tuple[fx.Node, ...]
    column_gradients: tuple[fx.Node | None, ...]
    state_gradients_in: tuple[fx.Node | None, ...]
    parameter_gradients: tuple[fx.Node | None, ...]


def resolve(node: fx.Node) -> fx.Node:
    """Return what `node` is another name of, or `node` itself."""
    while node.op == "call_function" and node.target in PASS_THROUGH:
        source = node.args[0]
        assert isinstance(source, fx.Node)
        node = source
    return node


def trace(cell: Cell) -> Traced:
    """Trace one step of `cell`.

    It is done in a thread of its own, where none of the modes that the caller may be in (inference
    mode, a default device, fake tensors, transforms, autocast) has a say.

    Raises:
        UntraceableError: the equations branch on values, read sizes, use a tensor that is not
            theirs, call what torch cannot trace, or apply a recurrent product themselves.
    """
    import functorch.compile  # type: ignore[import-untyped]  # noqa: F401  # slow; not in a thread

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_trace, cell).result()


def _trace(cell: Cell) -> Traced:
    if cell.applied:
        raise UntraceableError(f"cell {cell.name}: applies a recurrent product itself")
    inputs = [*(f"x.{gate}" for gate in cell.gates), *(f"u.{gate}" for gate in cell.recurrent)]
    names = [*inputs, *cell.states, *cell.parameters]

    def step(*flat: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
        at = dict(zip(names, flat, strict=True))
        values = cell(
            {gate: at[f"x.{gate}"] for gate in cell.gates},
            {gate: at[f"u.{gate}"] for gate in cell.recurrent},
            {state: at[state] for state in cell.states},
            {parameter: at[parameter] for parameter in cell.parameters},
        )
        states = {state: values[state] for state in cell.states}
        return states, {name: v for name, v in values.items() if name not in cell.states}

    graphs = pointwise_graphs(
        f"cell {cell.name}", step, len(inputs) + len(cell.states), len(cell.parameters)
    )
    return _with_roles(cell, graphs.forward, graphs.backward, names, graphs.records)


def _with_roles(
    cell: Cell, forward: fx.Graph, backward: fx.Graph, names: list[str], records: list[str]
) -> Traced:
    inputs = dict(zip(names, _placeholders(forward), strict=True))
    outputs = [resolve(node) for node in _outputs(forward)]
    num_states = len(cell.states)
    num_named = num_states + len(records)
    named = dict(zip([*cell.states, *records], outputs[:num_named], strict=True))
    kept, received = outputs[num_named:], _placeholders(backward)
    saved = dict(zip(received[: len(kept)], kept, strict=True))
    tangents = received[len(kept) :]
    assert len(tangents) == num_states, tangents
    gradients = dict(zip(names, _outputs(backward), strict=True))
    columns, column_gradients = _columns(cell, inputs, gradients)
    return Traced(
        cell=cell,
        columns=columns,
        forward=_calls(forward),
        states_in=tuple(inputs[state] for state in cell.states),
        states_out=tuple(outputs[:num_states]),
        parameters=tuple(inputs[parameter] for parameter in cell.parameters),
        named=named,
        backward=_calls(backward),
        saved=saved,
        state_gradients_out=tuple(tangents),
        column_gradients=column_gradients,
        state_gradients_in=tuple(gradients[state] for state in cell.states),
        parameter_gradients=tuple(gradients[parameter] for parameter in cell.parameters),
    )


def _columns(
    cell: Cell, inputs: dict[str, fx.Node], gradients: dict[str, Any]
) -> tuple[tuple[Column, ...], tuple[fx.Node | None, ...]]:
    """Return the columns in order, and the gradient by each."""
    sums = {gate: _sum_of(inputs, gate) for gate in cell.recurrent}
    found: list[tuple[Column, fx.Node | None]] = []
    for gate in cell.gates:
        if sums.get(gate) is None:
            column = Column(gate, True, False, inputs[f"x.{gate}"])
            found.append((column, gradients[f"x.{gate}"]))
    for gate in cell.recurrent:
        if (total := sums[gate]) is not None:
            found.append((Column(gate, True, True, total), gradients[f"x.{gate}"]))
    for gate in cell.recurrent:
        if sums[gate] is None:
            column = Column(gate, False, True, inputs[f"u.{gate}"])
            found.append((column, gradients[f"u.{gate}"]))
    columns, column_gradients = zip(*found, strict=True)
    return columns, column_gradients


def _sum_of(inputs: dict[str, fx.Node], gate: str) -> fx.Node | None:
    """Return the node x.gate + u.gate, if that is all that either is used for."""
    x, u = inputs[f"x.{gate}"], inputs[f"u.{gate}"]
    if len(x.users) != 1 or x.users.keys() != u.users.keys():
        return None
    (total,) = x.users
    plain = total.target is _ATEN.add.Tensor and not total.kwargs
    return total if plain and set(total.args) == {x, u} else None


def _placeholders(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "placeholder"]


def _calls(graph: fx.Graph) -> tuple[fx.Node, ...]:
    return tuple(node for node in graph.nodes if node.op == "call_function")


def _outputs(graph: fx.Graph) -> list[Any]:
    return list(graph.output_node().args[0])  # type: ignore[arg-type]  # always a tuple here
