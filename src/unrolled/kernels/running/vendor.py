"""The cells that torch itself implements: oneDNN's LSTM on CPU, cuDNN's kernels on CUDA.

On CPU only batches whose rows are all of one length; ragged ones go to the reference there, while
cuDNN reads them as a PackedSequence.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import _VF, Tensor

from unrolled.cells import Cell, gru_reset_after, lstm, rnn_relu, rnn_tanh
from unrolled.kernels.rows import steps_and_rows
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
    """Do what `reference_recurrence` does, for a cell of `TORCH_CELLS`."""
    if batch_sizes[-1] != len(states[0]):
        return _ragged(cell, x, batch_sizes, weights, states, reverse)
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


def _ragged(
    cell: Cell,
    x: Tensor,
    batch_sizes: Sequence[int],
    weights: Weights,
    states: tuple[Tensor, ...],
    reverse: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Do it for rows of different lengths, as torch reads a PackedSequence.

    Torch reads rows backwards only beside forwards, so here they are turned around instead.
    """
    turned = _turned(batch_sizes).to(x.device) if reverse else None
    num_rows = batch_sizes[0]  # the others have length zero
    before = tuple(state[:num_rows].unsqueeze(0) for state in states)
    output, *after = TORCH_CELLS[cell](
        x if turned is None else x.index_select(0, turned),
        torch.tensor(batch_sizes),  # on the CPU, where cuDNN wants it
        before if len(before) > 1 else before[0],
        [w for w in weights[:5] if w is not None],
        weights.bias_ih is not None,
        1,  # layers
        0.0,  # dropout
        torch.is_grad_enabled(),
        False,  # bidirectional
    )
    output = output if turned is None else output.index_select(0, turned)
    pairs = zip(after, states, strict=True)
    return output, tuple(torch.cat([end.squeeze(0), state[num_rows:]]) for end, state in pairs)


def _turned(batch_sizes: Sequence[int]) -> Tensor:
    """Return for each step of each row, as they lie in x, the place of the one it changes with."""
    sizes = torch.tensor(batch_sizes)
    step, row = steps_and_rows(sizes)
    lengths = (sizes > torch.arange(batch_sizes[0])[:, None]).sum(1)
    starts = sizes.cumsum(0) - sizes
    return starts[lengths[row] - 1 - step] + row
