"""Where torch's own code is faster than a kernel: the one place that knows.

What was measured, and how to measure again: docs/decisions/accelerate.md. A kernel is taken where
neither is.
"""

from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell, lstm, rnn_relu, rnn_tanh

__all__ = ["prefers_torch_for_sequences", "prefers_torch_for_step"]

_ROWS, _STEPS, _UNITS = (7, 8), 100, 192
_WEIGHTS = (1 << 19, 1 << 21)  # floats: more than a core's second cache is quick with
_WEIGHTS_OF_RNN = (1 << 17, 1 << 22)
_FEW_PRODUCTS = 1 << 18


def prefers_torch_for_sequences(cell: Cell, layer: Any, input: Any) -> bool:
    """Whether oneDNN's LSTM is faster for this input: seven or eight rows of many steps."""
    if cell is not lstm or layer.hidden_size < _UNITS or not isinstance(input, Tensor):
        return False
    if input.dim() != 3 or input.shape[not layer.batch_first] not in _ROWS:
        return False
    if input.shape[layer.batch_first] < _STEPS or torch.get_num_threads() > 1:
        return False
    return not (torch.is_grad_enabled() and _is_learning(layer._flat_weights[0], input))


def prefers_torch_for_step(cell: Cell, weight: object, weight_hh: object, input: Tensor) -> bool:
    """Whether torch's cells are faster for this input: mostly where there is one row.

    Args:
        cell: The equations.
        weight: The input weights, whatever they are.
        weight_hh: The recurrent weights.
        input: (B, I) or (I,).
    """
    if not (isinstance(weight, Tensor) and isinstance(weight_hh, Tensor)):
        return True  # it says what is wrong
    rows = input.shape[0] if input.dim() == 2 else 1
    num_weights = weight.numel() + weight_hh.numel()
    is_plain = cell is rnn_tanh or cell is rnn_relu
    if torch.is_grad_enabled() and _is_learning(weight, input):
        return is_plain and (rows == 1 or rows * num_weights < _FEW_PRODUCTS)
    low, high = _WEIGHTS_OF_RNN if is_plain else _WEIGHTS
    return rows == 1 and low <= num_weights < high


def _is_learning(weight: Any, input: Tensor) -> bool:
    return bool(weight.requires_grad or input.requires_grad)
