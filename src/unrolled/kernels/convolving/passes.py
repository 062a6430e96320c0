"""A stack of residual blocks by its kernel, forwards and backwards."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import ShapeError
from unrolled.kernels.convolving.library import (
    PIECE_NUMBERS,
    BlockCall,
    NetworkCall,
    NetworkLibrary,
)
from unrolled.kernels.convolving.problem import NetworkProblem
from unrolled.kernels.convolving.reference import reference_blocks
from unrolled.kernels.memory import are_observed, are_plain, readable
from unrolled.kernels.rows import Pieces
from unrolled.kernels.running.arena import (
    FLOAT,
    buffer,
    buffer_like,
    keep_scratch,
    lasting,
    take_scratch,
)
from unrolled.kernels.running.autograd import Forward

__all__ = ["NetworkPasses"]

_WHERE = "TCN"


class NetworkPasses:
    """`Passes` of `RecurrenceFunction`; the inputs are `NetworkProblem.tensors()`.

    Its tape holds the windows that the convolutions read.

    Args:
        library: The kernel.
        problem: What they are to solve; its tensors are not held, but for the lengths.

    Raises:
        ShapeError: From `forward` and `backward`: the tensors do not fit one another.
    """

    def __init__(self, library: NetworkLibrary, problem: NetworkProblem) -> None:
        self._library, self._signature = library, problem.signature()
        self._lengths, self._pieces = problem.lengths, problem.pieces

    def fill(self, inputs: Sequence[Any]) -> NetworkProblem:
        """Return the problem with these tensors."""
        return self._signature.problem(inputs, self._lengths, self._pieces)

    def forward(self, problem: NetworkProblem, *, train: bool = False) -> Forward:
        """Run all blocks."""
        library, shapes = self._library, problem.shapes
        num_steps, batch_size, _ = problem.x.shape
        call, blocks, alive, rows_first = _make_call(problem)
        call.train = train
        output = _result(num_steps, batch_size, shapes[0].hidden_size, rows_first)
        call.y, call.y_step, call.y_row = output.data_ptr(), *output.stride()[:2]
        states = [
            buffer(shape.span, batch_size, size)
            for shape in shapes
            for size in (shape.input_size, shape.hidden_size)
        ]
        for index, state in enumerate(states):
            blocks[index // 2].state[index % 2] = state.data_ptr()
        tape = []
        if train:
            tape = [lasting(library.tape_floats(call))]
            call.tape = tape[0].data_ptr()
        packed, workspace = self._take_memory(call, backward=False)
        library.forward(call)
        del alive  # what the call pointed to
        keep_scratch("packed", packed)
        keep_scratch("workspace", workspace)
        return Forward((output, *states), tape)

    def _take_memory(self, call: NetworkCall, *, backward: bool) -> tuple[Tensor, Tensor]:
        """Return memory for packed weights and the workspace, which `call` is given."""
        packed = take_scratch("packed", self._library.packed_floats(call))
        floats = self._library.workspace_floats(call, backward=backward)
        workspace = take_scratch("workspace", floats)
        call.packed, call.workspace = packed.data_ptr(), workspace.data_ptr()
        return packed, workspace

    def can_read(self, d_results: Sequence[Tensor | None]) -> bool:
        """Whether the gradients are plain, and nobody looks at torch's operations."""
        return not are_observed() and are_plain(d for d in d_results if d is not None)

    def backward(
        self,
        problem: NetworkProblem,
        tape: Sequence[Tensor] | None,
        d_results: Sequence[Tensor | None],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Return the gradients of the input, the past and the weights."""
        if tape is None:
            tape = self.forward(problem, train=True).tape
        shapes, (num_steps, batch_size, _) = problem.shapes, problem.x.shape
        call, blocks, alive, rows_first = _make_call(problem)
        call.train = 1
        own_tape = readable(_WHERE, "what was kept", tape[0], (self._library.tape_floats(call),))
        call.tape = own_tape.data_ptr()
        d_output, *d_states = d_results
        if d_output is not None:
            shape = (num_steps, batch_size, shapes[0].hidden_size)
            d_output = _readable_steps("gradient of the output", d_output, shape, rows_first)
            call.y, call.y_step, call.y_row = d_output.data_ptr(), *d_output.stride()[:2]
        for index, d_state in enumerate(d_states):
            if d_state is not None:
                block = shapes[index // 2]
                size = block.hidden_size if index % 2 else block.input_size
                shape = (block.span, batch_size, size)
                alive.append(readable(_WHERE, "gradient of a state", d_state, shape))
                blocks[index // 2].d_state[index % 2] = alive[-1].data_ptr()
        gradients: list[Tensor | None] = [
            buffer_like(tensor) if is_wanted and tensor is not None else None
            for tensor, is_wanted in zip(problem.tensors(), wanted, strict=True)
        ]
        if problem.pieces is not None:  # not all rows go on from their past
            for d_past in gradients[1 : 1 + len(problem.past)]:
                if d_past is not None:
                    d_past.zero_()
        if wanted[0]:
            d_x = _result(num_steps, batch_size, shapes[0].input_size, rows_first)
            gradients[0], call.d_x = d_x, d_x.data_ptr()
        places = _gradient_places(blocks, bool(problem.past))
        for (array, index), gradient in zip(places, gradients[1:], strict=False):
            array[index] = None if gradient is None else gradient.data_ptr()
        packed, workspace = self._take_memory(call, backward=True)
        self._library.backward(call)
        del alive
        keep_scratch("packed", packed)
        keep_scratch("workspace", workspace)
        return gradients

    def reference(self, problem: NetworkProblem) -> Sequence[Tensor]:
        """Return the results by torch's own operations."""
        return reference_blocks(problem)


def _make_call(
    problem: NetworkProblem,
) -> tuple[NetworkCall, Any, list[Tensor], bool]:
    """Return the arguments that both passes have, the blocks, and what must outlive the call.

    And whether the rows of the batch lie before the steps: results are to lie as the input does.
    """
    shapes, x, lengths, past, weights, keep, pieces = problem
    num_steps, batch_size, _ = x.shape
    hidden_size, kernel_size = shapes[0].hidden_size, shapes[0].kernel_size
    blocks = (BlockCall * len(shapes))()
    call = NetworkCall(len(shapes), num_steps, batch_size, hidden_size, kernel_size)
    call.num_threads, call.blocks = torch.get_num_threads(), blocks
    rows_first = not x.is_contiguous() and x.transpose(0, 1).is_contiguous()
    x_shape = (num_steps, batch_size, shapes[0].input_size)
    alive = [_readable_steps("x", x, x_shape, rows_first)]
    call.x, call.x_step, call.x_row = alive[0].data_ptr(), *alive[0].stride()[:2]
    if pieces is not None:
        alive.append(_table(pieces))
        call.num_pieces, call.pieces = len(alive[-1]), alive[-1].data_ptr()
    elif lengths is not None:
        if lengths.shape != (batch_size,) or lengths.dtype is not torch.int64:
            raise ShapeError(f"{_WHERE}: lengths must be ({batch_size},) of int64")
        alive.append(lengths.contiguous())
        call.lengths = alive[-1].data_ptr()
    for level, (shape, own, block) in enumerate(zip(shapes, weights, blocks, strict=True)):
        block.input_size, block.dilation = shape.input_size, shape.dilation
        block.scale = shape.scale
        sizes = (shape.input_size, hidden_size, shape.input_size)
        for index, size in enumerate(sizes):
            weight, bias = own[2 * index : 2 * index + 2]
            if weight is not None:
                taps = 1 if index == 2 else kernel_size
                alive.append(readable(_WHERE, "a weight", weight, (hidden_size, size, taps)))
                block.weight[index] = alive[-1].data_ptr()
            if bias is not None:
                alive.append(readable(_WHERE, "a bias", bias, (hidden_size,)))
                block.bias[index] = alive[-1].data_ptr()
        for index, size in enumerate(sizes[:2]):
            place = 2 * level + index
            if past:
                own_shape = (shape.span, batch_size, size)
                alive.append(readable(_WHERE, "state", past[place], own_shape))
                block.past[index] = alive[-1].data_ptr() or None  # of a span of 0
            if (mask := keep[place]) is not None:
                alive.append(_checked_keep(mask, (batch_size, num_steps, hidden_size)))
                block.keep[index] = alive[-1].data_ptr()
    return call, blocks, alive, rows_first


def _table(pieces: Pieces) -> Tensor:
    """Return the pieces as the kernel reads them, (P, PIECE_NUMBERS)."""
    columns = (pieces.row, pieces.first, pieces.length, pieces.continues, pieces.is_last)
    table = torch.zeros(len(pieces.row), PIECE_NUMBERS, dtype=torch.int64, device="cpu")
    for number, column in enumerate(columns):
        table[:, number] = column
    return table


def _checked_keep(keep: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return what dropout keeps, as hooks of saved tensors gave it back."""
    if keep.shape != shape or keep.dtype is not torch.bool or not keep.is_cpu:
        raise ShapeError(
            f"{_WHERE}: what dropout keeps must be bool {shape} on cpu, got "
            f"{keep.dtype} {tuple(keep.shape)} on {keep.device}"
        )
    return keep.contiguous()


def _gradient_places(blocks: Any, has_past: bool) -> list[tuple[Any, int]]:
    """Return where the gradients of the past and the weights go, in the order of `tensors()`."""
    places = [(block.d_past, index) for block in blocks for index in range(2)] if has_past else []
    for block in blocks:
        for index in range(3):
            places += [(block.d_weight, index), (block.d_bias, index)]
    return places


def _readable_steps(
    name: str, tensor: Tensor, shape: tuple[int, int, int], rows_first: bool
) -> Tensor:
    """Return (T, B, C) as one that a kernel can read, in memory (B, T, C) if `rows_first`."""
    if not rows_first:
        return readable(_WHERE, name, tensor, shape)
    turned = readable(_WHERE, name, tensor.transpose(0, 1), (shape[1], shape[0], shape[2]))
    return turned.transpose(0, 1)


def _result(num_steps: int, batch_size: int, size: int, rows_first: bool) -> Tensor:
    """Return memory for (T, B, size); not a view, which autograd would not let a user change."""
    if not rows_first:
        return buffer(num_steps, batch_size, size)
    strides = (size, num_steps * size, 1)
    return torch.empty_strided((num_steps, batch_size, size), strides, **FLOAT)
