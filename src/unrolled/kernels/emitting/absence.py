"""Which gradients of states a value of the backward pass depends on, and where that matters.

To autograd a gradient may be absent: nothing that was asked for depends on the state. What follows
from it is absent as well, and is never computed. A kernel has zeros there, and zero times an
infinite derivative is NaN. So it must leave out what depends on absent gradients only.
"""

import torch
from torch import fx

from unrolled.kernels.capturing import CapturedStep, reversed_cumsum

__all__ = ["gradient_flow", "guards"]

_ATEN = torch.ops.aten
# What is finite where its arguments are, whatever they are.
_FINITE = {
    *(_ATEN.full.default, _ATEN.tanh.default, _ATEN.sigmoid.default, _ATEN.relu.default),
    *(_ATEN.add.Tensor, _ATEN.sub.Tensor, _ATEN.rsub.Scalar, _ATEN.mul.Tensor),
    *(_ATEN.neg.default, _ATEN.abs.default, _ATEN.sign.default, _ATEN.where.self),
    *(_ATEN.sin.default, _ATEN.cos.default, _ATEN.erf.default, _ATEN.clamp.default),
    *(_ATEN.sum.dim_IntList, _ATEN.cumsum.default, reversed_cumsum, _ATEN.amax.default),
    *(_ATEN.minimum.default, _ATEN.maximum.default, _ATEN._to_copy.default),
    *(getattr(_ATEN, name).Scalar for name in ("lt", "le", "gt", "ge", "eq", "ne")),
    *(getattr(_ATEN, name).Tensor for name in ("lt", "le", "gt", "ge", "eq", "ne")),
}
# What is zero where the gradients are that it is computed from.
_KEEP_ZERO = {
    *(_ATEN.add.Tensor, _ATEN.sub.Tensor, _ATEN.neg.default, _ATEN.where.self),
    *(_ATEN.sum.dim_IntList, _ATEN.cumsum.default, reversed_cumsum),
}


def guards(step: CapturedStep) -> dict[fx.Node, int]:
    """Return which states, bit by bit, must have a gradient for a value to be computed.

    Only for values that might not be zero otherwise; for none if no derivative can be infinite.
    """
    nodes = (*step.forward, *step.backward)
    if all(node.target in _FINITE for node in nodes):
        return {}
    sources = _sources(step)
    return {
        node: sources[node]
        for node in step.backward
        if sources[node] and node.target not in _KEEP_ZERO
    }


def gradient_flow(step: CapturedStep) -> list[int]:
    """Return, for each state before a step, which ones after it, bit by bit, reach its gradient."""
    sources = _sources(step)
    flow = [0 if node is None else sources[node] for node in step.state_gradients_in]
    for column, node in zip(step.columns, step.column_gradients, strict=True):
        if column.recurrent and not column.applied and node is not None:
            flow[0] |= sources[node]
    return flow


def _sources(step: CapturedStep) -> dict[fx.Node, int]:
    """Return which gradients of states, bit by bit, each value of the backward pass is made of."""
    sources: dict[fx.Node, int] = dict.fromkeys((*step.saved, *step.applied_gradients), 0)
    for index, node in enumerate(step.state_gradients_out):
        sources[node] = 1 << index
    applied = {
        column.gate: node
        for column, node in zip(step.columns, step.column_gradients, strict=True)
        if column.applied
    }
    for _ in range(1 + max(step.phases.values(), default=0)):
        # the last products first, then what is made of their gradients, other products among it
        for node in step.backward:
            sources[node] = 0
            for argument in node.all_input_nodes:
                sources[node] |= sources.get(argument, 0)
        for gate, node in zip(step.products, step.applied_gradients, strict=True):
            gradient = applied[gate]
            sources[node] = 0 if gradient is None else sources[gradient]
    return sources
