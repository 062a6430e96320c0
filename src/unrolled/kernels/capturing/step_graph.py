"""One step of a cell as a graph for people: every value by a name, and its number.

It is the graph that a kernel is made of. How it is written down and drawn is not known here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from unrolled.cells import Cell
from unrolled.kernels.capturing.capture import CapturedStep, capture
from unrolled.kernels.capturing.errors import EquationsError
from unrolled.kernels.capturing.reductions import evaluated_over_units, is_over_units

__all__ = ["Number", "StepGraph", "StepNode", "step_graph"]

Number = float | int | bool

_ATEN = torch.ops.aten
_TERMS = {"x": "input", "u": "recurrent"}


@dataclass(frozen=True)
class StepNode:
    """A value of one step.

    Args:
        id: "x:f" and "u:f" for the two parts of a gate, "before:c" for a state before the step,
            "given:dt" for an input of it, "vector:w" for a per-unit vector; what the cell returns
            by name has that name as its id; "c.0" is the first of what c is computed from, "c.0.1"
            the second of that.
        operation: Of an x "input", of a u "recurrent", or "product" where the equations apply it
            to a vector of their own; "before", "given", "vector", "constant"; "copy" of what is
            another node's value; else the operation's name in torch, such as "sigmoid".
        inputs: The ids of the nodes that it is computed from, or numbers; None where torch was
            given None.
        name: By which the cell returns it; None of all others.
    """

    id: str
    operation: str
    inputs: tuple[str | Number | None, ...] = ()
    name: str | None = None


@dataclass(frozen=True, eq=False)
class StepGraph:
    """One step of a cell.

    Args:
        cell: The cell.
        nodes: In an order in which they can be computed.
    """

    cell: Cell
    nodes: tuple[StepNode, ...]
    _captured: CapturedStep
    _ids: dict[fx.Node, str]

    @property
    def is_over_units(self) -> bool:
        """Whether a value of one unit depends on those of others, as by a sum over units."""
        return any(map(is_over_units, self._captured.forward))

    def numbers(self, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the number of every node, by its id, in float64; masks are 0 or 1.

        Args:
            leaves: The numbers of the nodes that nothing is computed for ("input", "recurrent",
                "product", "before", "given", "vector"), by id, of any shapes that go together; if
                `is_over_units`, their last dim is that of all units.
        """
        shapes = [number.shape for number in leaves.values()]
        shape = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]  # torch's fault
        values: dict[fx.Node, Any] = {
            node: leaves[self._ids[node]].double()
            for node in self._captured.inputs.values()
            if node in self._ids
        }
        for node in self._captured.forward:
            if all(source in values for source in node.all_input_nodes):
                values[node] = _evaluated(node, values, shape)
        numbers = {self._ids[node]: values[node].double().expand(shape) for node in self._ids}
        for each in self.nodes:
            if each.operation == "copy" and isinstance(each.inputs[0], str):
                numbers[each.id] = numbers[each.inputs[0]]
        return numbers


def step_graph(cell: Cell) -> StepGraph:
    """Return one step of a cell as a graph, every value by a name.

    Raises:
        EquationsError: The equations hold something that no graph can be made of.

    Example:
        >>> from unrolled.cells import rnn_tanh
        >>> for node in step_graph(rnn_tanh).nodes:
        ...     print(node.id, node.operation, *node.inputs)
        x:a input
        u:a recurrent
        h.0 add x:a u:a
        h tanh h.0
    """
    captured = capture(cell)
    builder = _Builder(captured)
    for name, node in captured.named.items():
        if ":" in name:
            raise EquationsError(
                f"cell {cell.name}: {name!r} is no name for a value", "leave : out"
            )
        builder.name(name, node)
    order = {node: place for place, node in enumerate(captured.forward)}
    for name in sorted(captured.named, key=lambda name: order.get(captured.named[name], -1)):
        builder.add(name, captured.named[name])
    return StepGraph(cell, tuple(builder.nodes), captured, builder.ids)


class _Builder:
    """Gives every value an id, and lists the nodes in an order in which they can be computed."""

    def __init__(self, captured: CapturedStep) -> None:
        cell = captured.cell
        self.nodes: list[StepNode] = []
        self.ids: dict[fx.Node, str] = {}
        self._listed: set[fx.Node] = set()
        self._named: dict[fx.Node, str] = {}
        self._leaves = {node: _leaf(cell, name) for name, node in captured.inputs.items()}
        self._states = cell.states
        self._vectors = dict(zip(captured.products, captured.applied, strict=True))

    def name(self, name: str, node: fx.Node) -> None:
        """Let a value have a name, if it has none yet. What is given is named but by a gate's."""
        leaf = self._leaves.get(node)
        is_gate = leaf is not None and leaf.operation not in ("before", "given", "vector")
        if leaf is None or (is_gate and name not in self._states):
            self._named.setdefault(node, name)

    def add(self, name: str, node: fx.Node) -> None:
        """List what the cell returns by a name, after all that it is computed from."""
        source = self._list(node, name)
        if self._named.get(node) != name:
            self.nodes.append(StepNode(name, "copy", (source,), name))

    def _list(self, node: fx.Node, id: str) -> str:
        """List a value under its own name, or else as `id`; return what others are to read."""
        if node in self._listed:
            return self._named.get(node, self.ids[node])
        self._listed.add(node)
        if (leaf := self._leaves.get(node)) is not None:
            self.ids[node] = leaf.id
            if leaf.operation == "product":
                vector = self._vectors[leaf.id.partition(":")[2]]
                leaf = replace(leaf, inputs=(self._list(vector, self._free(f"{leaf.id}.0")),))
            self.nodes.append(leaf)
            if (name := self._named.get(node)) is not None:
                self.nodes.append(StepNode(name, "copy", (leaf.id,), name))
            return name or leaf.id
        name = self._named.get(node)
        self.ids[node] = id = name or id
        operation, arguments = _operation(node)
        inputs = tuple(self._inputs(arguments, id))
        self.nodes.append(StepNode(id, operation, inputs, name))
        return id

    def _inputs(self, arguments: list[Any], id: str) -> Iterator[str | Number | None]:
        for place, argument in enumerate(arguments):
            if not isinstance(argument, fx.Node):
                yield argument
            elif argument.target is _ATEN.full.default and argument not in self._named:
                yield argument.args[1]  # type: ignore[misc]  # a number
            else:
                yield self._list(argument, self._free(f"{id}.{place}"))

    def _free(self, id: str) -> str:
        taken = {*self.ids.values(), *self._named.values()}
        while id in taken:
            id += "'"
        return id


def _leaf(cell: Cell, name: str) -> StepNode:
    part, dot, gate = name.partition(".")
    if dot:
        applied = part == "u" and gate in cell.applied
        return StepNode(f"{part}:{gate}", "product" if applied else _TERMS[part])
    if name in cell.states:
        return StepNode(f"before:{name}", "before")
    kind = "given" if name in cell.step_inputs else "vector"
    return StepNode(f"{kind}:{name}", kind)


def _operation(node: fx.Node) -> tuple[str, list[Any]]:
    """Return what a node does, and to what."""
    packet = getattr(node.target, "overloadpacket", node.target)
    name, arguments = str(packet.__name__), list(node.args)  # type: ignore[union-attr]  # a call
    if node.target is _ATEN.full.default:
        return "constant", [node.args[1]]
    if is_over_units(node):
        return name, arguments[:1]
    if node.target is _ATEN._to_copy.default:
        return "copy", arguments[:1]
    if node.kwargs.get("approximate", "none") != "none":
        return f"{name}_{node.kwargs['approximate']}", arguments
    return name, arguments + [value for key, value in node.kwargs.items() if key == "alpha"]


def _evaluated(node: fx.Node, values: Mapping[fx.Node, Any], shape: Sequence[int]) -> Tensor:
    """Return what a node computes, in float64 where it was in float32."""
    if node.target is _ATEN.full.default:
        dtype = node.meta["val"].dtype
        return torch.tensor(node.args[1], dtype=torch.float64 if dtype.is_floating_point else dtype)
    if is_over_units(node):
        return evaluated_over_units(node, values[node.all_input_nodes[0]].expand(shape))
    arguments = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
    args, kwargs = arguments
    if kwargs.get("dtype") is torch.float32:
        kwargs = {**kwargs, "dtype": torch.float64}
    assert callable(node.target)
    result: Tensor = node.target(*args, **kwargs)
    return result
