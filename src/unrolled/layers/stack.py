"""A stack of recurrent layers over one batch, in one or two directions, whoever has the weights."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from unrolled.cells import Cell
from unrolled.kernels import Observer, PaddedRows, RaggedRows, Weights, recurrence, using_path

__all__ = ["run_stack"]


def run_stack(
    cell: Cell,
    x: Tensor,
    rows: RaggedRows | PaddedRows,
    weights: Sequence[Weights],
    states: tuple[Tensor, ...],
    directions: int,
    dropout: float,
    observer: Callable[[int, bool], Observer | None] = lambda _layer, _reverse: None,
    holding: Callable[[int, bool], tuple[Cell, Tensor] | None] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run all layers and directions over the rows of a batch.

    Args:
        cell: The equations.
        x: The input, (N, I) or, with `PaddedRows`, (T, B, I); with the inputs of each step behind
            it (`step_inputs.py`), which every layer reads.
        rows: How the rows of the batch lie in `x`.
        weights: Of each layer and direction, layer after layer.
        states: Before the first step, (L * directions, B, H) each, as `rows.sort` gives them.
        directions: 1 or 2.
        dropout: The probability with which an output is dropped between layers, now.
        observer: Who looks at a layer in a direction, if anybody.
        holding: What runs in a layer and direction in place of `cell`, with what that reads of each
            step beside the rest, (N, F); returns None, or is None, where nothing else does.

    Returns:
        The output (N, H * directions), in the order of `x`, and the states at the end of each row.
    """
    num_layers = len(weights) // directions
    ends = []
    beside = x[..., weights[0].weight_ih.shape[1] :] if cell.inputs else None
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            index, reverse = layer * directions + direction, direction == 1
            held = None if holding is None else holding(layer, reverse)
            own, read = (cell, x) if held is None else (held[0], torch.cat([x, held[1]], dim=-1))
            with nullcontext() if held is None else using_path("reference"):
                output, end = recurrence(
                    own,
                    read,
                    rows,
                    weights[index],
                    tuple(state[index] for state in states),
                    reverse=reverse,
                    observer=observer(layer, reverse),
                )
            outputs.append(output)
            ends.append(end)
        x = torch.cat(outputs, dim=-1) if directions == 2 else outputs[0]
        if layer == num_layers - 1:
            break
        if dropout:
            x = nn.functional.dropout(x, dropout)
        if beside is not None:
            x = torch.cat([x, beside], dim=-1)
    if len(ends) == 1:  # a view is all that one layer needs
        return x, tuple(part.unsqueeze(0) for part in ends[0])
    return x, tuple(torch.stack(parts) for parts in zip(*ends, strict=True))
