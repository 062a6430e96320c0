"""From a cell's equations to two pointwise graphs: one step forward, and its gradient.

`graphs` does the capturing and the differentiation. Here the graphs' inputs get their roles and
names back, and the gates are put in the order of a kernel's columns:

    both, applied   gates whose recurrent part is a product with a vector that the equations
                    compute (GRU with reset before: n), if they only ever add their two parts
    input only      gates whose two parts are used apart, their input part (GRU: n)
    both            gates whose parts are only ever added (LSTM: all four)
    recurrent only  the recurrent part of the second kind (GRU: n)
    applied only    the recurrent part of the first kind, otherwise

so that what the input weights feed is one slice of the columns, what the recurrent weights feed
another, and what is applied a third. A product that is applied to what another applied product
gave comes a phase after it: within their slice, columns are in the order of their phases. Nothing
here knows of C.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from unrolled.cells import Cell
from unrolled.cells.origins import line_of_equations
from unrolled.cells.surroundings import Surroundings
from unrolled.errors import OptionError
from unrolled.kernels.capturing.errors import EquationsError
from unrolled.kernels.capturing.graphs import Graphs, Step, pointwise_graphs
from unrolled.kernels.capturing.reductions import is_over_units

__all__ = ["CapturedStep", "Column", "capture"]

_ATEN = torch.ops.aten


@dataclass(frozen=True)
class Column:
    """One gate's place in a kernel's rows: which parts of it arrive there.

    Args:
        gate: Its name.
        input: Whether the input's part, x.gate, is in it.
        recurrent: Whether the recurrent part, u.gate, is in it.
        applied: Whether that part is a product with a vector of the equations' own.
        node: The value that the column holds, in the forward graph.
        phase: Of the step, from which on it is known: 0, the first; of what is applied, the one
            after that in which its vector is known.
    """

    gate: str
    input: bool
    recurrent: bool
    applied: bool
    node: fx.Node
    phase: int = 0


@dataclass(frozen=True)
class CapturedStep:
    """A cell's step and its gradient as graphs of pointwise operations.

    Args:
        cell: The cell.
        inputs: What the step is given, by name: x.f, u.f, the states, the inputs of the step, the
            per-unit vectors.
        columns: Its gates in the order of a kernel's columns.
        forward: Nodes of the step, in an order in which they can be computed.
        states_in: The states before the step.
        states_out: The states after it.
        step_inputs: The inputs of the step, those of `cell.step_inputs`.
        parameters: The per-unit vectors.
        products: The gates of `cell.applied`, in the order of their columns.
        applied: The vectors that these products are applied to.
        named: What the cell returned by name, states included.
        backward: Nodes of the gradient, likewise.
        saved: For each saved value that `backward` reads, the forward node it is.
        state_gradients_out: The gradients of `states_out`, which `backward` starts from.
        applied_gradients: The gradients of `applied`, which it needs on its way.
        column_gradients: The gradient of each column; None is zero, as everywhere below.
        state_gradients_in: The gradients of `states_in`, but for what goes through the columns.
        step_input_gradients: The gradient of each of `step_inputs`.
        parameter_gradients: The gradient of each per-unit vector, a row's share of it.
    """

    cell: Cell
    inputs: dict[str, fx.Node]
    columns: tuple[Column, ...]
    forward: tuple[fx.Node, ...]
    states_in: tuple[fx.Node, ...]
    states_out: tuple[fx.Node, ...]
    step_inputs: tuple[fx.Node, ...]
    parameters: tuple[fx.Node, ...]
    products: tuple[str, ...]
    applied: tuple[fx.Node, ...]
    named: dict[str, fx.Node]
    backward: tuple[fx.Node, ...]
    saved: dict[fx.Node, fx.Node]
    state_gradients_out: tuple[fx.Node, ...]
    applied_gradients: tuple[fx.Node, ...]
    column_gradients: tuple[fx.Node | None, ...]
    state_gradients_in: tuple[fx.Node | None, ...]
    step_input_gradients: tuple[fx.Node | None, ...]
    parameter_gradients: tuple[fx.Node | None, ...]

    @property
    def former(self) -> tuple[int, ...]:
        """The places of the output state and of those that are it one step before, two, ...

        None is looked for where a step has sums over units: there each is a state of its own.
        """
        if self.reduces:
            return (0,)
        places = [0]
        while (node := self.states_in[places[-1]]) in self.states_out[1:]:
            place = self.states_out.index(node, 1)
            if place in places:  # itself, which never changes
                break
            places.append(place)
        return tuple(places)

    @property
    def reduces(self) -> bool:
        """Whether the step or its gradient has sums over units, or the like."""
        return any(map(is_over_units, (*self.forward, *self.backward)))

    @property
    def phases(self) -> dict[fx.Node, int]:
        """The phase of the step from which on each value is known; the last one is the largest."""
        return _phases(self.forward, {column.node: column.phase for column in self.columns})


def capture(cell: Cell, surroundings: Surroundings | None = None) -> CapturedStep:
    """Capture one step of `cell` as graphs.

    It happens in a thread of its own, where the modes that the caller may be in (inference mode, a
    default device, fake tensors, transforms, autocast) have no effect.

    Args:
        cell: The cell.
        surroundings: What its equations read from outside. Code that only now turns out to run is
            added to it.

    Raises:
        EquationsError: The equations branch on values, read sizes, use a tensor that is not
            theirs, call what torch cannot differentiate or what may say something else at the
            next step, or read from outside what may change unseen.
        OptionError: They change what they are given.
    """
    surroundings = surroundings or Surroundings(cell.equations)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_capture, cell, surroundings).result()


def _capture(cell: Cell, surroundings: Surroundings) -> CapturedStep:
    try:
        captured = _captured(cell, surroundings)
    except EquationsError:
        if surroundings.changed_name() is None:
            raise
    if surroundings.changed_name() is None:
        return captured
    # something is made at its first use, such as a cached property or an import: now it is there
    surroundings.look_again()
    captured = _captured(cell, surroundings)
    if name := surroundings.changed_name():
        problem = f"its equations change {name}, which is outside of them"
        raise EquationsError(f"cell {cell.name}: {problem}")
    return captured


def _captured(cell: Cell, surroundings: Surroundings) -> CapturedStep:
    terms = [*(f"x.{gate}" for gate in cell.feedforward), *(f"u.{gate}" for gate in cell.recurrent)]
    names = [*terms, *cell.states, *cell.step_inputs, *cell.parameters]
    num_inputs = len(names) - len(cell.parameters)
    where = f"cell {cell.name}"
    graphs = pointwise_graphs(
        where, _flat_step(cell, names), num_inputs, len(cell.parameters), surroundings.visit_frame
    )
    if surroundings.unknown:
        problem = f"read {surroundings.unknown[0]}, whose changes cannot be seen"
        raise EquationsError(f"{where}: its equations {problem}")
    return _with_roles(cell, graphs, names)


def _flat_step(cell: Cell, names: Sequence[str]) -> Step:
    """Return the cell's step as a function of the values of `names`, in order.

    Its results are the new states, then the vectors that products are applied to.
    """

    def step(*values: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
        by_name = dict(zip(names, values, strict=True))
        vectors: dict[str, Tensor] = {}

        def product(gate: str) -> Callable[[Tensor], Tensor]:
            def apply(vector: Any) -> Tensor:
                if gate in vectors:
                    problem = f"applies u.{gate} twice in a step{line_of_equations()}"
                    hint = "a second gate has weights of its own, which may be tied (docs/cells.md)"
                    raise EquationsError(f"cell {cell.name}: {problem}", hint)
                if not isinstance(vector, Tensor):
                    got = f"u.{gate} is applied to {vector!r}{line_of_equations()}"
                    raise OptionError(f"cell {cell.name}: {got}", "it takes a vector, (B, H)")
                # copies: the vector as it is now, and a result that the equations may change
                vectors[gate] = vector.clone()
                return by_name[f"u.{gate}"].clone()

            return apply

        returned = cell(
            {gate: by_name[f"x.{gate}"] for gate in cell.feedforward},
            {
                gate: product(gate) if gate in cell.applied else by_name[f"u.{gate}"]
                for gate in cell.recurrent
            },
            {state: by_name[state] for state in cell.states},
            {parameter: by_name[parameter] for parameter in cell.parameters},
            {name: by_name[name] for name in cell.step_inputs},
        )
        results = {state: returned[state] for state in cell.states}
        if missing := set(cell.applied) - set(vectors):
            raise EquationsError(f"cell {cell.name}: does not apply u.{min(missing)}")
        results |= {f"vector of u.{gate}": vectors[gate] for gate in cell.applied}
        return results, {name: v for name, v in returned.items() if name not in cell.states}

    return step


def _with_roles(cell: Cell, graphs: Graphs, names: Sequence[str]) -> CapturedStep:
    """Return the graphs with the roles of their inputs and outputs; `names` are those of inputs."""
    inputs = dict(zip(names, _placeholders(graphs.forward), strict=True))
    outputs = _outputs(graphs.forward)
    num_states = len(cell.states)
    num_results = num_states + len(cell.applied)
    num_named = num_results + len(graphs.value_names)
    named = dict(zip(cell.states, outputs[:num_states], strict=True))
    named |= dict(zip(graphs.value_names, outputs[num_results:num_named], strict=True))
    placeholders = _placeholders(graphs.backward)
    tangents, saved = placeholders[:num_results], placeholders[num_results:]
    gradients = dict(zip(names, _outputs(graphs.backward), strict=True))
    forward = _calls(graphs.forward)
    vectors = dict(zip(cell.applied, outputs[num_states:num_results], strict=True))
    vector_gradients = dict(zip(cell.applied, tangents[num_states:], strict=True))
    phase_of = _phases_of_products(inputs, vectors, forward)
    products = tuple(sorted(cell.applied, key=phase_of.__getitem__))
    columns = _columns(cell, inputs, products, phase_of)
    return CapturedStep(
        cell=cell,
        inputs=inputs,
        columns=columns,
        forward=forward,
        states_in=tuple(inputs[state] for state in cell.states),
        states_out=tuple(outputs[:num_states]),
        step_inputs=tuple(inputs[name] for name in cell.step_inputs),
        parameters=tuple(inputs[parameter] for parameter in cell.parameters),
        products=products,
        applied=tuple(vectors[gate] for gate in products),
        named=named,
        backward=_calls(graphs.backward),
        saved=dict(zip(saved, outputs[num_named:], strict=True)),
        state_gradients_out=tuple(tangents[:num_states]),
        applied_gradients=tuple(vector_gradients[gate] for gate in products),
        column_gradients=tuple(gradients[f"{'x' if c.input else 'u'}.{c.gate}"] for c in columns),
        state_gradients_in=tuple(gradients[state] for state in cell.states),
        step_input_gradients=tuple(gradients[name] for name in cell.step_inputs),
        parameter_gradients=tuple(gradients[parameter] for parameter in cell.parameters),
    )


def _phases_of_products(
    inputs: dict[str, fx.Node], vectors: dict[str, fx.Node], forward: Sequence[fx.Node]
) -> dict[str, int]:
    """Return for each applied product the phase from which on it is known."""
    phase_of = dict.fromkeys(vectors, 1)
    for _ in vectors:  # a chain has no more products than there are
        known = _phases(forward, {inputs[f"u.{gate}"]: phase_of[gate] for gate in vectors})
        phase_of = {gate: 1 + known.get(vector, 0) for gate, vector in vectors.items()}
    return phase_of


def _phases(forward: Sequence[fx.Node], given: dict[fx.Node, int]) -> dict[fx.Node, int]:
    """Return the phase of each value: the last of those that it is made of."""
    phases = dict(given)
    for node in forward:
        if node not in phases:
            phases[node] = max((phases.get(each, 0) for each in node.all_input_nodes), default=0)
    return phases


def _columns(
    cell: Cell, inputs: dict[str, fx.Node], products: Sequence[str], phase_of: dict[str, int]
) -> tuple[Column, ...]:
    """Return the columns in the order that the head of this file gives."""
    sums = {gate: _sum_of(inputs, gate) for gate in cell.recurrent}
    if any(sums[gate] is None for gate in cell.applied):  # all, so that they are one slice
        sums |= dict.fromkeys(cell.applied)
    direct = cell.recurrent[: len(cell.recurrent) - len(cell.applied)]
    apart = [gate for gate in cell.gates if sums.get(gate) is None]

    def both(gates: Sequence[str], applied: bool) -> list[Column]:
        nodes = ((gate, sums[gate]) for gate in gates)
        return [
            Column(gate, True, True, applied, node, phase_of.get(gate, 0))
            for gate, node in nodes
            if node
        ]

    def recurrent(gates: Sequence[str], applied: bool) -> list[Column]:
        chosen = [gate for gate in gates if gate in apart]
        return [
            Column(gate, False, True, applied, inputs[f"u.{gate}"], phase_of.get(gate, 0))
            for gate in chosen
        ]

    return (
        *both(products, True),
        *(
            Column(gate, True, False, False, inputs[f"x.{gate}"])
            for gate in apart
            if gate in cell.feedforward
        ),
        *both(direct, False),
        *recurrent(direct, False),
        *recurrent(products, True),
    )


def _sum_of(inputs: dict[str, fx.Node], gate: str) -> fx.Node | None:
    """Return the node x.gate + u.gate, if that is all that either is used for."""
    if f"x.{gate}" not in inputs:
        return None
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
