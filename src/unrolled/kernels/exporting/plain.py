"""The recurrence in torch's own operations: one step of the cell, and a scan over time.

What `torch.export` makes of it holds any number of steps and rows, and is read by whoever knows
torch: ONNX's exporter (as `Scan`), AOTInductor, other consumers of exported programs.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.functional import linear

from unrolled.cells import Cell
from unrolled.cells.registry import find_cell
from unrolled.errors import OptionError
from unrolled.kernels.exporting.onnx_nodes import OnnxNode, onnx_node
from unrolled.kernels.reference import gate_blocks, recurrent_terms, step_parts
from unrolled.kernels.rows import valid_steps
from unrolled.kernels.weights import Weights

__all__ = ["Step", "decomposed", "step_graph", "step_of"]

Step = Callable[..., list[Tensor]]


def decomposed(
    x: Tensor,
    lengths: Tensor | None,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    cell: str,
    biased: bool,
    projected: bool,
    reverse: bool,
) -> list[Tensor]:
    """Compute `unrolled::recurrence`, whose arguments these are, without an operator of ours.

    While a program is exported to ONNX and ONNX has the cell: by that operator of ONNX.

    Args:
        x: (T, B, I), the inputs of each step behind it, H each.
        lengths: (B,), 0 ... T, not checked; None for T.
        states: Before the first step, (B, P) or (B, H) each.
        weights: As `Weights.tensors` lists them.
        cell: Its key.
        biased: Whether there are biases.
        projected: Whether the output is projected.
        reverse: Read each row from its own end.

    Returns:
        The output (T, B, P), zero past a row's end, and the states at the end of each row.
    """
    equations = find_cell(cell)
    own = Weights.of(equations, weights, biased=biased, projected=projected)
    for_onnx = torch.onnx.is_in_onnx_export()
    has_heads = own.has_heads(states[0].shape[1])
    node = onnx_node(equations, x.dtype, projected=projected, has_heads=has_heads)
    if for_onnx and node is not None:
        return _as_onnx_node(node, x, lengths, states, own, reverse)
    return _as_scan(equations, x, lengths, states, own, reverse, for_onnx)


# ---- A scan over one step ------------------------------------------------------------------------


def step_of(cell: Cell, weights: Weights, *, ragged: bool) -> tuple[Step, list[Tensor]]:
    """Return one step of a cell, and the weights that it takes.

    It is given the states before it, (B, H) each; the input's part of all gates that have one, then
    the inputs of the step, (B, (F + E) * H) together; if `ragged`, which rows have this step,
    (B, 1) boolean; and the weights. It returns the states after it, and the output, zero in rows
    that do not have it.

    Args:
        cell: The equations.
        weights: Of the layer.
        ragged: Whether some rows end before others.
    """
    kinds = (weights.weight_hh, weights.bias_hh, weights.weight_hr)
    taken = [*(weight for weight in kinds if weight is not None), *weights.parameters]
    num_states, num_gates = len(cell.states), len(cell.feedforward)

    def step(*values: Any) -> list[Tensor]:
        before, (parts, *rest) = values[:num_states], values[num_states:]
        valid = rest.pop(0) if ragged else None
        tensors = iter(rest)
        weight_hh, bias_hh, weight_hr = (None if kind is None else next(tensors) for kind in kinds)
        recurrent = Weights(weights.weight_ih, weight_hh, None, bias_hh, None, ())
        blocks = gate_blocks(parts, num_gates + len(cell.step_inputs))
        named = cell(
            dict(zip(cell.feedforward, blocks[:num_gates], strict=True)),
            recurrent_terms(cell, recurrent)(before[0]),
            dict(zip(cell.states, before, strict=True)),
            dict(zip(cell.parameters, tensors, strict=False)),  # what follows are sizes
            dict(zip(cell.step_inputs, blocks[num_gates:], strict=True)),
        )
        output, *others = (named[state] for state in cell.states)
        if weight_hr is not None:
            output = linear(output, weight_hr)
        after = [output, *others]
        if valid is not None:
            after = [torch.where(valid, n, o) for n, o in zip(after, before, strict=True)]
            output = torch.where(valid, output, torch.zeros_like(output))
        return [*(state.clone() for state in after), output.clone()]  # nothing twice, nor as given

    return step, taken


def step_graph(
    cell: Cell,
    step: Step,
    widths: Sequence[int],
    shapes: Sequence[Sequence[int]],
    dtype: torch.dtype,
    *,
    ragged: bool,
) -> fx.Graph:
    """Return the graph of a step that `step_of` gave, in torch's operations.

    It is made in a thread of its own, where nobody traces.

    Args:
        cell: The equations.
        step: One step.
        widths: Numbers in a row of each state, and of the input's part of all gates with the
            inputs of the step.
        shapes: Of the weights that it takes.
        dtype: Of all of them.
        ragged: As `step_of` was told.

    Raises:
        OptionError: The equations depend on how many rows a batch has: ONNX would have one number
            for good.
    """

    def graph_of(num_rows: int) -> fx.Graph:
        examples = [torch.zeros(num_rows, width, dtype=dtype) for width in widths]
        if ragged:
            examples.append(torch.ones(num_rows, 1, dtype=torch.bool))
        examples += [torch.zeros(tuple(shape), dtype=dtype) for shape in shapes]
        with torch.no_grad():
            return make_fx(step)(*examples).graph

    # Torch 2.10, built for CUDA, on a machine without: what the first FakeTensorMode makes ends
    # with its thread, and all later ones use it. So the first is not that of the thread here.
    with FakeTensorMode():
        pass
    with ThreadPoolExecutor(1) as thread:
        graph, other = thread.submit(lambda: (graph_of(3), graph_of(5))).result()
    if str(graph) != str(other):
        raise OptionError(
            f"cell {cell.name}: its equations depend on the number of rows, which ONNX cannot ask",
            "write them for one row, whatever the number",
        )
    return graph


def _as_scan(
    cell: Cell,
    x: Tensor,
    lengths: Tensor | None,
    states: Sequence[Tensor],
    weights: Weights,
    reverse: bool,
    for_onnx: bool,
) -> list[Tensor]:
    from torch._higher_order_ops.scan import scan_op

    step, taken = step_of(cell, weights, ragged=lengths is not None)
    sequences = []
    if lengths is not None:
        valid = valid_steps(lengths, x.shape[0]).unsqueeze(2)  # (T, B, 1)
        x = x.masked_fill(~valid, 0.0)  # so that no gradient reads what is past an end
        sequences = [valid]
    sequences.insert(0, _parts_together(cell, x, weights))
    if reverse:
        sequences = [sequence.flip(0) for sequence in sequences]
    if for_onnx:
        widths = [*(state.shape[1] for state in states), sequences[0].shape[2]]
        shapes = [weight.shape for weight in taken]
        step_graph(cell, step, widths, shapes, x.dtype, ragged=lengths is not None)  # for its error
        # its passes run the scan once more, and those of torch fail with a gradient
        arguments = [*states, *sequences, *taken]
        detached = iter([tensor.detach() for tensor in arguments])
        states, sequences, taken = (
            [next(detached) for _ in part] for part in (states, sequences, taken)
        )
        sizes = []
    else:  # AOTInductor looks for the sizes of the output among what a scan is given
        batch_size: Any = x.shape[1]
        sizes = [batch_size] if isinstance(batch_size, torch.SymInt) else []
    *after, output = scan_op(step, list(states), sequences, (*taken, *sizes))
    return [output.flip(0) if reverse else output, *after]


def _parts_together(cell: Cell, x: Tensor, weights: Weights) -> Tensor:
    """Return what all steps read that does not depend on states, (T, B, (G + E) * H)."""
    if not cell.step_inputs:  # as it comes from the product, for a smaller graph
        return linear(x, weights.weight_ih, weights.bias_ih)
    gates, inputs = step_parts(cell, x, weights)
    return torch.cat([*gates, *inputs.values()], dim=-1)


# ---- An operator of ONNX -------------------------------------------------------------------------


def _as_onnx_node(
    node: OnnxNode,
    x: Tensor,
    lengths: Tensor | None,
    states: Sequence[Tensor],
    weights: Weights,
    reverse: bool,
) -> list[Tensor]:
    num_gates = len(node.order)
    hidden_size = states[0].shape[1]

    def ordered(weight: Tensor) -> Tensor:
        return node.ordered(weight.chunk(num_gates), torch.cat).unsqueeze(0)

    assert weights.weight_hh is not None
    biases = [weights.bias_ih, weights.bias_hh]
    bias = None
    if all(each is not None for each in biases):
        bias = torch.cat([ordered(each) for each in biases if each is not None], dim=1)
    shape = (1, *states[0].shape)
    direction = "reverse" if reverse else "forward"
    inputs = [
        x,
        ordered(weights.weight_ih),
        ordered(weights.weight_hh),
        bias,
        None if lengths is None else lengths.to(torch.int32),
        *(state.unsqueeze(0) for state in states),
    ]
    output, *after = torch.onnx.ops.symbolic_multi_out(
        node.name,
        inputs,
        {"hidden_size": hidden_size, "direction": direction, **node.attributes},
        dtypes=[x.dtype] * (1 + len(states)),
        shapes=[(x.shape[0], *shape), *([shape] * len(states))],
    )
    ends = [end.squeeze(0) for end in after]
    if lengths is not None:  # of a row without steps, runtimes return zero
        has_steps = (lengths > 0).unsqueeze(1)
        ends = [torch.where(has_steps, e, s) for e, s in zip(ends, states, strict=True)]
    return [output.squeeze(1), *ends]
