"""A call of an RNNCell, LSTMCell or GRUCell of torch, by a kernel: a recurrence of one step."""

from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from unrolled.acceleration.gradients import cannot_keep
from unrolled.acceleration.prefer import prefers_torch_for_step
from unrolled.acceleration.smaller import KeptWeights, kept_weights, or_float32
from unrolled.cells import Cell, gru_reset_after, lstm, rnn_relu, rnn_tanh
from unrolled.kernels import (
    RaggedRows,
    ShortCalls,
    WeightFormat,
    Weights,
    choose_path,
    may_read,
    recurrence,
)

__all__ = ["cell_of_step", "read_step"]

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_CELLS = {torch.nn.LSTMCell: lstm, torch.nn.GRUCell: gru_reset_after}
_KEPT = 1024  # sizes of layers


def cell_of_step(layer: Any) -> Cell | None:
    """Return the equations of a cell of torch; None for a nonlinearity that it does not have."""
    for kind, cell in _CELLS.items():
        if isinstance(layer, kind):
            return cell
    return {"tanh": rnn_tanh, "relu": rnn_relu}.get(layer.nonlinearity)


def read_step(layer: Any, input: Any, hx: Any, weights: WeightFormat = "f32") -> Any:
    """Return what torch's forward of a cell returns, or None where it is to do it.

    Args:
        layer: A torch.nn.RNNCell, LSTMCell or GRUCell, whose weights are read as they are now.
        input: (B, I) or (I,).
        hx: Its state before the step, or None.
        weights: How its weights are stored in inference.
    """
    cell = None if torch.compiler.is_compiling() else cell_of_step(layer)
    if cell is None or not isinstance(input, Tensor) or input.dim() not in (1, 2):
        return None
    names = _NAMES if layer.bias else _NAMES[:2]
    own = layer._parameters
    tensors = {name: own[name] if name in own else getattr(layer, name) for name in names}
    read = (*tensors.values(), input, hx)
    kept = kept_weights(layer, cell, weights, 1, read)
    matrices = (tensors["weight_ih"], tensors["weight_hh"])
    call = (layer, cell, tensors, input, hx)
    if kept is not None:
        return or_float32(layer, kept, lambda weights: _read_with(weights, *call))
    if prefers_torch_for_step(cell, *matrices, input) or cannot_keep(read):
        return None
    return _read_with(None, *call)


def _read_with(
    kept: KeptWeights | None,
    layer: Any,
    cell: Cell,
    tensors: dict[str, Any],
    input: Tensor,
    hx: Any,
) -> Any:
    """Do what `read_step` does with the packed weights; None: with those of float32."""
    states = () if hx is None else (hx,) if len(cell.states) == 1 else hx
    if hx is not None and not (
        isinstance(states, tuple | list) and len(states) == len(cell.states)
    ):
        return None  # torch says what is wrong, also of one tensor with both
    if not all(isinstance(s, Tensor) and s.dim() == input.dim() for s in states):
        return None
    sizes = (cell, layer.input_size, layer.hidden_size, 1, 1, layer.bias)
    calls = (
        _short_calls(*sizes)
        if kept is None
        else kept.short_calls(sizes, tuple(tensors), single=True)
    )
    results = calls.run(input, hx, tensors, batch_first=False)
    if results is None:
        with nullcontext() if kept is None else kept.reading():
            return _long_step(layer, cell, list(tensors.values()), input, tuple(states))
    output, _, *ends = results
    return (output, *ends) if ends else output


@lru_cache(_KEPT)
def _short_calls(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int, directions: int, bias: bool
) -> ShortCalls:
    sizes = (cell, input_size, hidden_size, num_layers, directions, bias)
    return ShortCalls(*sizes, _NAMES if bias else _NAMES[:2], single=True)


def _long_step(
    layer: Any, cell: Cell, weights: list[Any], input: Tensor, states: tuple[Tensor, ...]
) -> Any:
    tensors = (input, *weights, *states)
    if not all(isinstance(t, Tensor) and t.dtype is torch.float32 for t in tensors):
        return None
    if not may_read(*tensors) or not input.numel() or choose_path(cell) != "kernel":
        return None
    rows, hidden_size = len(cell.gates) * layer.hidden_size, layer.hidden_size
    x = input if input.dim() == 2 else input.unsqueeze(0)
    before = [state if input.dim() == 2 else state.unsqueeze(0) for state in states]
    shapes = [(rows, layer.input_size), (rows, hidden_size), (rows,), (rows,)]
    shapes = [*shapes[: len(weights)], *[(len(x), hidden_size)] * len(before)]
    if x.shape[1] != layer.input_size or any(
        t.shape != shape for t, shape in zip((*weights, *before), shapes, strict=True)
    ):
        return None
    before = before or [x.new_zeros(len(x), hidden_size)] * len(cell.states)
    of_layer = Weights.of(cell, weights, biased=layer.bias)
    _, after = recurrence(cell, x, RaggedRows.even(1, len(x)), of_layer, tuple(before))
    if input.dim() == 1:
        after = tuple(state.squeeze(0) for state in after)
    return after[0] if len(after) == 1 else after
