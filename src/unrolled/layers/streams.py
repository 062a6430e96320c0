"""Many streams of one layer: they come and go, and any of them are stepped in one call."""

from collections.abc import Callable
from contextlib import nullcontext
from copy import copy
from functools import partial
from threading import RLock
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.errors import ShapeError
from unrolled.kernels import Places, Stepper, WeightCache, WeightFormat, caching_weights, may_step
from unrolled.layers.arguments import check_dtype, check_out, checked_states, tensor_of_array
from unrolled.layers.intervening import reading_on
from unrolled.layers.observing import is_observed
from unrolled.layers.options import check_count
from unrolled.layers.resets import Resets, checked_resets
from unrolled.layers.smaller_weights import naming_unscaled
from unrolled.layers.state import SequenceLayer, State, map_state, state_tensors
from unrolled.layers.step_inputs import StepInputs
from unrolled.layers.stream_numbers import Rows, StreamNumbers
from unrolled.layers.streamable import check_streamable, put_out

__all__ = ["Streams"]

Array = NDArray[np.float32]
_Out = TypeVar("_Out", Tensor, Array)


class Streams:
    """A pool of independent streams, made by `layer.streams(capacity)`.

    A stream is known by the number that `join` returns, which is not used again. A call names the
    streams that it is for, in the order of the rows of its input; None stands for all of them, in
    the order in which they joined. What a stream is given does not depend on its company: its
    outputs are those of `layer.stream(1)`, to the last bit. Only states that a call names are
    touched.

    No gradients are kept. Weights that change are read again, as by `Stream`, which also says what
    `refresh` is for. Calls from several threads wait for one another; those of several pools do
    not. A copy by `copy.copy` has the same layer; `copy.deepcopy` and pickle copy the layer too.

    Args:
        layer: A recurrent or convolutional layer that reads forwards, in evaluation mode if it
            has dropout. Without a kernel for its cell, type and device it is called for each
            stream alone.
        capacity: The most streams at a time; their states are allocated now.
        prepare: Returns a stepper with the layer's present weights, which may be the one that it is
            given, or None where there can be none.
        parameters: Returns the layer's parameters by name, or None where a step is more than to
            compute with them.
        weights: How weights are stored; what is not "f32" has been asked of the layer.
        inputs: What the layer reads at every step beside x; None: nothing.

    Raises:
        OptionError: The layer reads backwards too, or would drop units at random.

    Example:
        >>> import torch, unrolled
        >>> pool = unrolled.GRU(3, 4).streams(capacity=100)
        >>> a, b, c = pool.join(), pool.join(), pool.join()
        >>> pool.step(torch.zeros(2, 3), [c, a]).shape
        torch.Size([2, 4])
        >>> pool.leave(b)
        >>> pool.push(torch.zeros(5, 2, 3)).shape  # a and c
        torch.Size([5, 2, 4])
    """

    def __init__(
        self,
        layer: SequenceLayer,
        capacity: int,
        prepare: Callable[[Stepper | None, Places], Stepper | None] | None = None,
        parameters: Callable[[], dict[str, Any] | None] | None = None,
        weights: WeightFormat = "f32",
        inputs: StepInputs | None = None,
    ) -> None:
        self._where = f"{type(layer).__name__}.streams"
        check_streamable(self._where, layer)
        check_count(self._where, "capacity", capacity)
        self._layer, self.capacity = layer, capacity
        self._inputs = StepInputs(self._where) if inputs is None else inputs
        self._prepare, self._parameters, self._weights = prepare, parameters, weights
        with torch.inference_mode(False), torch.no_grad():
            self._state = map_state(torch.clone, layer.initial_state(capacity))
        self._numbers = StreamNumbers(self._where, capacity)
        self._places = Places(state_tensors(self._state), self._numbers.by_slot)
        self._lock = RLock()  # a hook of the layer may ask the pool
        self._forget_weights()

    def _forget_weights(self) -> None:
        self._weight_cache = WeightCache(self._weights)
        self._stepper: Stepper | None = None

    # ---- Who is there ----------------------------------------------------------------------------

    @property
    def rows(self) -> list[int]:
        """The numbers of the streams, in the order in which they joined."""
        return self._numbers.listed()

    def __len__(self) -> int:
        """Return how many streams there are."""
        return len(self._numbers)

    def __contains__(self, row: object) -> bool:
        """Return whether there is a stream of this number."""
        return row in self._numbers

    def join(self, state: State | None = None) -> int:
        """Open a stream and return its number.

        Args:
            state: That it goes on from, of one row: `state_of` of this or another pool, or the
                state of a `Stream`. None: the layer's initial one.

        Raises:
            OptionError: There are `capacity` streams.
            ShapeError: The state is not one of the layer's.
        """
        with self._lock:
            self._write(np.array([self._numbers.free_slot()]), state)
            return self._numbers.join()

    def leave(self, rows: Rows) -> None:
        """Close streams; their numbers are of no use then."""
        with self._lock:
            self._numbers.leave(self._numbers.named(rows))

    def reset(self, rows: Rows | None = None) -> None:
        """Start streams again."""
        with self._lock:
            self._write(self._slots_of(rows), None)

    # ---- States ----------------------------------------------------------------------------------

    def state_of(self, rows: Rows | None = None) -> State:
        """Return a copy of the states of streams, as the layer returns that of a batch of them."""
        with self._lock:
            return self._read(self._slots_of(rows))

    def set_state(self, rows: Rows | None, state: State) -> None:
        """Have streams go on from `state`, as `state_of` returns it."""
        with self._lock:
            self._write(self._slots_of(rows), state)

    def _read(self, slots: NDArray[np.int64]) -> State:
        index = torch.from_numpy(slots)

        def part_of(part: Tensor) -> Tensor:
            return part.index_select(1, index.to(part.device))

        with torch.no_grad():
            return map_state(part_of, self._state)

    def _write(self, slots: NDArray[np.int64], state: State | None) -> None:
        index, own = torch.from_numpy(slots), self._places.states
        with torch.no_grad():
            if state is None:
                state = self._layer.initial_state(len(slots))
            shapes = [(part.shape[0], len(slots), *part.shape[2:]) for part in own]
            names = [str(number) for number in range(len(own))]
            # of the types of what is here, whatever the layer was changed to
            like = own[0] if own else torch.zeros(0)
            new = checked_states(self._where, state, names, shapes, like)
            for part, values in zip(own, new, strict=True):
                part.index_copy_(1, index.to(part.device), values)

    # ---- Reading ---------------------------------------------------------------------------------

    @overload
    def step(
        self, x: Tensor, rows: Rows | None = None, *, resets: Resets | None = None, **inputs: Tensor
    ) -> Tensor: ...
    @overload
    def step(
        self, x: Array, rows: Rows | None = None, *, resets: Resets | None = None, **inputs: Array
    ) -> Array: ...
    @overload
    def step(
        self,
        x: Tensor | Array,
        rows: Rows | None = None,
        *,
        out: _Out,
        resets: Resets | None = None,
        **inputs: Tensor | Array,
    ) -> _Out: ...

    def step(
        self,
        x: Any,
        rows: Rows | None = None,
        *,
        out: Any = None,
        resets: Resets | None = None,
        **inputs: Any,
    ) -> Any:
        """Read one step of each of the streams.

        Args:
            x: (n, I), a tensor, or a numpy array of float32; of any layout.
            rows: The numbers of n streams, none of them twice; None: of all.
            out: Where the outputs go, (n, H): a tensor without a gradient, or a numpy array, of any
                layout, whose memory the layer does not share.
            resets: The streams that start again before this step, (n,) of bool.
            inputs: What the cell declares beside x, by name: (n,), (n, 1) or (n, H), of the kind of
                `x`.

        Returns:
            The outputs, (n, H): `out`, or a new one of the kind of `x`.

        Raises:
            ShapeError: Another shape, type or device; then nothing was read.
            OptionError: A stream that has left, or twice the same, or an input of the step that is
                missing or not one of the cell's, or weights of int8 that are infinite or NaN by
                now; then nothing was read.
        """
        if inputs or self._inputs.names:
            x = self._inputs.beside_any(x, inputs)
        return self._advance(x, rows, out, resets, None)

    @overload
    def push(
        self,
        chunk: Tensor,
        rows: Rows | None = None,
        *,
        resets: Resets | None = None,
        **inputs: Tensor,
    ) -> Tensor: ...
    @overload
    def push(
        self,
        chunk: Array,
        rows: Rows | None = None,
        *,
        resets: Resets | None = None,
        **inputs: Array,
    ) -> Array: ...
    @overload
    def push(
        self,
        chunk: Tensor | Array,
        rows: Rows | None = None,
        *,
        out: _Out,
        resets: Resets | None = None,
        **inputs: Tensor | Array,
    ) -> _Out: ...

    def push(
        self,
        chunk: Any,
        rows: Rows | None = None,
        *,
        out: Any = None,
        resets: Resets | None = None,
        **inputs: Any,
    ) -> Any:
        """Read the next T steps of each of the streams, (T, n, I) or (n, T, I) as the layer's.

        The rest is as in `step`; the outputs are laid out as `chunk`, and so are `resets`, (T, n).
        """
        if inputs or self._inputs.names:
            chunk = self._inputs.beside_any(chunk, inputs)
        return self._advance(chunk, rows, out, resets, self._layer.batch_first)

    def _advance(
        self, x: Any, rows: Any, out: Any, resets: Resets | None, batch_first: bool | None
    ) -> Any:
        """Read steps; `batch_first` None: one step."""
        if rows is not None and type(rows) not in (np.ndarray, Tensor):
            rows = self._numbers.numbers_of(rows)
        with self._lock:
            rows = self._numbers.all() if rows is None else rows
            if resets is not None:
                return self._long(x, rows, out, resets, batch_first)
            output = self._short(x, rows, out, batch_first)
            return self._long(x, rows, out, None, batch_first) if output is None else output

    def _short(self, x: Any, rows: Any, out: Any, batch_first: bool | None) -> Any:
        """Read steps in one crossing, or return None where that is not to be had."""
        stepper, parameters = self._stepper, self._parameters and self._parameters()
        if stepper is None or parameters is None:
            return None
        if out is None and isinstance(x, np.ndarray):
            out = np.empty((*x.shape[:-1], self._layer.output_size), np.float32)
        return stepper.advance(x, out, parameters, rows, batch_first)

    def _long(
        self, x: Any, rows: Any, out: Any, resets: Resets | None, batch_first: bool | None
    ) -> Any:
        rows = self._numbers.numbers_of(rows)
        slots = self._numbers.slots_of(rows)
        is_array = isinstance(x, np.ndarray)
        tensor = tensor_of_array(x) if is_array else x
        self._check_input(tensor, len(slots), batch_first)
        if out is not None:
            check_out(self._where, out, (*tensor.shape[:-1], self._layer.output_size), tensor)
        marks = None
        if resets is not None:
            marks = checked_resets(self._where, resets, tuple(tensor.shape[:-1]), tensor.device)
        output, state = None, None
        if self._prepare is not None and tensor.numel():
            known = self._stepper
            self._stepper = self._prepare(known, self._places) if may_step(tensor) else None
            if out is not None and marks is None:  # unless `x` and it share memory
                output = self._short(x, rows, out, batch_first)
                if output is not None:
                    return output
            output = self._short(tensor, rows, None, batch_first) if marks is None else None
        if output is None:
            if marks is None:
                self._weight_cache.clear_unscaled()
            with naming_unscaled(self._layer, "streams"):
                output, state = self._by_layer(tensor, slots, marks, batch_first)
        out = put_out(output, out, as_array=is_array)
        if state is not None:
            self._write(slots, state)
        return out

    @torch.no_grad()
    def _by_layer(
        self, x: Tensor, slots: NDArray[np.int64], marks: Tensor | None, batch_first: bool | None
    ) -> tuple[Tensor, State | None]:
        """Return the outputs by the layer's own call, and the states then."""
        time_dim = 1 if self._layer.batch_first else 0
        chunk = x.unsqueeze(time_dim) if batch_first is None else x
        if marks is not None and batch_first is None:
            marks = marks.unsqueeze(time_dim)
        if not chunk.numel():
            return x.new_zeros((*x.shape[:-1], self._layer.output_size)), None
        state = self._read(slots)
        with caching_weights(self._weight_cache):
            if self._stepper is not None:  # of a kernel, rows do not depend on one another
                output, state = self._call(chunk, state, marks)
            else:
                output, state = self._row_by_row(chunk, state, marks)
        return output.squeeze(time_dim) if batch_first is None else output, state

    def _row_by_row(
        self, chunk: Tensor, state: State, marks: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return what the layer makes of each row alone."""
        batch_dim = 0 if self._layer.batch_first else 1

        def alone(part: Tensor, dim: int, row: int) -> Tensor:
            # in memory of its own: the bits of torch's products depend on where a row begins
            return part.narrow(dim, row, 1).clone(memory_format=torch.contiguous_format)

        outputs, ends = [], []
        for row in range(chunk.shape[batch_dim]):
            before = map_state(partial(alone, dim=1, row=row), state)
            own = None if marks is None else alone(marks, batch_dim, row)
            output, end = self._call(alone(chunk, batch_dim, row), before, own)
            outputs.append(output)
            ends.append(state_tensors(end))
        after = iter(torch.cat(parts, 1) for parts in zip(*ends, strict=True))
        return torch.cat(outputs, batch_dim), map_state(lambda _: next(after), state)

    def _call(self, rows: Tensor, state: State, marks: Tensor | None) -> tuple[Tensor, State]:
        x, inputs = self._inputs.apart(rows)
        with reading_on(None, 1) if is_observed() else nullcontext():
            return self._layer(x, state, resets=marks, **inputs)

    # ---- Arguments -------------------------------------------------------------------------------

    def _slots_of(self, rows: Any) -> NDArray[np.int64]:
        """Return where the streams are that `rows` names, all of them if it is None."""
        return self._numbers.slots_of(self._numbers.numbers_of(rows))

    def _check_input(self, x: Any, count: int, batch_first: bool | None) -> None:
        if not isinstance(x, Tensor):
            raise ShapeError(
                f"{self._where}: x must be a tensor or a numpy array, got {type(x).__name__}"
            )
        size, width = self._layer.input_size, self._inputs.width
        shape = (*x.shape[:-1], x.shape[-1] - width) if x.dim() else ()
        layouts = {None: f"({count}, {size})", False: f"(T, {count}, {size})"}
        expected = layouts.get(batch_first, f"({count}, T, {size})")
        fits = len(shape) == (2 if batch_first is None else 3) and shape[-1] == size
        if not fits or shape[1 if batch_first is False else 0] != count:
            raise ShapeError(
                f"{self._where}: the input must be {expected} for {count} streams, got {shape}",
                "a row for each stream; step() takes one step, push() a chunk of steps",
            )
        like = self._places.states[0] if self._places.states else x
        check_dtype(self._where, x, like)
        if x.device != like.device:
            raise ShapeError(
                f"{self._where}: the input is on {x.device}, the states are on {like.device}",
                f"convert: input.to({str(like.device)!r})",
            )

    # ---- Weights and copies ----------------------------------------------------------------------

    def refresh(self) -> None:
        """Read all weights again before the next step; the states stay."""
        with self._lock:
            self._forget_weights()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: all but packed weights, which it packs again."""
        left_out = ("_lock", "_weight_cache", "_stepper", "_places")
        with self._lock:
            attributes = {name: v for name, v in self.__dict__.items() if name not in left_out}
            attributes["_state"] = map_state(torch.clone, self._state)
            attributes["_numbers"] = copy(self._numbers)
        return attributes

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__ |= kept
        self._places = Places(state_tensors(self._state), self._numbers.by_slot)
        self._lock = RLock()
        self._forget_weights()
