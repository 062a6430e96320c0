"""One step of a stack of residual blocks in a few microseconds: what streams are made of."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.kernels.convolving.choice import MOST_TAPS, network_kernel
from unrolled.kernels.convolving.library import (
    SAMPLES,
    BlockCall,
    NetworkCall,
    NetworkLibrary,
    SamplesCall,
)
from unrolled.kernels.convolving.problem import BlockShape, BlockWeights
from unrolled.kernels.convolving.watch import ANOTHER, CHANGED, SAME, Watch
from unrolled.kernels.memory import is_plain, readable
from unrolled.kernels.running.arena import FLOAT
from unrolled.kernels.running.paths import may_step, may_use_kernels

__all__ = ["NetworkStepper", "network_stepper"]

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64
_SHORT_WORK = 1 << 18  # multiply-adds, for which other threads of Python may wait
_Weights = Callable[[], Sequence[BlockWeights]]


def network_stepper(
    shapes: Sequence[BlockShape],
    weights: _Weights,
    parameters: Sequence[Tensor],
    dicts: Sequence[Mapping[Any, Any]],
    batch_size: int,
) -> "NetworkStepper | None":
    """Return a stack of blocks, ready to stream by the kernel; None where there is none for it.

    Args:
        shapes: Of the blocks.
        weights: Returns the weights of all blocks.
        parameters: What these are made of.
        dicts: Those that it serves as long as they hold the same objects.
        batch_size: B.
    """
    # contiguous, for a sample is of memory; of inference mode torch counts no changes
    usable = all(is_plain(w) and w.is_contiguous() and not w.is_inference() for w in parameters)
    typed = all(weight.dtype is torch.float32 and weight.numel() for weight in parameters)
    if not (usable and typed and may_use_kernels() and Watch.is_possible()):
        return None
    library = network_kernel() if shapes[0].kernel_size <= MOST_TAPS else None
    if library is None:
        return None
    return NetworkStepper(library, shapes, weights, parameters, dicts, batch_size)


class NetworkStepper:
    """A stack of blocks in the middle of `batch_size` sequences. Arguments: `network_stepper`."""

    def __init__(
        self,
        library: NetworkLibrary,
        shapes: Sequence[BlockShape],
        weights: _Weights,
        parameters: Sequence[Tensor],
        dicts: Sequence[Mapping[Any, Any]],
        batch_size: int,
    ) -> None:
        self._library, self._shapes, self._weights = library, shapes, weights
        self._watch = Watch(library, dicts, parameters)
        self._input_shape = (batch_size, shapes[0].input_size)
        self._output_shape = (batch_size, shapes[0].hidden_size)
        number, hidden_size = len(shapes), shapes[0].hidden_size
        self._call = NetworkCall(number, 1, batch_size, hidden_size, shapes[0].kernel_size)
        self._blocks = (BlockCall * number)()
        self._call.num_threads, self._call.blocks = torch.get_num_threads(), self._blocks
        self._count = 0  # of steps since the rings were in order
        self._is_packed = False
        with torch.inference_mode(False), torch.no_grad():
            self._rings = tuple(
                torch.zeros(shape.span, batch_size, size, **FLOAT)
                for shape in shapes
                for size in (shape.input_size, hidden_size)
            )
            self._known = torch.zeros(len(parameters), SAMPLES, **FLOAT)
        for index, ring in enumerate(self._rings):
            self._blocks[index // 2].past[index % 2] = ring.data_ptr() or None
        for shape, block in zip(shapes, self._blocks, strict=True):
            block.input_size, block.dilation = shape.input_size, shape.dilation
        pointers = (_pointer * len(parameters))(*(weight.data_ptr() for weight in parameters))
        sizes = (_integer * len(parameters))(*(weight.numel() for weight in parameters))
        arrays = (ctypes.addressof(pointers), ctypes.addressof(sizes), self._known.data_ptr())
        self._samples = SamplesCall(len(parameters), *arrays)
        self._alive = (pointers, sizes)
        samples, call = ctypes.addressof(self._samples), ctypes.addressof(self._call)
        self._stream = (_pointer * 5)(*self._watch.addresses, samples, library.pool, call)
        self._address = ctypes.addressof(self._stream)
        self._num_inputs = batch_size * shapes[0].input_size
        self._is_short = batch_size * sum(w.numel() for w in parameters) <= _SHORT_WORK
        self._packed = self._workspace = torch.empty(0, **FLOAT)

    @property
    def states(self) -> tuple[Tensor, ...]:
        """The last inputs of each convolution, (span, B, C) each, updated by every step."""
        if self._count:
            for ring in self._rings:
                if len(ring):
                    ring.copy_(ring.roll(-(self._count % len(ring)), 0))
            self._count = 0
        return self._rings

    def serves(self) -> bool:
        """Whether it computes with the modules as they are now, and their weights, where they lie.

        Asked before each step, which packs them again if they have changed since the last.
        """
        answer = self._watch.look()
        if answer == CHANGED:
            self._is_packed = False
        return answer != ANOTHER

    def short_step(self, x: Any, out: Any, parameters: Any) -> Tensor | None:  # noqa: ARG002
        """Do what `step` does in one call, or return None where that is not to be had.

        Args:
            x: (B, I).
            out: None.
            parameters: As of `Stepper.short_step`; it looks at those that it was given.
        """
        if out is not None or not self._is_short or type(x) is not Tensor or not may_step(x):
            return None
        if not (self._is_packed and self.takes(x) and x.is_contiguous()):
            return None
        if 4 * (x.storage_offset() + self._num_inputs) > x.untyped_storage().nbytes():
            return None  # `step` says so
        y = torch.empty(self._output_shape, **FLOAT)
        answer = self._library.short_step(self._address, self._count, x.data_ptr(), y.data_ptr())
        if answer == SAME:
            self._count += 1
            return y
        self._is_packed = False  # its weights are packed again, if they are still its own
        return None

    def advance(self, *_: Any) -> None:
        """Do nothing: there is no crossing for several steps, `Stepper.advance` has it."""

    def bind(self, *_: Any) -> None:
        """Do nothing: there is no crossing for bound memory, `Stepper.bind` has it."""

    def takes(self, x: Tensor) -> bool:
        """Whether `x` is an input of one step: (B, I), float32, on CPU."""
        return x.shape == self._input_shape and x.dtype is torch.float32 and x.is_cpu

    def step(self, x: Tensor) -> Tensor:
        """Read one step, (B, I), and return its output, (B, H)."""
        x = readable("TCN", "x", x, self._input_shape)
        y = torch.empty(self._output_shape, **FLOAT)
        if not self._library.is_known(self._samples) or not self._is_packed:
            self._pack()
        self._library.step(self._call, self._count, x.data_ptr(), y.data_ptr())
        self._count += 1
        return y

    def _pack(self) -> None:
        with torch.no_grad():
            weights = self._weights()
        hidden_size, taps = self._shapes[0].hidden_size, self._shapes[0].kernel_size
        alive = []
        for shape, own, block in zip(self._shapes, weights, self._blocks, strict=True):
            sizes = ((shape.input_size, taps), (hidden_size, taps), (shape.input_size, 1))
            for index, size in enumerate(sizes):
                weight, bias = own[2 * index : 2 * index + 2]
                if weight is not None:
                    alive.append(readable("TCN", "a weight", weight, (hidden_size, *size)))
                    block.weight[index] = alive[-1].data_ptr()
                if bias is not None:
                    alive.append(readable("TCN", "a bias", bias, (hidden_size,)))
                    block.bias[index] = alive[-1].data_ptr()
        self._packed = torch.empty(self._library.packed_floats(self._call), **FLOAT)
        self._workspace = torch.empty(self._library.step_floats(self._call), **FLOAT)
        self._call.packed = self._packed.data_ptr()
        self._call.workspace = self._workspace.data_ptr()
        self._library.pack(self._call)
        self._is_packed = True
