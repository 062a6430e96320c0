"""A call of an RNN, LSTM or GRU of torch, by a kernel.

Torch's forward says what is wrong with a call. So a call that is not as a kernel wants it is not
taken: `None` is returned.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.acceleration.gradients import cannot_keep
from unrolled.acceleration.prefer import prefers_torch_for_sequences
from unrolled.acceleration.smaller import KeptWeights, kept_weights, or_float32
from unrolled.cells import Cell, gru_reset_after, lstm, rnn_relu, rnn_tanh
from unrolled.kernels import (
    RaggedRows,
    ShortCalls,
    WeightFormat,
    Weights,
    choose_path,
    may_read,
)
from unrolled.layers import run_stack

__all__ = ["CELL_OF_MODE", "read_sequences"]

CELL_OF_MODE = {
    "RNN_TANH": rnn_tanh,
    "RNN_RELU": rnn_relu,
    "LSTM": lstm,
    "GRU": gru_reset_after,
}
"""The cells by torch's names for its modes."""

_KEPT = 1024  # sizes of layers


def read_sequences(layer: Any, input: Any, hx: Any, weights: WeightFormat = "f32") -> Any:
    """Return what torch's forward of a layer returns, or None where it is to do it.

    Args:
        layer: A torch.nn.RNN, LSTM or GRU, whose weights are read as they are now.
        input: Its input.
        hx: Its state before the first step, or None.
        weights: How its weights are stored in inference.
    """
    if torch.compiler.is_compiling():
        return None
    cell = CELL_OF_MODE[layer.mode]
    directions = 1 + layer.bidirectional
    tensors = _weights_of(layer)
    read = (*layer._flat_weights, input, hx)  # a packed input is a tuple
    kept = kept_weights(layer, cell, weights, layer.num_layers * directions, read)
    call = (layer, cell, tensors, input, hx)
    if kept is not None:
        return or_float32(layer, kept, lambda weights: _read_with(weights, *call))
    if prefers_torch_for_sequences(cell, layer, input) or cannot_keep(read):
        return None
    return _read_with(None, *call)


def _read_with(
    kept: KeptWeights | None, layer: Any, cell: Cell, tensors: dict[str, Any], input: Any, hx: Any
) -> Any:
    """Do what `read_sequences` does with the packed weights; None: with those of float32."""
    directions = 1 + layer.bidirectional
    dropout = layer.dropout if layer.training and layer.num_layers > 1 else 0.0
    if not dropout:
        widths = (layer.input_size, layer.hidden_size)
        sizes = (cell, *widths, layer.num_layers, directions, layer.bias)
        calls = _short_calls(*sizes) if kept is None else kept.short_calls(sizes, _names(*sizes))
        even = _EvenRows.of(layer, input, hx)
        if even is not None:
            results = calls.run(even.x, even.hx, tensors, batch_first=False)
        else:
            results = calls.run(input, hx, tensors, batch_first=layer.batch_first)
        if results is not None:
            output, *ends = results
            if even is None:
                return output, _as_torch(ends)
            return even.packed(output), _as_torch([even.unsort(end) for end in ends])
    with nullcontext() if kept is None else kept.reading():
        return _long_call(layer, cell, tensors, dropout, input, hx)


def _weights_of(layer: Any) -> dict[str, Any]:
    """Return the weights by name: those that torch's forward would read."""
    names, flat, own = layer._flat_weights_names, layer._flat_weights, layer._parameters
    if all(map(is_, map(own.get, names), flat)):
        return own  # type: ignore[no-any-return]  # of torch
    layer._update_flat_weights()  # some are computed, or another tensor for this call
    return dict(zip(names, layer._flat_weights, strict=False))


@lru_cache(_KEPT)
def _shapes(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int, directions: int, bias: bool
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights by name, layer after layer, direction after direction."""
    rows = len(cell.gates) * hidden_size
    shapes: dict[str, tuple[int, ...]] = {}
    for index in range(num_layers * directions):
        suffix = f"l{index // directions}{'_reverse' * (index % directions)}"
        width = input_size if index < directions else hidden_size * directions
        shapes[f"weight_ih_{suffix}"] = (rows, width)
        shapes[f"weight_hh_{suffix}"] = (rows, hidden_size)
        if bias:
            shapes[f"bias_ih_{suffix}"] = shapes[f"bias_hh_{suffix}"] = (rows,)
    return shapes


@lru_cache(_KEPT)
def _names(*sizes: Any) -> tuple[str, ...]:
    return tuple(_shapes(*sizes))


@lru_cache(_KEPT)
def _short_calls(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int, directions: int, bias: bool
) -> ShortCalls:
    sizes = (cell, input_size, hidden_size, num_layers, directions, bias)
    return ShortCalls(*sizes, _names(*sizes))


@dataclass(frozen=True)
class _EvenRows:
    """A packed sequence of rows of one length: a batch as any other, with its rows in an order.

    Libraries pack whatever comes, and short calls are for batches.

    Args:
        x: (T, B, I).
        hx: The states before the first step in the order of `x`, or None.
        input: The packed sequence.
    """

    x: Tensor
    hx: Any
    input: PackedSequence

    @classmethod
    def of(cls, layer: Any, input: Any, hx: Any) -> "_EvenRows | None":
        """Return what `input` is, None where it is not packed or rows end at different steps."""
        if not (isinstance(input, PackedSequence) and isinstance(input.data, Tensor)):
            return None
        rows = _rows_of(layer, input) if may_read(input.data) else None
        if rows is None or rows.batch_sizes[-1] != rows.batch_size:
            return None
        x = input.data.reshape(rows.num_steps, rows.batch_size, -1)
        if hx is None or rows.order is None:
            return cls(x, hx, input)
        several = isinstance(hx, (tuple, list))
        states = tuple(hx) if several else (hx,)
        for state in states:
            if not isinstance(state, Tensor) or state.shape[1:-1] != (rows.batch_size,):
                return None  # torch says what is wrong
        if not may_read(rows.order, *states):
            return None
        states = tuple(rows.sort(state) for state in states)
        return cls(x, states if several else states[0], input)

    def packed(self, output: Tensor) -> PackedSequence:
        """Return the output (T, B, F) as the input came."""
        return PackedSequence(output.flatten(0, 1), *self.input[1:])

    def unsort(self, state: Tensor) -> Tensor:
        """Return a state at the end in the order that rows had before they were packed."""
        back = self.input.unsorted_indices
        return state if back is None else state.index_select(1, back)


def _as_torch(states: Sequence[Tensor]) -> Any:
    """Return the states as torch's layers do: one tensor, or a plain tuple."""
    return states[0] if len(states) == 1 else tuple(states)


# ---- Long calls, packed ones, and dropout --------------------------------------------------------


def _long_call(
    layer: Any, cell: Cell, weights: dict[str, Any], dropout: float, input: Any, hx: Any
) -> Any:
    directions = 1 + layer.bidirectional
    shapes = _shapes(
        cell, layer.input_size, layer.hidden_size, layer.num_layers, directions, layer.bias
    )
    packed = isinstance(input, PackedSequence)
    x = input.data if packed else input
    flat: list[Any] = [weights.get(name) for name in shapes]
    states = () if hx is None else (hx,) if len(cell.states) == 1 else hx
    if hx is not None and (
        not isinstance(states, (tuple, list)) or len(states) != len(cell.states)
    ):
        return None
    tensors = (x, *flat, *states)
    if not all(isinstance(t, Tensor) and t.dtype is torch.float32 for t in tensors):
        return None
    if not may_read(*tensors) or not x.numel() or choose_path(cell) != "kernel":
        return None
    if any(w.shape != shape for w, shape in zip(flat, shapes.values(), strict=True)):
        return None
    batched = packed or x.dim() == 3
    rows = _rows_of(layer, input)
    if rows is None:
        return None
    stacked = layer.num_layers * directions
    shape = (stacked, *(rows.batch_size,) * batched, layer.hidden_size)
    if any(state.shape != shape for state in states):
        return None
    if hx is None:
        zeros = x.new_zeros(shape)
        states = (zeros,) * len(cell.states)
    if not batched:
        x, states = x.unsqueeze(1), [state.unsqueeze(1) for state in states]
    elif layer.batch_first and not packed:
        x = x.transpose(0, 1)
    output, ends = run_stack(
        cell,
        x if packed else rows.drop_padding(x),
        rows,
        [Weights.of(cell, part, biased=layer.bias) for part in _parts(flat, stacked)],
        tuple(rows.sort(state) for state in states),
        directions,
        dropout,
    )
    ends = tuple(rows.unsort(end) for end in ends)
    if packed:
        return PackedSequence(output, *input[1:]), _as_torch(ends)
    output = rows.restore_padding(output)
    if not batched:
        return output.squeeze(1), _as_torch([end.squeeze(1) for end in ends])
    return output.transpose(0, 1) if layer.batch_first else output, _as_torch(ends)


def _rows_of(layer: nn.RNNBase, input: Any) -> RaggedRows | None:
    """Return how the rows of an input lie, None where it is not one that a layer can read."""
    if not isinstance(input, PackedSequence):
        if input.dim() not in (2, 3) or input.shape[-1] != layer.input_size:
            return None
        num_steps, batch_size = input.shape[0], 1
        if input.dim() == 3:
            num_steps, batch_size = input.shape[:2]
            if layer.batch_first:
                num_steps, batch_size = batch_size, num_steps
        return RaggedRows.even(num_steps, batch_size)
    x, batch_sizes, order, unorder = input
    sizes = tuple(batch_sizes.tolist())
    if x.dim() != 2 or x.shape[1] != layer.input_size or sum(sizes) != len(x):
        return None
    if sizes[-1] < 1 or sizes != tuple(sorted(sizes, reverse=True)):
        return None
    for indices in (order, unorder):
        if indices is not None and indices.shape != (sizes[0],):
            return None
    return RaggedRows(sizes, len(sizes), sizes[0], order)


def _parts(flat: Sequence[Any], count: int) -> list[Sequence[Any]]:
    each = len(flat) // count
    return [flat[n * each : (n + 1) * each] for n in range(count)]
