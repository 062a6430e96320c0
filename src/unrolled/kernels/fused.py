"""Calling a compiled kernel: memory, packing of weights, threads, autograd.

What a kernel computes is in the C that `emit` writes. Here torch's tensors become its arguments.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.kernels import reference
from unrolled.kernels.build import load
from unrolled.kernels.compiler import KernelError
from unrolled.kernels.emit import emit
from unrolled.kernels.reference import Weights
from unrolled.kernels.trace import Column, UntraceableError, trace

__all__ = ["Kernel", "make_kernel", "packing_once"]

_MOST_STATES = 8
_MOST_ROWS_OF_A_PART = 1024
_HUGE_PAGE = 2 << 20
_MADV_HUGEPAGE = 14
_PADDING = 16  # floats: rows whose stride is a power of two are slow to multiply transposed

_pointer, _integer = ctypes.c_void_p, ctypes.c_int64
# said each time, because a user may have changed torch's defaults
_FLOAT: Any = {"dtype": torch.float32, "device": "cpu"}
_INDEX: Any = {"dtype": torch.int64, "device": "cpu"}


class _Call(ctypes.Structure):
    """`Call` of runtime/call.h."""

    _fields_ = [
        *((name, _integer) for name in ("num_steps", "batch_size", "input_size", "hidden_size")),
        *((name, _integer) for name in ("reverse", "train", "gate_stride")),
        *((name, _pointer) for name in ("batch_sizes", "starts", "parts", "x", "input_weight")),
        *((name, _pointer) for name in ("recurrent_weight", "bias", "parameters", "gates")),
        ("scratch", _integer),
        ("initial", _pointer * _MOST_STATES),
        ("states", _pointer * _MOST_STATES),
        ("d_output", _pointer),
        ("d_states", _pointer * _MOST_STATES),
    ]


class _Product(ctypes.Structure):
    """`Product` of runtime/sequence.h."""

    _fields_ = [
        *((name, _integer) for name in ("rows", "depth", "columns", "stride", "out_stride")),
        ("num_parts", _integer),
        *((name, _pointer) for name in ("a", "packed", "out")),
    ]


class _Gradient(ctypes.Structure):
    """`Gradient` of runtime/gradient.h."""

    _fields_ = [
        *((name, _integer) for name in ("depth", "rows", "columns", "num_parts", "a_stride")),
        ("out_stride", _integer),
        *((name, _pointer) for name in ("a", "b", "b_first", "b_index")),
        ("num_first", _integer),
        *((name, _pointer) for name in ("out", "scratch")),
    ]


@lru_cache
def _parallel_for() -> int:
    """Return the address of torch's own thread pool, a part of its stable ABI."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    address = ctypes.cast(library.torch_parallel_for, _pointer).value
    assert address is not None
    return address


Packed = dict[tuple[object, ...], tuple[Tensor, Tensor, Tensor]]

_packed: ContextVar[Packed | None] = ContextVar("packed", default=None)


@contextmanager
def packing_once(packed: Packed) -> Iterator[None]:
    """Keep packed weights in `packed` for the next block that is given the same dict.

    For many short calls with the same weights: streams and generation. The weights are compared
    with a copy each time, which is cheaper than packing them: torch does not count every change.
    """
    token = _packed.set(packed)
    try:
        yield
    finally:
        _packed.reset(token)


def _once(key: tuple[object, ...], weight: Tensor, pack: Callable[[], Tensor]) -> Tensor:
    """Return `pack()`, or what an earlier call for the same weight returned."""
    packed = _packed.get()
    if packed is None or not isinstance(weight, torch.nn.Parameter) or weight.is_inference():
        return pack()
    key = (*key, id(weight), weight.data_ptr())
    known = packed.get(key)
    if known is None or not torch.equal(known[1], weight):
        # the weight is kept alive, so that its id and its address stay its own
        known = packed[key] = (weight, weight.detach().clone(), pack())
    return known[2]


@dataclass(frozen=True)
class _Rows:
    """How packed rows lie, and which thread has which: int64 tensors for the kernel to read."""

    batch_sizes: Tensor
    starts: Tensor
    parts: Tensor
    before: Tensor  # which of (initial states, outputs) comes before each packed row
    last: Tensor | None  # for ragged rows: the packed row where each row of the batch ends
    num_rows: int
    num_begun: int

    @property
    def num_parts(self) -> int:
        return len(self.parts) - 1

    @property
    def largest_part(self) -> int:
        return int(self.parts.diff().max())


@lru_cache(maxsize=16)
def _lay_out(batch_sizes: tuple[int, ...], reverse: bool, num_threads: int) -> _Rows:
    sizes = torch.tensor(batch_sizes, **_INDEX)
    starts = sizes.cumsum(0) - sizes
    begun = batch_sizes[0]
    rows = torch.arange(begun, **_INDEX)
    lengths = (sizes[:, None] > rows).sum(0)
    work = torch.cat([torch.zeros(1, **_INDEX), lengths.cumsum(0)])
    num_parts = max(min(num_threads, begun), -(-begun // _MOST_ROWS_OF_A_PART))
    shares = [-(-int(work[-1]) * part // num_parts) for part in range(num_parts + 1)]
    parts = torch.searchsorted(work, torch.tensor(shares, **_INDEX))
    step, row = (rows < sizes[:, None]).nonzero(as_tuple=True)
    other = step + 1 if reverse else step - 1
    inside = (other < lengths[row]) if reverse else (other >= 0)
    known = begun + starts[other.clamp(0, len(batch_sizes) - 1)] + row
    before = torch.where(inside, known, row)
    last = None
    if batch_sizes[-1] != begun:
        ends = torch.zeros_like(lengths) if reverse else lengths - 1
        last = starts[ends] + rows
    return _Rows(sizes, starts, parts, before, last, int(work[-1]), begun)


def _buffer(*shape: int) -> Tensor:
    """Return uninitialised memory, in huge pages where it is large: faults are what costs."""
    buffer = torch.empty(shape, **_FLOAT)
    if buffer.nbytes >= 2 * _HUGE_PAGE:
        begin = -(-buffer.data_ptr() // _HUGE_PAGE) * _HUGE_PAGE
        end = (buffer.data_ptr() + buffer.nbytes) // _HUGE_PAGE * _HUGE_PAGE
        _libc().madvise(_pointer(begin), ctypes.c_size_t(end - begin), _MADV_HUGEPAGE)
    return buffer


@lru_cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def make_kernel(cell: Cell) -> "Kernel":
    """Return the compiled kernel of `cell`.

    Raises:
        UntraceableError: the equations are none that a kernel can have.
        KernelError: no compiler, or one that fails.
    """
    traced = trace(cell)
    try:
        _parallel_for()
    except (OSError, AttributeError) as error:
        raise KernelError(f"torch's thread pool cannot be called: {error}") from error
    if len(cell.states) > _MOST_STATES:
        raise UntraceableError(f"cell {cell.name}: a kernel has at most {_MOST_STATES} states")
    emitted = emit(traced)
    library = load(emitted.source, cell.name)
    return Kernel(cell, traced.columns, emitted.slots, emitted.source, library)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A cell's compiled kernel.

    Args:
        cell: The equations.
        columns: The gates in the order of the gate buffer.
        slots: Vectors of H in a row of the gate buffer.
        source: The C it was compiled from.
        library: The loaded code.
    """

    cell: Cell
    columns: tuple[Column, ...]
    slots: int
    source: str
    library: ctypes.CDLL

    def run(
        self,
        x: Tensor,
        batch_sizes: Sequence[int],
        weights: Weights,
        states: tuple[Tensor, ...],
        *,
        reverse: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Do what `reference.run` does, for float32 tensors on CPU, without a projection."""
        rows = _lay_out(tuple(batch_sizes), reverse, torch.get_num_threads())
        flat = [w for w in weights[:4] if w is not None]
        tensors = (x, *states, *flat, *weights.parameters)
        self._check(x, rows, weights, states)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            biased = weights.bias_ih is not None
            output, *after = _Recurrence.apply(  # type: ignore[no-untyped-call]
                self, rows, reverse, biased, len(states), x, *states, *flat, *weights.parameters
            )
        else:
            output, after, _ = self.forward(x, rows, weights, states, reverse, train=False)
        return output, tuple(after)

    def _check(self, x: Tensor, rows: _Rows, weights: Weights, states: tuple[Tensor, ...]) -> None:
        """Assert that the kernel will read and write inside of what it is given."""
        hidden_size, num_gates = states[0].shape[1], len(self.cell.gates) * states[0].shape[1]
        num_recurrent = len(self.cell.recurrent) * hidden_size
        expected = [
            (x, (rows.num_rows, x.shape[1])),
            (weights.weight_ih, (num_gates, x.shape[1])),
            (weights.weight_hh, (num_recurrent, hidden_size)),
            (weights.bias_ih, (num_gates,)),
            (weights.bias_hh, (num_recurrent,)),
            *((state, (len(states[0]), hidden_size)) for state in states),
            *((vector, (hidden_size,)) for vector in weights.parameters),
        ]
        for tensor, shape in expected:
            if tensor is not None:
                assert tuple(tensor.shape) == shape, (tensor.shape, shape)
                assert (tensor.dtype, tensor.device.type) == (torch.float32, "cpu")

    def forward(
        self,
        x: Tensor,
        rows: _Rows,
        weights: Weights,
        states: tuple[Tensor, ...],
        reverse: bool,
        train: bool,
    ) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
        """Return the output, the states at the end, and what `backward` needs of it."""
        hidden_size, num_inputs = states[0].shape[1], len(self._input_blocks)
        x, states = x.contiguous(), tuple(state.contiguous() for state in states)
        call = self._call(x, rows, states, reverse)
        packed_input = self._pack("plain", weights.weight_ih, hidden_size, self._input_blocks)
        keep = [packed_input, self._bias(weights, hidden_size)]
        call.input_weight, call.bias = packed_input.data_ptr(), keep[1].data_ptr()
        if weights.weight_hh is not None:
            keep.append(self._pack_gates(weights.weight_hh, hidden_size))
            call.recurrent_weight = keep[-1].data_ptr()
        if weights.parameters:
            keep.append(torch.stack([p.contiguous() for p in weights.parameters]))
            call.parameters = keep[-1].data_ptr()
        output = _buffer(rows.num_rows, hidden_size)
        histories = [output]
        if train:
            gates = _buffer(rows.num_rows, self.slots * hidden_size + _PADDING)
            histories += [_buffer(rows.num_rows, hidden_size) for _ in states[1:]]
            call.train = 1
        else:
            stride = num_inputs * hidden_size
            gates = _buffer(rows.num_parts, max(96, rows.largest_part) * stride)
            call.scratch = gates.stride(0)
            histories += [state[: rows.num_begun].clone() for state in states[1:]]
        call.gates = gates.data_ptr()
        call.gate_stride = gates.stride(0) if train else stride
        for index, history in enumerate(histories):
            call.states[index] = history.data_ptr()
        self.library.unrolled_forward(
            _pointer(_parallel_for()), ctypes.byref(call), _integer(rows.num_parts)
        )
        after = [_ends(output, states[0], rows, reverse)]
        for history, state in zip(histories[1:], states[1:], strict=True):
            running = _with_idle(history, state) if not train else None
            after.append(_ends(history, state, rows, reverse) if running is None else running)
        return output, after, (gates, *histories)

    def backward(
        self,
        rows: _Rows,
        reverse: bool,
        saved: tuple[Tensor, ...],
        x: Tensor,
        states: tuple[Tensor, ...],
        weights: Weights,
        d_output: Tensor,
        d_states: list[Tensor],
        needs_d_x: bool,
    ) -> tuple[Tensor | None, list[Tensor], list[Tensor], list[Tensor]]:
        """Return the gradients by the input, the states, the weights and the vectors.

        The gates that `forward` saved are overwritten.
        """
        gates, *histories = saved
        hidden_size = states[0].shape[1]
        call = self._call(x, rows, states, reverse)
        keep = [d_output.contiguous()]
        call.d_output, call.gates = keep[0].data_ptr(), gates.data_ptr()
        call.gate_stride = gates.stride(0)
        if weights.weight_hh is not None:
            packed = self._pack("straight", weights.weight_hh, hidden_size, self._recurrent_blocks)
            keep.append(packed)
            call.recurrent_weight = keep[-1].data_ptr()
        if weights.parameters:
            keep.append(torch.stack([p.contiguous() for p in weights.parameters]))
            call.parameters = keep[-1].data_ptr()
        for index, (history, d_state) in enumerate(zip(histories, d_states, strict=True)):
            call.states[index], call.d_states[index] = history.data_ptr(), d_state.data_ptr()
        self.library.unrolled_backward(
            _pointer(_parallel_for()), ctypes.byref(call), _integer(rows.num_parts)
        )
        d_weights, d_vectors = self._weight_gradients(
            gates, x, histories[0], states[0], rows, weights
        )
        d_x = self._input_gradient(gates, weights, x) if needs_d_x else None
        return d_x, d_states, d_weights, d_vectors

    def _call(self, x: Tensor, rows: _Rows, states: tuple[Tensor, ...], reverse: bool) -> _Call:
        call = _Call(
            num_steps=len(rows.batch_sizes),
            batch_size=len(states[0]),
            input_size=x.shape[1],
            hidden_size=states[0].shape[1],
            reverse=int(reverse),
            batch_sizes=rows.batch_sizes.data_ptr(),
            starts=rows.starts.data_ptr(),
            parts=rows.parts.data_ptr(),
            x=x.data_ptr(),
        )
        for index, state in enumerate(states):
            call.initial[index] = state.data_ptr()
        return call

    @cached_property
    def _input_blocks(self) -> tuple[int, ...]:
        """For each column that the input feeds, the block of rows of W_x."""
        return tuple(self.cell.gates.index(c.gate) for c in self.columns if c.input)

    @cached_property
    def _recurrent_blocks(self) -> tuple[int, ...]:
        """For each column that the recurrence feeds, the block of rows of W_h."""
        return tuple(self.cell.recurrent.index(c.gate) for c in self.columns if c.recurrent)

    def _pack(self, how: str, weight: Tensor, hidden_size: int, blocks: Sequence[int]) -> Tensor:
        """Return W (., K) packed: "plain" as its transpose, "straight" as it is."""
        return _once(
            (self, how, *blocks), weight, lambda: self._packed(how, weight, hidden_size, blocks)
        )

    def _packed(self, how: str, weight: Tensor, hidden_size: int, blocks: Sequence[int]) -> Tensor:
        weight = weight.contiguous()
        width = 4 * self.library.unrolled_vector_width()
        block_rows = torch.tensor([hidden_size * block for block in blocks], **_INDEX)
        depth, columns = weight.shape[1], len(blocks) * hidden_size
        if how == "straight":
            depth, columns = columns, depth
        packed = torch.empty(-(-columns // width) * width * depth, **_FLOAT)
        arguments = (_pointer(weight.data_ptr()), _integer(weight.shape[1]), _integer(hidden_size))
        getattr(self.library, f"unrolled_pack_{how}")(
            *arguments,
            _pointer(block_rows.data_ptr()),
            _integer(len(blocks)),
            _pointer(packed.data_ptr()),
        )
        return packed

    def _pack_gates(self, weight: Tensor, hidden_size: int) -> Tensor:
        return _once((self, "gates"), weight, lambda: self._packed_gates(weight, hidden_size))

    def _packed_gates(self, weight: Tensor, hidden_size: int) -> Tensor:
        weight = weight.contiguous()
        block_rows = torch.tensor(
            [hidden_size * block for block in self._recurrent_blocks], **_INDEX
        )
        packed = torch.empty(self._packed_gates_size(_integer(hidden_size)), **_FLOAT)
        self.library.unrolled_pack_gates(
            _pointer(weight.data_ptr()),
            _integer(hidden_size),
            _pointer(block_rows.data_ptr()),
            _pointer(packed.data_ptr()),
        )
        return packed

    def _bias(self, weights: Weights, hidden_size: int) -> Tensor:
        """Return the bias of each column, (columns * H,)."""
        bias = torch.zeros(len(self.columns), hidden_size, **_FLOAT)
        if weights.bias_ih is not None:
            num_inputs = len(self._input_blocks)
            by_gate = weights.bias_ih.view(-1, hidden_size)
            bias[:num_inputs] += by_gate[list(self._input_blocks)]
        if weights.bias_hh is not None:
            by_gate = weights.bias_hh.view(-1, hidden_size)
            bias[len(self.columns) - len(self._recurrent_blocks) :] += by_gate[
                list(self._recurrent_blocks)
            ]
        return bias

    def _weight_gradients(
        self,
        gates: Tensor,
        x: Tensor,
        output: Tensor,
        initial: Tensor,
        rows: _Rows,
        weights: Weights,
    ) -> tuple[list[Tensor], list[Tensor]]:
        hidden_size = initial.shape[1]
        num_inputs, num_recurrent = len(self._input_blocks), len(self._recurrent_blocks)
        num_columns = len(self.columns)
        by_input = gates[:, : num_inputs * hidden_size]
        first = (num_columns - num_recurrent) * hidden_size
        by_recurrence = gates[:, first : num_columns * hidden_size]
        gradients = [_in_order(self._product(by_input, x), self._input_blocks)]
        if num_recurrent:
            product = self._product(by_recurrence, output, initial[: rows.num_begun], rows.before)
            gradients.append(_in_order(product, self._recurrent_blocks))
        sums = gates[:, : (num_columns + len(weights.parameters)) * hidden_size].sum(0)
        sums = sums.view(-1, hidden_size)
        if weights.bias_ih is not None:
            gradients.append(_in_order(sums[:num_inputs], self._input_blocks).flatten())
        if weights.bias_hh is not None:
            recurrent = sums[num_columns - num_recurrent : num_columns]
            gradients.append(_in_order(recurrent, self._recurrent_blocks).flatten().clone())
        return gradients, list(sums[num_columns:])

    def _product(
        self, a: Tensor, b: Tensor, b_first: Tensor | None = None, b_index: Tensor | None = None
    ) -> Tensor:
        """Return a^T (b_first, then b)[b_index], or a^T b."""
        columns = b.shape[1]
        out = torch.empty(a.shape[1], columns, **_FLOAT)
        num_parts = min(torch.get_num_threads(), a.shape[1])
        scratch = _buffer(num_parts, self._gradient_scratch(_integer(columns)))
        gradient = _Gradient(
            depth=len(a),
            rows=a.shape[1],
            columns=columns,
            num_parts=num_parts,
            a_stride=a.stride(0),
            out_stride=columns,
            a=a.data_ptr(),
            b=b.data_ptr(),
            b_first=None if b_first is None else b_first.data_ptr(),
            b_index=None if b_index is None else b_index.data_ptr(),
            num_first=0 if b_first is None else len(b_first),
            out=out.data_ptr(),
            scratch=scratch.data_ptr(),
        )
        self.library.unrolled_gradient(_pointer(_parallel_for()), ctypes.byref(gradient))
        return out

    @cached_property
    def _packed_gates_size(self) -> Any:
        function = self.library.unrolled_packed_gates
        function.restype = _integer
        return function

    @cached_property
    def _gradient_scratch(self) -> Any:
        function = self.library.unrolled_gradient_scratch
        function.restype = _integer
        return function

    def _input_gradient(self, gates: Tensor, weights: Weights, x: Tensor) -> Tensor:
        weight = weights.weight_ih
        hidden_size = weight.shape[0] // len(self.cell.gates)
        packed = self._pack("straight", weight, hidden_size, self._input_blocks)
        d_x = _buffer(*x.shape)
        product = _Product(
            rows=len(x),
            depth=len(self._input_blocks) * hidden_size,
            columns=x.shape[1],
            stride=gates.stride(0),
            out_stride=x.shape[1],
            num_parts=min(torch.get_num_threads(), len(x)),
            a=gates.data_ptr(),
            packed=packed.data_ptr(),
            out=d_x.data_ptr(),
        )
        self.library.unrolled_multiply(_pointer(_parallel_for()), ctypes.byref(product))
        return d_x


def _ends(history: Tensor, initial: Tensor, rows: _Rows, reverse: bool) -> Tensor:
    """Return the state at the end of each row of the batch, from those after all steps."""
    begun = rows.num_begun
    if rows.last is not None:
        ended = history[rows.last]
    else:
        ended = (history[:begun] if reverse else history[-begun:]).clone()
    return _with_idle(ended, initial)


def _with_idle(ended: Tensor, initial: Tensor) -> Tensor:
    """Return `ended` with the rows of length zero below it, whose states never changed."""
    return ended if len(ended) == len(initial) else torch.cat([ended, initial[len(ended) :]])


def _in_order(by_column: Tensor, blocks: Sequence[int]) -> Tensor:
    """Return blocks of rows, given in the order of the columns, in that of the weights."""
    if list(blocks) == sorted(blocks):
        return by_column
    parts = by_column.chunk(len(blocks))
    return torch.cat([parts[blocks.index(block)] for block in range(len(blocks))])


class _Recurrence(torch.autograd.Function):
    """A kernel with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        kernel: Kernel,
        rows: _Rows,
        reverse: bool,
        biased: bool,
        num_states: int,
        x: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        states, rest = tensors[:num_states], list(tensors[num_states:])
        weights = _unflatten(kernel, biased, rest)
        output, after, saved = kernel.forward(x, rows, weights, states, reverse, train=True)
        ctx.save_for_backward(x, *tensors, *saved[1:])
        ctx.gates = saved[0]
        ctx.fixed = (kernel, rows, reverse, biased, num_states, len(tensors))
        return (output, *after)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor, *d_after: Tensor) -> Any:
        if torch.is_grad_enabled():  # create_graph=True: the gradient is to be differentiated
            return (
                None,
                None,
                None,
                None,
                None,
                *_differentiable_gradients(ctx, d_output, d_after),
            )
        kernel, rows, reverse, biased, num_states, num_tensors = ctx.fixed
        x, *others = ctx.saved_tensors
        tensors, histories = others[:num_tensors], others[num_tensors:]
        states = tuple(state.contiguous() for state in tensors[:num_states])
        weights = _unflatten(kernel, biased, tensors[num_states:])
        gates, ctx.gates = ctx.gates, None
        if gates is None:  # a second backward pass: the first has overwritten them
            gates = kernel.forward(x, rows, weights, states, reverse, train=True)[2][0]
        d_states = [gradient.contiguous().clone() for gradient in d_after]
        d_x, d_states, d_weights, d_vectors = kernel.backward(
            rows,
            reverse,
            (gates, *histories),
            x.contiguous(),
            states,
            weights,
            d_output,
            d_states,
            ctx.needs_input_grad[5],
        )
        return (None, None, None, None, None, d_x, *d_states, *d_weights, *d_vectors)


def _differentiable_gradients(
    ctx: Any, d_output: Tensor, d_after: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return the gradients by the reference, with a graph of their own."""
    kernel, rows, reverse, biased, num_states, num_tensors = ctx.fixed
    # views, so that the gradient stops here and does not run on into what they were made from
    x, *tensors = (tensor.view_as(tensor) for tensor in ctx.saved_tensors[: 1 + num_tensors])
    output, after = reference.run(
        kernel.cell,
        x,
        rows.batch_sizes.tolist(),
        _unflatten(kernel, biased, tensors[num_states:]),
        tuple(tensors[:num_states]),
        reverse=reverse,
    )
    wanted = [tensor for tensor in (x, *tensors) if tensor.requires_grad]
    results, given = (output, *after), (d_output, *d_after)
    pairs = [(r, g) for r, g in zip(results, given, strict=True) if r.requires_grad]
    found = iter(
        torch.autograd.grad(
            [r for r, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if tensor.requires_grad else None for tensor in (x, *tensors)]


def _unflatten(kernel: Kernel, biased: bool, tensors: Sequence[Tensor]) -> Weights:
    recurrent = bool(kernel.cell.recurrent)
    names = ["weight_ih", *(["weight_hh"] if recurrent else [])]
    if biased:
        names += ["bias_ih", *(["bias_hh"] if recurrent else [])]
    named = dict(zip(names, tensors, strict=False))
    return Weights(
        named["weight_ih"],
        named.get("weight_hh"),
        named.get("bias_ih"),
        named.get("bias_hh"),
        None,
        tuple(tensors[len(names) :]),
    )
