"""From a cell's equations to two pointwise graphs: one step forward, and its gradient.

PyTorch's own AOTAutograd does the tracing and the differentiation. Here the graphs' inputs get
their roles and names back, and the gates are put in the order of a kernel's columns:

    both, applied   gates whose recurrent part is a product with a vector that the equations
                    compute (GRU with reset before: n), if they only ever add their two parts
    input only      gates whose two parts are used apart, their input part (GRU: n)
    both            gates whose parts are only ever added (LSTM: all four)
    recurrent only  the recurrent part of the second kind (GRU: n)
    applied only    the recurrent part of the first kind, otherwise

so that what the input weights feed is one slice of the columns, what the recurrent weights feed
another, and what is applied a third. Nothing here knows of C.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from unrolled.cells import Cell
from unrolled.errors import UnrolledError

__all__ = ["Column", "Traced", "UntraceableError", "resolve", "trace"]

_ATEN = torch.ops.aten
_PLAIN: Any = {"dtype": torch.float32, "device": "cpu"}
PASS_THROUGH = (_ATEN.alias.default, _ATEN.detach.default, _ATEN.clone.default)


class UntraceableError(UnrolledError):
    """The equations hold something that is no pointwise operation on named values."""


@dataclass(frozen=True)
class Column:
    """One gate's place in a kernel's rows: which parts of it arrive there.

    Args:
        gate: Its name.
        input: Whether the input's part, x.gate, is in it.
        recurrent: Whether the recurrent part, u.gate, is in it.
        applied: Whether that part is a product with a vector of the equations' own.
        node: The value that the column holds, in the forward graph.
    """

    gate: str
    input: bool
    recurrent: bool
    applied: bool
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
        applied: The vectors that products are applied to, for each gate of `cell.applied`.
        named: What the cell returned by name, states included.
        backward: Nodes of the gradient, likewise.
        saved: For each saved value that `backward` reads, the forward node it is.
        state_gradients_out: The gradients by `states_out`, which `backward` starts from.
        applied_gradients: The gradients by `applied`, which it needs on its way.
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
    applied: tuple[fx.Node, ...]
    named: dict[str, fx.Node]
    backward: tuple[fx.Node, ...]
    saved: dict[fx.Node, fx.Node]
    state_gradients_out: tuple[fx.Node, ...]
    applied_gradients: tuple[fx.Node, ...]
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

    Raises:
        UntraceableError: the equations branch on values, or call what torch cannot trace.
    """
    inputs = [*(f"x_{gate}" for gate in cell.gates), *(f"u_{gate}" for gate in cell.recurrent)]
    names = [*inputs, *cell.states, *cell.parameters]
    records: list[str] = []

    def step(*flat: Tensor) -> list[Tensor]:
        at = dict(zip(names, flat, strict=True))
        vectors: dict[str, Tensor] = {}

        def product(gate: str) -> Callable[[Tensor], Tensor]:
            def apply(vector: Tensor) -> Tensor:
                if gate in vectors:
                    raise UntraceableError(f"cell {cell.name}: applies u.{gate} twice in a step")
                vectors[gate] = vector.clone()  # for it may be an input itself
                return at[f"u_{gate}"]

            return apply

        values = cell(
            {gate: at[f"x_{gate}"] for gate in cell.gates},
            {
                gate: product(gate) if gate in cell.applied else at[f"u_{gate}"]
                for gate in cell.recurrent
            },
            {state: at[state] for state in cell.states},
            {parameter: at[parameter] for parameter in cell.parameters},
        )
        records[:] = [name for name in values if name not in cell.states]
        return [
            *(values[state] for state in cell.states),
            *(vectors[gate] for gate in cell.applied),
            *(values[name].detach() for name in records),
        ]

    forward, backward = _aot_graphs(cell, step, len(names))
    return _with_roles(cell, forward, backward, names, records)


def _aot_graphs(cell: Cell, step: Any, num_inputs: int) -> tuple[fx.Graph, fx.Graph]:
    """Return the forward and the backward graph of `step` on (B, H) tensors."""
    from functorch.compile import (  # type: ignore[import-untyped]  # slow to import
        aot_function,
        make_boxed_func,
    )
    from torch._decomp import core_aten_decompositions

    graphs: dict[str, fx.Graph] = {}

    def keep(name: str) -> Any:
        def compiler(module: fx.GraphModule, _: Any) -> Any:
            graphs[name] = module.graph
            return make_boxed_func(module.forward)

        return compiler

    traced = aot_function(
        step, keep("forward"), keep("backward"), decompositions=core_aten_decompositions()
    )
    shape = (2, 3)
    _require_one_graph(cell, step, num_inputs)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            leaves = [
                torch.full(shape, 0.5, **_PLAIN, requires_grad=True) for _ in range(num_inputs)
            ]
            outputs = [output for output in traced(*leaves) if output.requires_grad]
            torch.autograd.backward(outputs, [torch.ones(shape, **_PLAIN) for _ in outputs])
    except Exception as error:  # whatever a user's equations raise under tracing
        raise UntraceableError(_why(cell, error)) from error
    return graphs["forward"], graphs["backward"]


def _require_one_graph(cell: Cell, step: Any, num_inputs: int) -> None:
    """Raise `UntraceableError` if the equations read the sizes of what they are given."""
    from torch.fx.experimental.proxy_tensor import make_fx

    codes = set()
    for shape in ((2, 3), (3, 5)):
        with torch.inference_mode(False), torch.no_grad():
            inputs = [torch.full(shape, 0.5, **_PLAIN) for _ in range(num_inputs)]
            step(*inputs)  # a mistake in the equations shows as it is
            try:
                codes.add(make_fx(step)(*inputs).code)
            except Exception as error:
                raise UntraceableError(_why(cell, error)) from error
    if len(codes) > 1:
        raise UntraceableError(f"cell {cell.name}: its equations depend on the number of units")


def _why(cell: Cell, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"cell {cell.name}: cannot be traced: {reason}"


def _with_roles(
    cell: Cell, forward: fx.Graph, backward: fx.Graph, names: list[str], records: list[str]
) -> Traced:
    inputs = dict(zip(names, _placeholders(forward), strict=True))
    outputs = [resolve(node) for node in _outputs(forward)]
    num_states, num_applied = len(cell.states), len(cell.applied)
    num_results = num_states + num_applied
    kept = outputs[num_results + len(records) :]
    named = dict(zip(cell.states, outputs, strict=False))
    named |= dict(zip(records, outputs[num_results:], strict=False))
    received = _placeholders(backward)
    saved = dict(zip(received, kept, strict=False))
    tangents = received[len(kept) :]
    if len(tangents) != num_results:
        raise UntraceableError(f"cell {cell.name}: a state does not depend on the equations' input")
    gradients = dict(zip(names, _outputs(backward), strict=True))
    columns, column_gradients = _columns(cell, inputs, gradients)
    return Traced(
        cell=cell,
        columns=columns,
        forward=_calls(forward),
        states_in=tuple(inputs[state] for state in cell.states),
        states_out=tuple(outputs[:num_states]),
        parameters=tuple(inputs[parameter] for parameter in cell.parameters),
        applied=tuple(outputs[num_states:num_results]),
        named=named,
        backward=_calls(backward),
        saved=saved,
        state_gradients_out=tuple(tangents[:num_states]),
        applied_gradients=tuple(tangents[num_states:]),
        column_gradients=column_gradients,
        state_gradients_in=tuple(gradients[state] for state in cell.states),
        parameter_gradients=tuple(gradients[parameter] for parameter in cell.parameters),
    )


def _columns(
    cell: Cell, inputs: dict[str, fx.Node], gradients: dict[str, Any]
) -> tuple[tuple[Column, ...], tuple[fx.Node | None, ...]]:
    """Return the columns in order, and the gradient by each."""
    sums = {gate: _sum_of(inputs, gate) for gate in cell.recurrent}
    if any(sums[gate] is None for gate in cell.applied):  # all, so that they are one slice
        sums |= dict.fromkeys(cell.applied)
    direct = cell.recurrent[: len(cell.recurrent) - len(cell.applied)]
    apart = [gate for gate in cell.gates if sums.get(gate) is None]

    def both(gates: Sequence[str], applied: bool) -> list[Column]:
        found = ((gate, sums[gate]) for gate in gates)
        return [Column(gate, True, True, applied, node) for gate, node in found if node]

    def recurrent(gates: Sequence[str], applied: bool) -> list[Column]:
        chosen = [gate for gate in gates if gate in apart]
        return [Column(gate, False, True, applied, inputs[f"u_{gate}"]) for gate in chosen]

    columns = (
        *both(cell.applied, True),
        *(Column(gate, True, False, False, inputs[f"x_{gate}"]) for gate in apart),
        *both(direct, False),
        *recurrent(direct, False),
        *recurrent(cell.applied, True),
    )
    parts = ("x" if column.input else "u" for column in columns)
    return columns, tuple(gradients[f"{p}_{c.gate}"] for p, c in zip(parts, columns, strict=True))


def _sum_of(inputs: dict[str, fx.Node], gate: str) -> fx.Node | None:
    """Return the node x.gate + u.gate, if that is all that either is used for."""
    x, u = inputs[f"x_{gate}"], inputs[f"u_{gate}"]
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
