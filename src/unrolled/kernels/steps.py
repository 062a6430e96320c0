"""A stack of layers in the middle of its sequences, ready for the next step.

For streaming, where a step is a few microseconds: all that does not change from step to step is
prepared once. Not for several steps at once, nor for gradients: that is `Kernel.run`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.kernels.fused import Kernel, mark_of
from unrolled.kernels.memory import FLOAT
from unrolled.kernels.native import Call
from unrolled.kernels.reference import Weights
from unrolled.kernels.rows import lay_out

__all__ = ["Steps"]


class Steps:
    """The layers of a stack, all of one cell, and where they are in `batch_size` sequences.

    Args:
        kernel: The cell's kernel.
        layers: The weights of each layer, float32 on CPU, each reading what the one before gives.
        batch_size: B.

    Attributes:
        states: The states of all layers, (L, B, H) each, updated by every step.
    """

    def __init__(self, kernel: Kernel, layers: Sequence[Weights], batch_size: int) -> None:
        num_units = layers[0].weight_ih.shape[0] // len(kernel.cell.gates)
        shape = (len(layers), batch_size, num_units)
        with torch.inference_mode(False), torch.no_grad():
            self.states = tuple(torch.zeros(shape, **FLOAT) for _ in kernel.cell.states)
            outputs = torch.empty(shape, **FLOAT)
        self._library = kernel.library
        self._input_shape = (batch_size, layers[0].weight_ih.shape[1])
        self._output_shape = shape[1:]
        self._weights = [tensor for weights in layers for tensor in weights.tensors()]
        self._marks = [mark_of(weight) for weight in self._weights]
        self._packed = False
        self._kept: list[object] = []
        self._calls = (Call * len(layers))()
        rows = lay_out((batch_size,), torch.get_num_threads())
        for index, weights in enumerate(layers):
            before = tuple(state[index] for state in self.states)
            x = torch.empty(batch_size, weights.weight_ih.shape[1], **FLOAT)  # for its shape
            call, kept = kernel.call(x, rows, weights, before, reverse=False)
            packed = torch.empty(self._library.packed_floats(call), **FLOAT)
            call.gate_stride = self._library.scratch_slots * num_units
            workspace = torch.empty(self._library.workspace_floats(call, backward=False), **FLOAT)
            call.packed, call.workspace = packed.data_ptr(), workspace.data_ptr()
            call.states[0] = outputs[index].data_ptr()
            for number, state in enumerate(before[1:], start=1):
                call.states[number] = state.data_ptr()
            self._calls[index] = call
            self._kept += [*kept, rows, outputs, packed, workspace]

    def serves(self, weights: Sequence[Tensor | None]) -> bool:
        """Whether these are the weights that it was made for, at the same place in memory."""
        return all(
            mine is given and mark[0] == mine.data_ptr()
            for mine, given, mark in zip(self._weights, weights, self._marks, strict=True)
        )

    def takes(self, x: Tensor) -> bool:
        """Whether `x` is an input of one step: (B, I), float32, on CPU."""
        return x.shape == self._input_shape and x.dtype is torch.float32 and x.is_cpu

    def step(self, x: Tensor) -> Tensor:
        """Read one step, (B, I), and return its output, (B, H)."""
        marks = [mark_of(weight) for weight in self._weights]
        known = self._packed and marks == self._marks
        x = x.contiguous()
        y = torch.empty(self._output_shape, **FLOAT)
        self._library.step(self._calls, x.data_ptr(), y.data_ptr(), known=known)
        self._marks, self._packed = marks, True
        return y
