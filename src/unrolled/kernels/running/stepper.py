"""A stack of layers in the middle of its sequences, ready for the next steps.

For streaming, where a step is a few microseconds: all that does not change from step to step is
prepared once. Not for gradients: that is `recurrence`.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.kernels.emitting import Call
from unrolled.kernels.memory import is_plain, readable
from unrolled.kernels.running.arena import FLOAT, buffer
from unrolled.kernels.running.calls import check_numbers, make_call
from unrolled.kernels.running.crossing import Crossing
from unrolled.kernels.running.kernel import Kernel
from unrolled.kernels.running.partition import partition_of
from unrolled.kernels.running.paths import choose_path, kernel_of, may_use_kernels
from unrolled.kernels.running.problem import Problem
from unrolled.kernels.running.short_calls import crossing_of
from unrolled.kernels.running.weight_cache import mark_of
from unrolled.kernels.weights import Weights

__all__ = ["Places", "Stepper", "stepper_of"]

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64
_LOOKS = 32  # as in crossing.c


class Places(NamedTuple):
    """Where streams that come and go are.

    states: of all layers, (L, capacity, H) each; numbers: (capacity,) int64, the stream that each
    row is of, or -1. Stream n is in row n % capacity or nowhere.
    """

    states: tuple[Tensor, ...]
    numbers: Tensor


def stepper_of(
    cell: Cell,
    layers: Sequence[Weights],
    names: Sequence[str],
    batch_size: int,
    places: Places | None = None,
) -> "Stepper | None":
    """Return a stack of layers of `cell`, ready to stream by its kernel; None if it has none."""
    tensors = [tensor for weights in layers for tensor in weights.tensors()]
    # contiguous, for a copy would not see changes; of inference mode torch counts none
    usable = all(is_plain(w) and w.is_contiguous() and not w.is_inference() for w in tensors)
    typed = all(w.dtype is torch.float32 for w in tensors)
    if any(weights.weight_hr is not None for weights in layers) or not (usable and typed):
        return None
    kernel = kernel_of(cell) if choose_path(cell) == "kernel" else None
    return Stepper(kernel, layers, names, batch_size, places) if kernel else None


class Stepper:
    """The layers of a stack, all of one cell, and where they are in `batch_size` sequences.

    Args:
        kernel: The cell's kernel.
        layers: The weights of each layer, float32 on CPU, each reading what the one before gives.
        names: What the layer calls them, in order.
        batch_size: B.
        places: Where the states are, of which `advance` reads some; None: memory of its own for B
            rows.

    Attributes:
        states: The states of all layers, (L, B, H) each, updated by every step.
    """

    def __init__(
        self,
        kernel: Kernel,
        layers: Sequence[Weights],
        names: Sequence[str],
        batch_size: int,
        places: Places | None = None,
    ) -> None:
        num_units = layers[0].weight_ih.shape[0] // len(kernel.cell.feedforward)
        shape = (len(layers), batch_size, num_units)
        with torch.inference_mode(False), torch.no_grad():
            own = places is None
            zeros = [torch.zeros(shape, **FLOAT) for _ in kernel.cell.states if own]
            outputs = torch.empty(shape, **FLOAT)
        self.states = tuple(zeros) if places is None else places.states
        self._where = f"cell {kernel.cell.name}"
        self._library, self._surroundings = kernel.library, kernel.surroundings
        self._beside = len(kernel.cell.inputs) * num_units  # floats in a row of x after x_t
        self._input_shape = (batch_size, layers[0].weight_ih.shape[1] + self._beside)
        self._output_shape = shape[1:]
        self._weights = [tensor for weights in layers for tensor in weights.tensors()]
        self._marks = [mark_of(weight) for weight in self._weights]
        self._is_packed = False  # as the marks say
        self._alive: list[object] = []  # what the calls point to
        self._calls = (Call * len(layers))()
        for index, weights in enumerate(layers):
            before = tuple(state[index, :batch_size] for state in self.states)
            self._calls[index] = self._call(kernel, weights, before, outputs[index])
            if index:  # it reads what the layer before gives; the inputs lie behind the first one's
                self._calls[index].x_stride = self._calls[index].input_size
        self._short = _ShortSteps.of(kernel, self._calls, self._weights, names, shape, places)

    def _call(
        self, kernel: Kernel, weights: Weights, states: tuple[Tensor, ...], output: Tensor
    ) -> Call:
        """Return the call of one layer's step, from and to `states`, its output to `output`."""
        batch_size, num_units = output.shape
        partition = partition_of((batch_size,), torch.get_num_threads())
        width = weights.weight_ih.shape[1] + self._beside
        x = torch.empty(batch_size, width, **FLOAT)  # for its shape
        problem = Problem(kernel.cell, x, (batch_size,), weights, states, reverse=False)
        check_numbers(problem, partition)
        call, alive = make_call(problem, partition)
        call.kept = True
        packed = buffer(self._library.packed_floats(call))
        call.gate_stride = self._library.scratch_slots * num_units + self._library.numbers
        workspace = torch.empty(self._library.workspace_floats(call, backward=False), **FLOAT)
        call.packed, call.workspace = packed.data_ptr(), workspace.data_ptr()
        call.states[0] = output.data_ptr()
        for number, state in enumerate(states[1:], start=1):
            call.states[number] = state.data_ptr()
        self._alive += [*alive, partition, output, packed, workspace]
        return call

    @property
    def entry(self) -> tuple[int, Any]:
        """For who steps from C: where the kernel's step is, and the calls of the layers."""
        return self._library.address("step"), self._calls

    @property
    def input_shape(self) -> tuple[int, int]:
        """Of a step: (B, I), or with inputs of a step (B, I + E * H)."""
        return self._input_shape

    @property
    def weights(self) -> list[Tensor]:
        """All that it reads, of all layers."""
        return self._weights

    def is_unchanged(self) -> bool:
        """Whether what the equations read from outside is as it was."""
        return self._surroundings.unchanged()

    def serves(self, weights: Sequence[Tensor | None]) -> bool:
        """Whether it computes with these weights, as they lay in memory, and the cell as it is now.

        Asked before each step, which packs them again if they have changed since the last.
        """
        if any(mine is not weight for mine, weight in zip(self._weights, weights, strict=True)):
            return False
        if not self._surroundings.unchanged():
            return False
        marks = [mark_of(weight) for weight in self._weights]
        if marks == self._marks:
            return True
        pairs = zip(self._marks, marks, strict=True)
        if any(old[0] != new[0] or old[2:] != new[2:] for old, new in pairs):
            return False
        self._marks, self._is_packed = marks, False
        return True

    def short_step(self, x: Any, out: Any, parameters: dict[str, Any]) -> Any:
        """Do what `step` does in one crossing, or return None where that is not to be had.

        Args:
            x: (B, I), a tensor or an array, of any layout.
            out: Where the output goes, (B, H), as `x`; None: to a new tensor.
            parameters: Of the layer, by name.
        """
        short = self._short
        if short is None or not may_use_kernels() or not self._surroundings.unchanged():
            return None
        return short.step(short.address, x, out, parameters)

    def advance(
        self,
        x: Any,
        out: Any,
        parameters: dict[str, Any],
        rows: Any = None,
        batch_first: bool | None = None,
    ) -> Any:
        """Read any number of steps in one crossing, or return None where that is not to be had.

        Args:
            x: (T, B, I), a tensor or an array, of any layout.
            out: Where the outputs go, (T, B, H), as `x`; None: to a new tensor.
            parameters: Of the layer, by name.
            rows: The numbers of streams, (B,) int64, a tensor or an array; None: all rows.
            batch_first: Whether `x` and `out` are (B, T, ...) instead; None: one step, (B, ...).
        """
        short = self._short
        if short is None or not may_use_kernels() or not self._surroundings.unchanged():
            return None
        return short.advance(short.address, x, out, parameters, rows, batch_first)

    def bind(
        self, x: Any, y: Any, out: Any, parameters: dict[str, Any]
    ) -> tuple[Callable[[int], Any], int, Callable[[], bool], object] | None:
        """Return what does a step with these arrays in one crossing, for `Stream`; None: nothing.

        Args:
            x: (B, I), an array of float32 whose numbers follow one another.
            y: (B, H), the same for the output.
            out: The tensor that `y` is the memory of, or anything else.
            parameters: Of the layer, by name.

        Returns:
            A function; what it is given at each step, after which it returns None where it did
            nothing; what is asked before; and what is to be kept as long as it is called.
        """
        if self._short is None:
            return None
        step, bound = self._short.bind(x, y, out, parameters)
        alive = (self, bound, x, y, out, parameters)
        return step, ctypes.addressof(bound), self._surroundings.unchanged, alive

    def takes(self, x: Tensor) -> bool:
        """Whether `x` is an input of one step: `input_shape`, float32, on CPU."""
        return x.shape == self._input_shape and x.dtype is torch.float32 and x.is_cpu

    def step(self, x: Tensor) -> Tensor:
        """Read one step, (B, I), and return its output, (B, H).

        Raises:
            UnscaledError: The weights are of int8, and some have no scale; then nothing was read.
        """
        x = readable(self._where, "x", x, self._input_shape)
        y = torch.empty(self._output_shape, **FLOAT)
        self._library.step(self._calls, x.data_ptr(), y.data_ptr(), known=self._is_packed)
        self._is_packed = True
        return y


class _Description(ctypes.Structure):
    """`Steps` of crossing.c."""

    _fields_ = [
        *((name, _pointer) for name in ("step", "calls")),
        *((name, _integer) for name in ("num_layers", "batch_size", "input_size", "hidden_size")),
        *((name, _integer) for name in ("work", "packed", "num_weights")),
        *((name, _pointer) for name in ("names", "weights", "addresses", "rows", "columns")),
        *((name, _pointer) for name in ("versions", "x", "y", "like")),
        ("num_states", _integer),
        *((name, _pointer) for name in ("pack", "forward", "workspace_floats")),
        ("capacity", _integer),
        *((name, _pointer) for name in ("numbers", "turns")),
        ("turn", _integer),
        *((name, _pointer) for name in ("slots", "sums")),
        *((name, _integer) for name in ("looked", "floats")),
    ]


class _BoundStep(ctypes.Structure):
    """`Bound` of crossing.c."""

    _fields_ = [(name, _pointer) for name in ("steps", "x", "y", "out", "parameters")]


class _ShortSteps:
    """What crossing.c and streams.c are given for a stack of layers."""

    def __init__(
        self,
        kernel: Kernel,
        crossing: Crossing,
        calls: Any,
        weights: Sequence[Tensor],
        names: Sequence[str],
        shape: tuple[int, int, int],
        places: Places | None,
    ) -> None:
        _, batch_size, hidden_size = shape
        input_size, number = calls[0].x_stride, len(weights)
        pointers, integers = _pointer * number, _integer * number
        x = torch.empty(batch_size, input_size, **FLOAT)
        y = torch.empty(batch_size, hidden_size, **FLOAT)
        arrays = (
            pointers(*map(id, names)),
            pointers(*map(id, weights)),
            integers(*(weight.data_ptr() for weight in weights)),
            integers(*(weight.shape[0] for weight in weights)),
            integers(*(weight.shape[1] if weight.dim() == 2 else 0 for weight in weights)),
            integers(*(weight._version for weight in weights)),
        )
        capacity = 0 if places is None else len(places.numbers)
        turns, slots = (torch.zeros(capacity, dtype=torch.int64, device="cpu") for _ in range(2))
        sums = (_integer * _LOOKS)()
        self._alive = (calls, weights, names, arrays, x, y, places, turns, slots, sums)
        address = kernel.library.address
        self._description = _Description(
            address("step"),
            ctypes.addressof(calls),
            *shape[:2],
            input_size,
            hidden_size,
            batch_size * sum(weight.numel() for weight in weights),
            0,
            number,
            *(ctypes.addressof(array) for array in arrays),
            x.data_ptr(),
            y.data_ptr(),
            id(y),
            len(kernel.cell.states),
            *map(address, ("pack", "forward", "workspace_floats")),
            capacity,
            None if places is None else places.numbers.data_ptr(),
            turns.data_ptr(),
            0,
            slots.data_ptr(),
            ctypes.addressof(sums),
            0,
            sum(weight.numel() for weight in weights),
        )
        self.step, self.advance, self._step_bound = (
            crossing.step,
            crossing.advance,
            crossing.step_bound,
        )
        self.address = ctypes.addressof(self._description)

    def bind(self, x: Any, y: Any, out: Any, parameters: dict[str, Any]) -> tuple[Any, Any]:
        """Return the step with these arrays, and what it is given the address of."""
        arrays = (x.ctypes.data, y.ctypes.data)
        return self._step_bound, _BoundStep(self.address, *arrays, id(out), id(parameters))

    @classmethod
    def of(cls, kernel: Kernel, *arguments: Any) -> "_ShortSteps | None":
        """Return it, or None without a crossing."""
        crossing = crossing_of(kernel)
        return None if crossing is None else cls(kernel, crossing, *arguments)
