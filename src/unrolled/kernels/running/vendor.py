"""The cells that torch itself implements: oneDNN's LSTM on CPU, cuDNN's kernels on CUDA.

Only for batches whose rows are all of one length; ragged ones go to the reference.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import _VF, Tensor

from unrolled.cells import Cell, gru_reset_after, lstm, rnn_relu, rnn_tanh
from unrolled.kernels.weights import Weights

__all__ = ["TORCH_CELLS", "torch_recurrence"]

TORCH_CELLS: dict[Cell, Callable[..., Any]] = {
    rnn_tanh: _VF.rnn_tanh,
    rnn_relu: _VF.rnn_relu,
    gru_reset_after: _VF.gru,
    lstm: _VF.lstm,
}
"""The cells that torch implements, and its function for each."""


def torch_recurrence(
    cell: Cell,
    x: Tensor,
    batch_sizes: Sequence[int],
    weights: Weights,
    states: tuple[Tensor, ...],
    *,
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Do what `reference_recurrence` does, for a cell of `TORCH_CELLS` and equal `batch_sizes`."""
    x = x.view(len(batch_sizes), batch_sizes[0], x.shape[-1])
    before = tuple(state.unsqueeze(0) for state in states)
    flat = [w for w in weights[:5] if w is not None]
    output, *after = TORCH_CELLS[cell](
        x.flip(0) if reverse else x,
        before if len(before) > 1 else before[0],
        flat,
        weights.bias_ih is not None,
        1,  # layers
        0.0,  # dropout
        torch.is_grad_enabled(),  # training, which cuDNN must know to keep what backward needs
        False,  # bidirectional
        False,  # batch first
    )
    output = output.flip(0) if reverse else output
    return output.flatten(0, 1), tuple(state.squeeze(0) for state in after)
