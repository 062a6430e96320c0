"""The recurrence for the older exporter of ONNX, `torch.onnx.export(..., dynamo=False)`.

It reads a trace node by node and has a function for each operator that says what to write. This
file is that function for `unrolled::recurrence`: ONNX's own operator where there is one, else a
`Loop` over one step of the cell, each operation of which is written by the exporter's own function
for it.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import fx
from torch.onnx._internal.torchscript_exporter import (
    _type_utils,
    jit_utils,
    registration,
    symbolic_helper,
)

from unrolled.cells import Cell
from unrolled.cells.registry import find_cell
from unrolled.errors import ShapeError
from unrolled.kernels.exporting.onnx_nodes import OnnxNode, onnx_node
from unrolled.kernels.exporting.plain import step_graph, step_of
from unrolled.kernels.weights import Weights

__all__ = ["symbolic"]

_TYPES = {"Float": torch.float32, "Double": torch.float64, "Half": torch.float16}


def symbolic(
    g: Any,
    x: Any,
    lengths: Any,
    states: Any,
    weights: Any,
    cell: Any,
    biased: Any,
    projected: Any,
    reverse: Any,
) -> Any:
    """Write `unrolled::recurrence` as operators of ONNX.

    Args:
        g: The graph that is written.
        x: The arguments of the operator, values of the graph, from here on.
        lengths: A value.
        states: A value.
        weights: A value.
        cell: A value.
        biased: A value.
        projected: A value.
        reverse: A value.
    """
    equations = find_cell(_constant(cell))
    is_projected, is_reverse = bool(_constant(projected)), bool(_constant(reverse))
    flat = _elements(weights)
    own = Weights.of(equations, flat, biased=bool(_constant(biased)), projected=is_projected)
    before = _elements(states)
    lengths = None if _is_none(lengths) else lengths
    has_heads = own.weight_hh is not None and _has_heads(equations, _sizes(own.weight_hh))
    dtype = _type_of(own.weight_ih)
    node = onnx_node(equations, dtype, projected=is_projected, has_heads=has_heads)
    if node is not None:
        results = _as_node(g, node, x, lengths, before, own, is_reverse)
    else:
        results = _as_loop(g, equations, x, lengths, before, own, is_reverse)
    return g.op("prim::ListConstruct", *results)  # which the exporter takes apart again


def _has_heads(cell: Cell, sizes: list[int]) -> bool:
    """Tell by the weights alone: with a free batch, no size of a state is known."""
    return sizes[1] != sizes[0] // len(cell.recurrent)


# ---- ONNX's own operator -------------------------------------------------------------------------


def _as_node(
    g: Any,
    node: OnnxNode,
    x: Any,
    lengths: Any,
    states: Sequence[Any],
    weights: Weights,
    reverse: bool,
) -> list[Any]:
    num_gates = len(node.order)
    hidden_size = _sizes(weights.weight_hh)[0] // num_gates

    def ordered(weight: Any) -> Any:
        bounds = [index * hidden_size for index in range(num_gates + 1)]
        blocks = [_slice(g, weight, *pair) for pair in pairwise(bounds)]
        joined = weight
        if num_gates > 1:
            joined = node.ordered(blocks, lambda parts: g.op("Concat", *parts, axis_i=0))
        return _unsqueeze(g, joined, 0)

    biases = [weights.bias_ih, weights.bias_hh]
    none = _none(g)
    bias = none if biases[0] is None else g.op("Concat", *map(ordered, biases), axis_i=1)
    attributes: dict[str, Any] = {}
    for name, value in node.attributes.items():
        attributes[f"{name}_{'i' if isinstance(value, int) else 's'}"] = value
    output, *after = g.op(
        node.name,
        x,
        ordered(weights.weight_ih),
        ordered(weights.weight_hh),
        bias,
        none if lengths is None else g.op("Cast", lengths, to_i=6),  # int32
        *(_unsqueeze(g, state, 0) for state in states),
        outputs=1 + len(states),
        hidden_size_i=hidden_size,
        direction_s="reverse" if reverse else "forward",
        **attributes,
    )
    ends = [g.op("Squeeze", end, _integers(g, [0])) for end in after]
    if lengths is not None:  # of a row without steps, runtimes return zero
        has_steps = _unsqueeze(g, g.op("Greater", lengths, _integers(g, 0)), 1)
        ends = [g.op("Where", has_steps, e, s) for e, s in zip(ends, states, strict=True)]
    return [g.op("Squeeze", output, _integers(g, [1])), *ends]


# ---- A loop over one step ------------------------------------------------------------------------


def _as_loop(
    g: Any,
    cell: Cell,
    x: Any,
    lengths: Any,
    states: Sequence[Any],
    weights: Weights,
    reverse: bool,
) -> list[Any]:
    num_rows, input_size = _sizes(weights.weight_ih)
    raw = _slice(g, x, 0, input_size, dim=2) if cell.inputs else x
    parts = g.op("MatMul", raw, g.op("Transpose", weights.weight_ih, perm_i=[1, 0]))
    if weights.bias_ih is not None:
        parts = g.op("Add", parts, weights.bias_ih)
    if cell.step_inputs:
        beside = [_slice(g, x, input_size, 2**63 - 1, dim=2)] if cell.inputs else []
        beside += [raw] if cell.reads_raw_input else []
        parts = g.op("Concat", parts, *beside, axis_i=2)
    num_steps = g.op("Gather", g.op("Shape", x), _integers(g, 0), axis_i=0)
    always = g.op("Constant", value_t=torch.tensor(True))
    results, (body,), _ = jit_utils.add_op_with_blocks(
        g, "Loop", num_steps, always, *states, outputs=1 + len(states), n_blocks=1
    )
    block: Any = body.block  # torch has no types for what it can do
    index = block.addInputToBlock()
    index.setType(num_steps.type())
    block.addInputToBlock().setType(always.type())
    before = [block.addInputToBlock() for _ in states]
    for value, state in zip(before, states, strict=True):
        value.setType(state.type())
    step_index = index
    if reverse:
        last = body.op("Sub", num_steps, _integers(body, 1))
        step_index = body.op("Sub", last, index)
    values = [*before, body.op("Gather", parts, step_index, axis_i=0)]
    if lengths is not None:
        values.append(_unsqueeze(body, body.op("Less", step_index, lengths), 1))
    dtype = _type_of(weights.weight_ih)
    step, taken = step_of(cell, weights, ragged=lengths is not None)
    width = num_rows + len(cell.step_inputs) * (num_rows // len(cell.feedforward))
    widths = [*(_sizes(state)[-1] for state in states), width]
    shapes = [_sizes(weight) for weight in taken]
    graph = step_graph(cell, step, widths, shapes, dtype, ragged=lengths is not None)
    written = _write(body, graph, [*values, *taken], dtype)
    block.registerOutput(body.op("Identity", always))
    for value in written:
        block.registerOutput(value)
    *after, output = results
    for result, value in zip(after, states, strict=True):
        result.setType(value.type())
    output.setType(x.type().with_sizes([None, None, _sizes(states[0])[-1]]))
    if reverse:
        start, end = _integers(g, [-1]), _integers(g, [-(2**63)])
        output = g.op("Slice", output, start, end, _integers(g, [0]), _integers(g, [-1]))
    return [output, *after]


def _write(g: Any, graph: fx.Graph, inputs: Sequence[Any], dtype: torch.dtype) -> list[Any]:
    """Write the nodes of `graph` by the exporter's functions; return its outputs."""
    values: dict[fx.Node, Any] = {}
    tensors = iter(inputs)
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = next(tensors)
        elif node.op == "output":
            return [values[each] for each in node.args[0]]
        else:
            values[node] = _function_for(node, g.opset)(g, *_arguments(g, node, values, dtype))
    raise AssertionError("a graph without an output")


def _function_for(node: fx.Node, opset: int) -> Callable[..., Any]:
    """Return the exporter's function for an operation.

    Raises:
        torch.onnx.errors.UnsupportedOperatorError: ONNX does not know it.
    """
    schema = getattr(node.target, "_schema", None)
    name = str(node.target) if schema is None else schema.name
    group = registration.registry.get_function_group(name)
    function = None if group is None else group.get(opset)
    if function is None:
        raise torch.onnx.errors.UnsupportedOperatorError(
            name, opset, None if group is None else group.get_min_supported()
        )
    return function


def _arguments(g: Any, node: fx.Node, values: dict[fx.Node, Any], dtype: torch.dtype) -> list[Any]:
    """Return what an operation is given, its defaults too, as values of the graph."""
    arguments = []
    schema: Any = getattr(node.target, "_schema")  # noqa: B009  # of a callable
    for position, argument in enumerate(schema.arguments):
        default = node.kwargs.get(argument.name, argument.default_value)
        value: Any = node.args[position] if position < len(node.args) else default
        if isinstance(value, fx.Node):
            arguments.append(values[value])
        elif isinstance(value, list | tuple) and any(isinstance(v, fx.Node) for v in value):
            arguments.append(g.op("prim::ListConstruct", *(values[each] for each in value)))
        elif value is None or isinstance(value, torch.device | torch.layout | torch.memory_format):
            arguments.append(_none(g))
        elif isinstance(value, torch.dtype):
            code = _type_utils.JitScalarType.from_dtype(value)
            arguments.append(_integers(g, int(code)))
        elif isinstance(value, float | int) and str(argument.type) in ("number", "Tensor"):
            kind = torch.bool if isinstance(value, bool) else dtype
            arguments.append(g.op("Constant", value_t=torch.tensor(value, dtype=kind)))
        else:
            arguments.append(g.op("Constant", value_t=torch.as_tensor(value)))
    return arguments


# ---- Values of the exporter's graph --------------------------------------------------------------


def _constant(value: Any) -> Any:
    return symbolic_helper._node_get(value.node(), "value")


def _elements(value: Any) -> list[Any]:
    return list(value.node().inputs())


def _is_none(value: Any) -> bool:
    return bool(value.node().mustBeNone())


def _none(g: Any) -> Any:
    none = g.op("prim::Constant")
    none.setType(torch._C.OptionalType.ofTensor())
    return none


def _sizes(value: Any) -> list[int]:
    sizes: list[int] | None = value.type().varyingSizes()
    if sizes is None or sizes[-1] is None:
        raise ShapeError("ONNX export: the size of a state or a weight is not known")
    return sizes


def _type_of(value: Any) -> torch.dtype:
    return _TYPES[value.type().scalarType()]


def _integers(g: Any, values: int | list[int]) -> Any:
    return g.op("Constant", value_t=torch.tensor(values))


def _unsqueeze(g: Any, value: Any, dim: int) -> Any:
    return g.op("Unsqueeze", value, _integers(g, [dim]))


def _slice(g: Any, value: Any, start: int, end: int, dim: int = 0) -> Any:
    parts = [_integers(g, [number]) for number in (start, end, dim)]
    return g.op("Slice", value, *parts)
