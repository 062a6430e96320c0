"""Running a compiled kernel on tensors, forward and backward; packing its weights.

What a kernel computes is in the C that `emit` writes; how it is called is in `native`, and what
autograd knows of it in `autograd`.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.errors import ShapeError
from unrolled.kernels.build import load, load_defined
from unrolled.kernels.emit import emit
from unrolled.kernels.memory import FLOAT, buffer, lasting, scratch
from unrolled.kernels.native import Call, Library
from unrolled.kernels.reference import Weights
from unrolled.kernels.rows import Rows, lay_out
from unrolled.kernels.trace import trace

__all__ = ["Forward", "Kernel", "Packed", "make_kernel", "mark_of", "packing_once"]

_PADDING = 16  # floats: rows whose stride is a power of two are slow to multiply transposed


class _PackedOnce(NamedTuple):
    weights: tuple[Tensor | None, ...]  # kept alive, so that their addresses stay their own
    marks: list[tuple[int, int]]
    packed: Tensor


Packed = dict[object, _PackedOnce]

_packed: ContextVar[Packed | None] = ContextVar("packed", default=None)


@contextmanager
def packing_once(packed: Packed) -> Iterator[None]:
    """Keep packed weights in `packed` for the next block that is given the same dict.

    For many short calls with the same weights: streams and generation. Weights that have changed
    are packed again: those that torch counts as changed, and those of which a sample differs, for
    torch does not count what its fused optimisers do. Inside another such block that one's dict
    is used, so that many who write with one model share one copy.
    """
    outer = _packed.get()
    token = _packed.set(packed if outer is None else outer)
    try:
        yield
    finally:
        _packed.reset(token)


def make_kernel(cell: Cell) -> "Kernel":
    """Return the compiled kernel of `cell`.

    Raises:
        UntraceableError: the equations are none that a kernel can have.
        KernelError: no compiler, or one that fails, or no way to torch's threads.
    """
    if cell.equations.__module__.startswith("unrolled.cells."):
        definition = _files_behind(cell)  # known without tracing, which takes ten times as long
        library = load_defined(definition, lambda: emit(trace(cell)), cell.name)
    else:  # what such equations read from outside can be known only by tracing them
        library = load(emit(trace(cell)), cell.name)
    return Kernel(cell, Library(library))


def _files_behind(cell: Cell) -> str:
    """Return the text of all files that the source of a built-in cell's kernel comes from."""
    equations = sys.modules[cell.equations.__module__].__file__
    assert equations is not None
    here = Path(__file__).parent
    written = [here / f"{name}.py" for name in ("graphs", "trace", "expressions", "emit", "native")]
    files = [Path(equations), *written, *sorted(here.glob("runtime/*.h"))]
    texts = [file.read_text(encoding="utf-8") for file in files]
    return "\0".join([torch.__version__, cell.name, *texts])


class Forward(NamedTuple):
    """What a forward pass leaves.

    output: (N, H). after: the states at the end, (B, H) each. histories: in training, each state
    after each step, (N, H). gates: in training, what `Kernel.backward` reads and overwrites.
    records: (N, names, H) if asked for.
    """

    output: Tensor
    after: list[Tensor]
    histories: list[Tensor]
    gates: Tensor
    records: Tensor | None


@dataclass(frozen=True, eq=False)
class Kernel:
    """A cell's compiled kernel.

    Args:
        cell: The equations.
        library: The loaded code.
    """

    cell: Cell
    library: Library

    def record(
        self,
        x: Tensor,
        batch_sizes: Sequence[int],
        weights: Weights,
        states: tuple[Tensor, ...],
        *,
        reverse: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor]]:
        """Return what `run` does, without gradients, and every named value of each step, (N, H)."""
        rows = self.lay_out(x, batch_sizes, weights, states)
        result = self.forward(x, rows, weights, states, reverse, record=True)
        assert result.records is not None
        named = dict(zip(self.library.records, result.records.unbind(1), strict=True))
        return result.output, tuple(result.after), named

    def lay_out(
        self, x: Tensor, batch_sizes: Sequence[int], weights: Weights, states: tuple[Tensor, ...]
    ) -> Rows:
        """Return how rows lie, or raise `ShapeError`: a kernel stays inside of what it is given."""
        rows = lay_out(tuple(batch_sizes), torch.get_num_threads())
        batch_size, hidden_size = states[0].shape
        num_gates = len(self.cell.gates) * hidden_size
        num_recurrent = len(self.cell.recurrent) * hidden_size
        expected: list[tuple[str, Tensor | None, tuple[int, ...]]] = [
            ("x", x, (rows.num_rows, x.shape[1])),
            ("weight_ih", weights.weight_ih, (num_gates, x.shape[1])),
            ("weight_hh", weights.weight_hh, (num_recurrent, hidden_size)),
            ("bias_ih", weights.bias_ih, (num_gates,)),
            ("bias_hh", weights.bias_hh, (num_recurrent,)),
            *(("state", state, (batch_size, hidden_size)) for state in states),
            *(("weight vector", vector, (hidden_size,)) for vector in weights.parameters),
        ]
        for name, tensor, shape in expected:
            if tensor is not None and (tensor.shape != shape or not _is_plain(tensor)):
                raise ShapeError(
                    f"cell {self.cell.name}: {name} must be float32 {shape} on cpu, got "
                    f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
                )
        recurrent = [weights.weight_hh is not None, weights.bias_hh is not None]
        if recurrent != [num_recurrent > 0, num_recurrent > 0 and weights.bias_ih is not None]:
            raise ShapeError(f"cell {self.cell.name}: weight_hh or one of two biases is missing")
        if batch_size < rows.num_begun:
            raise ShapeError(
                f"cell {self.cell.name}: {rows.num_begun} rows have {batch_size} states"
            )
        return rows

    def forward(
        self,
        x: Tensor,
        rows: Rows,
        weights: Weights,
        states: tuple[Tensor, ...],
        reverse: bool,
        train: bool = False,
        record: bool = False,
        capacity: int | None = None,
    ) -> Forward:
        """Run all steps; `train` keeps what `backward` needs, `record` every named value.

        capacity: rows of the gates and of all histories but the output's, if more than N.
        """
        num_rows, hidden_size = rows.num_rows, states[0].shape[1]
        capacity = num_rows if capacity is None else capacity
        call, keep = self.call(x, rows, weights, states, reverse)
        keep.append(self._packed(call, weights))
        output = buffer(num_rows, hidden_size)
        if train:
            call.train = 1
            gates = lasting(capacity, self.gate_width(hidden_size))
            call.gates, call.gate_stride = gates.data_ptr(), gates.stride(0)
            histories = [output, *(lasting(capacity, hidden_size) for _ in states[1:])]
        else:
            gates = output  # of no use
            call.gate_stride = self.library.scratch_slots * hidden_size
            histories = [output, *(_own(state[: rows.num_begun]) for state in states[1:])]
        for index, history in enumerate(histories):
            call.states[index] = history.data_ptr()
        records = None
        if record:
            records = torch.empty(num_rows, len(self.library.records), hidden_size, **FLOAT)
            call.records = records.data_ptr()
        keep.append(scratch("workspace", self.library.workspace_floats(call, backward=False)))
        call.workspace = keep[-1].data_ptr()
        self.library.forward(call)
        after = [_ends(output, states[0], rows, reverse)]
        for history, state in zip(histories[1:], states[1:], strict=True):
            ends = _ends(history, state, rows, reverse) if train else _with_idle(history, state)
            after.append(ends)
        return Forward(output, after, histories, gates, records)

    def copy_gates(self, gates: Tensor, rows: Rows) -> Tensor:
        """Return the gates of all rows for `backward` to overwrite."""
        return lasting(rows.num_rows, gates.shape[1]).copy_(gates[: rows.num_rows])

    def gate_width(self, hidden_size: int) -> int:
        """Return how many floats of gates training keeps for each row."""
        return self.library.slots * hidden_size + _PADDING

    def backward(
        self,
        x: Tensor,
        rows: Rows,
        weights: Weights,
        states: tuple[Tensor, ...],
        reverse: bool,
        kept: tuple[Tensor, Sequence[Tensor]],
        given: tuple[Tensor | None, ...],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Return the gradients by the input, the states, the weights and the vectors, if `wanted`.

        kept: the gates and the histories of `forward`; the gates are overwritten. given: the
        gradients by the output and the states at the end, None for zero.
        """
        gates, histories = kept
        call, keep = self.call(x, rows, weights, states, reverse)
        call.train, call.gates, call.gate_stride = 1, gates.data_ptr(), gates.stride(0)
        d_output = torch.zeros_like(histories[0]) if given[0] is None else given[0].contiguous()
        keep.append(d_output)
        call.d_output = d_output.data_ptr()
        d_states = [
            torch.zeros(state.shape, **FLOAT) if d_after is None else _own(d_after)
            for state, d_after in zip(states, given[1:], strict=True)
        ]
        for index, (history, d_state) in enumerate(zip(histories, d_states, strict=True)):
            call.states[index], call.d_states[index] = history.data_ptr(), d_state.data_ptr()
        others = [x, *weights.tensors()]
        others_wanted = [wanted[0], *wanted[1 + len(states) :]]
        gradients = [
            buffer(*tensor.shape) if is_wanted else None
            for tensor, is_wanted in zip(others, others_wanted, strict=True)
        ]
        d_x, *d_weights = gradients
        call.d_x = None if d_x is None else d_x.data_ptr()
        names = [
            name
            for name, weight in zip(Weights._fields[:4], weights[:4], strict=True)
            if weight is not None
        ]
        for name, gradient in zip(names, d_weights, strict=False):
            if gradient is not None:
                setattr(call, f"d_{name}", gradient.data_ptr())
        for index, gradient in enumerate(d_weights[len(names) :]):
            if gradient is not None:
                call.d_parameters[index] = gradient.data_ptr()
        keep.append(scratch("workspace", self.library.workspace_floats(call, backward=True)))
        call.workspace = keep[-1].data_ptr()
        self.library.backward(call)
        return [d_x, *d_states, *d_weights]

    def call(
        self,
        x: Tensor,
        rows: Rows,
        weights: Weights,
        states: tuple[Tensor, ...],
        reverse: bool,
    ) -> tuple[Call, list[Tensor]]:
        """Return the arguments that all passes have, and what must outlive the call."""
        call = Call()
        call.num_steps, call.num_rows = len(rows.batch_sizes), rows.num_rows
        call.input_size, call.hidden_size = x.shape[1], states[0].shape[1]
        call.reverse = reverse
        call.num_parts = len(rows.parts) - 1
        call.num_threads = torch.get_num_threads() if _threads_run_at_once() else call.num_parts
        call.batch_sizes, call.starts = rows.batch_sizes.data_ptr(), rows.starts.data_ptr()
        call.parts = rows.parts.data_ptr()
        keep = [x.contiguous()]
        call.x = keep[0].data_ptr()
        for name, weight in zip(Weights._fields[:4], weights[:4], strict=True):
            if weight is not None:
                keep.append(weight.contiguous())
                setattr(call, name, keep[-1].data_ptr())
        for index, vector in enumerate(weights.parameters):
            keep.append(vector.contiguous())
            call.parameters[index] = keep[-1].data_ptr()
        for index, state in enumerate(states):
            keep.append(state.contiguous())
            call.initial[index] = keep[-1].data_ptr()
        return call, keep

    def _packed(self, call: Call, weights: Weights) -> Tensor:
        """Return the packed weights, which `call` is given."""
        flat, cache = weights[:4], _packed.get()
        given = [w for w in flat if w is not None]
        lasting = all(type(w) is torch.nn.Parameter and not w.is_inference() for w in given)
        floats = self.library.packed_floats(call)
        if cache is None or not lasting:
            packed = scratch("packed", floats)
            call.packed = packed.data_ptr()
            self.library.pack(call, known=False)
            return packed
        marks, known = [mark_of(w) for w in given], cache.get((self, id(flat[0])))
        if known and not _same(known, flat, marks):
            known = None
        packed = known.packed if known else torch.empty(floats, **FLOAT)
        call.packed = packed.data_ptr()
        self.library.pack(call, known=known is not None)
        cache[self, id(flat[0])] = known or _PackedOnce(flat, marks, packed)
        return packed


def mark_of(weight: Tensor) -> tuple[int, int]:
    """Return what changes when torch knows that a weight has changed."""
    return weight.data_ptr(), weight._version


def _same(
    known: _PackedOnce, weights: tuple[Tensor | None, ...], marks: list[tuple[int, int]]
) -> bool:
    pairs = zip(known.weights, weights, strict=True)
    return known.marks == marks and all(a is b for a, b in pairs)


def _own(tensor: Tensor) -> Tensor:
    """Return a copy whose rows follow one another, whatever the strides."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _is_plain(tensor: Tensor) -> bool:
    return tensor.dtype is torch.float32 and tensor.device.type == "cpu"


@lru_cache
def _threads_run_at_once() -> bool:
    """Whether torch's pool gives every piece a thread of its own, so that pieces may meet."""
    return "backend: OpenMP" in torch.__config__.parallel_info()


def _ends(history: Tensor, initial: Tensor, rows: Rows, reverse: bool) -> Tensor:
    """Return the state at the end of each row of the batch, from those after all steps."""
    begun, history = rows.num_begun, history[: rows.num_rows]
    if reverse:
        ended = history[:begun].clone()
    else:
        ended = history[-begun:].clone() if rows.even else history[rows.last]
    return _with_idle(ended, initial)


def _with_idle(ended: Tensor, initial: Tensor) -> Tensor:
    """Return `ended` with the rows of length zero below it, whose states never changed."""
    return ended if len(ended) == len(initial) else torch.cat([ended, initial[len(ended) :]])
