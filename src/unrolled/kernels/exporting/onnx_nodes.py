"""ONNX's own LSTM, GRU and RNN: which cells they fit, and what of ours they are given.

Not here: how a node gets into a graph, which each exporter of torch does in its own way.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch

from unrolled.cells import (
    Cell,
    gru_reset_after,
    gru_reset_before,
    lstm,
    rnn_relu,
    rnn_tanh,
)

__all__ = ["OnnxNode", "onnx_node"]

_T = TypeVar("_T")


class OnnxNode(NamedTuple):
    """An operator of ONNX that computes a cell.

    name: As ONNX calls it. order: Which of the cell's gates comes where in its weights. attributes:
    What it is told besides sizes and direction.
    """

    name: str
    order: tuple[int, ...]
    attributes: dict[str, Any]

    def ordered(self, blocks: Sequence[_T], join: Callable[[list[_T]], _T]) -> _T:
        """Return one weight with its gates in ONNX's order.

        Args:
            blocks: The weight's rows, a block for each gate.
            join: Puts blocks one after the other.
        """
        return blocks[0] if len(blocks) == 1 else join([blocks[index] for index in self.order])


_NODES: dict[Cell, OnnxNode] = {
    lstm: OnnxNode("LSTM", (0, 3, 1, 2), {}),
    gru_reset_after: OnnxNode("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    gru_reset_before: OnnxNode("GRU", (1, 0, 2), {"linear_before_reset": 0}),
    rnn_tanh: OnnxNode("RNN", (0,), {"activations": ["Tanh"]}),
    rnn_relu: OnnxNode("RNN", (0,), {"activations": ["Relu"]}),
}


def onnx_node(
    cell: Cell, dtype: torch.dtype | None, *, projected: bool, has_heads: bool
) -> OnnxNode | None:
    """Return the operator that computes `cell`, None where there is none that runtimes have.

    In other types than float32 they have them for none or some, and none projects or has heads.
    """
    if projected or has_heads or dtype is not torch.float32:
        return None
    return _NODES.get(cell)
