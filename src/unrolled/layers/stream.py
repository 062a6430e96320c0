"""Streaming: a layer that is given its sequence piece by piece and remembers where it is."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.errors import OptionError, ShapeError
from unrolled.kernels import (
    NetworkStepper,
    Stepper,
    WeightCache,
    WeightFormat,
    are_weights_cached,
    caching_weights,
    check_memory,
    may_step,
    may_use_kernels,
)
from unrolled.layers.arguments import autocast_dtype, check_out, tensor_of_array
from unrolled.layers.bound_step import BoundStep
from unrolled.layers.intervening import StepsRead, reading_on
from unrolled.layers.observing import is_observed
from unrolled.layers.options import check_count
from unrolled.layers.resets import Resets, checked_resets, time_first_resets
from unrolled.layers.smaller_weights import naming_unscaled
from unrolled.layers.state import SequenceLayer, State, map_state, state_tensors
from unrolled.layers.step_inputs import StepInputs
from unrolled.layers.streamable import check_streamable, put_out, row_mask

__all__ = ["Stream"]

Array = NDArray[np.float32]
_Out = TypeVar("_Out", Tensor, Array)

_A_STATE = "assign what `state` gave, or the state that the layer returns"


class Stream:
    """A layer in the middle of `batch_size` sequences; made by `layer.stream(batch_size)`.

    However a sequence is cut into pieces, the outputs are those of the whole. No gradients are
    kept. Weights that change are read again: at once those that torch counts as changed, and those
    of which a sample of 16 numbers differs. What changes a few numbers without torch's knowledge -
    by `.data`, or in another process that shares the memory - is seen within 32 steps of a row, in
    one call or several; at once after `refresh`. One thread at a time.
    `copy.copy(stream)` is a second reader that goes on from here with the same layer;
    `copy.deepcopy` and pickle copy the layer too.

    Args:
        layer: A recurrent or convolutional layer that reads forwards, in evaluation mode if it
            has dropout.
        batch_size: The number of sequences, B.
        prepare: Returns a stepper with the layer's present weights, which may be the one that it
            is given, or None where there can be none.
        parameters: Returns the layer's parameters by name, or None where a step is more than to
            compute with them.
        weights: How weights are stored; what is not "f32" has been asked of the layer.
        inputs: What the layer reads at every step beside x; None: nothing.

    Raises:
        OptionError: The layer reads backwards too, or would drop units at random.

    Example:
        >>> import torch, unrolled
        >>> layer = unrolled.GRU(3, 4)
        >>> stream = layer.stream(batch_size=2)
        >>> stream.push(torch.zeros(5, 2, 3)).shape
        torch.Size([5, 2, 4])
        >>> stream.step(torch.zeros(2, 3)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        layer: SequenceLayer,
        batch_size: int,
        prepare: Callable[[Any], Stepper | NetworkStepper | None] | None = None,
        parameters: Callable[[], dict[str, Any] | None] | None = None,
        weights: WeightFormat = "f32",
        inputs: StepInputs | None = None,
    ) -> None:
        where = f"{type(layer).__name__}.stream"
        check_streamable(where, layer)
        check_count(where, "batch_size", batch_size)
        self._layer = layer
        self.batch_size = batch_size
        self._inputs = StepInputs(where) if inputs is None else inputs
        self._weight_cache = WeightCache(weights)
        self._steps_read: StepsRead = {}
        self._prepare, self._parameters = prepare, parameters
        self._stepper: Stepper | NetworkStepper | None = None
        self._initial_state: Callable[[int], State] = layer.initial_state
        # the state, or None while it is in the stepper
        self._state: State | None = self._start()

    @torch.no_grad()
    def _start(self) -> State:
        return map_state(torch.clone, self._initial_state(self.batch_size))

    @property
    def state(self) -> State:
        """The layer's state after what was pushed so far."""
        if self._state is None:
            assert self._stepper is not None
            tensors = iter(state.clone() for state in self._stepper.states)
            self._state = map_state(lambda _: next(tensors), self._layer.initial_state(0))
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        where = f"{type(self._layer).__name__}.stream: state"
        expected = [tuple(part.shape) for part in state_tensors(self._start())]
        try:
            parts = state_tensors(state)
            shapes = [tuple(part.shape) for part in parts]
        except (AttributeError, TypeError):
            got = f"{state!r:.60}"
            raise ShapeError(f"{where}: expected {expected}, got {got}", _A_STATE) from None
        if shapes != expected:
            raise ShapeError(f"{where}: expected {expected}, got {shapes}", _A_STATE)
        for part in parts:
            check_memory(where, part)
        self._state = state

    @overload
    def push(self, chunk: Tensor, *, resets: Resets | None = None, **inputs: Tensor) -> Tensor: ...
    @overload
    def push(self, chunk: Array, *, resets: Resets | None = None, **inputs: Array) -> Array: ...
    @overload
    def push(
        self,
        chunk: Tensor | Array,
        *,
        out: _Out,
        resets: Resets | None = None,
        **inputs: Tensor | Array,
    ) -> _Out: ...

    def push(
        self, chunk: Any, *, out: Any = None, resets: Resets | None = None, **inputs: Any
    ) -> Any:
        """Read the next steps.

        Args:
            chunk: (T, B, I), or (B, T, I) if the layer's are; a tensor, or a numpy array of
                float32; of any layout.
            out: Where the outputs go, as `step` has it, laid out as `chunk`.
            resets: Before which steps a row starts again, as the layer has it: bool, laid out as
                `chunk`, (T, B).
            inputs: What the cell declares beside x, by name: (T, B), (T, B, 1) or (T, B, H), laid
                out and of the kind of `chunk`.

        Returns:
            The outputs, laid out as `chunk`: `out`, or a new one of its kind.

        Raises:
            ShapeError: Another shape or type; then nothing was read.
            OptionError: An input of the steps is missing, or is not one of the cell's; or weights
                of int8 are infinite or NaN by now. Then nothing was read.
        """
        if inputs or self._inputs.names:
            chunk = self._inputs.beside_any(chunk, inputs)
        if resets is not None:
            return self._long(chunk, out, partial(self._push_tensor, resets=resets))
        output = self._advance(chunk, out) if getattr(chunk, "ndim", 0) == 3 else None
        return self._long(chunk, out, self._push_tensor) if output is None else output

    def _advance(self, chunk: Any, out: Any) -> Any:
        """Read a chunk in one crossing, or return None where that is not to be had."""
        if self._state is not None or self._stepper is None or self._parameters is None:
            return None
        parameters = self._parameters()
        if parameters is None or are_weights_cached():  # many who share one copy of them
            return None
        if out is None and isinstance(chunk, np.ndarray):
            out = np.empty((*chunk.shape[:2], self._layer.output_size), np.float32)
        return self._stepper.advance(chunk, out, parameters, None, self._layer.batch_first)

    @torch.no_grad()
    def _push_tensor(self, chunk: Tensor, resets: Resets | None = None) -> Tensor:
        batch_dim = 0 if self._layer.batch_first else 1
        where = f"{type(self._layer).__name__}.stream"
        if chunk.dim() != 3:
            layout = "(B, T, I)" if self._layer.batch_first else "(T, B, I)"
            raise ShapeError(
                f"{where}: a chunk must be 3-D {layout}, got {chunk.dim()}-D",
                "step() takes single steps",
            )
        if chunk.shape[batch_dim] != self.batch_size:
            raise ShapeError(
                f"{where}: has {self.batch_size} rows, the input has {chunk.shape[batch_dim]}",
                "stream(batch_size) says how many",
            )
        time_dim = 1 - batch_dim
        if not chunk.shape[time_dim]:
            if chunk.shape[-1] == self._layer.input_size + self._inputs.width:
                return chunk.new_zeros(*chunk.shape[:-1], self._layer.output_size)
        if resets is None and not are_weights_cached() and self._ready(chunk) is not None:
            output: Tensor | None = self._advance(chunk, None)
            if output is not None:
                return output
            self._weight_cache.clear_unscaled()
        if resets is not None and self._initial_state != self._layer.initial_state:
            return self._push_parts(chunk, resets)
        before = self.state
        num_steps = chunk.shape[time_dim]
        counting = reading_on(self._steps_read, num_steps) if is_observed() else nullcontext()
        with caching_weights(self._weight_cache), counting:
            check_streamable(where, self._layer)  # it may have been taken back to training mode
            x, inputs = self._inputs.apart(chunk)
            output, after = self._layer(x, before, resets=resets, **inputs)
        if autocast_dtype(chunk.device) is not None:  # it narrows states, and may end before them
            types = iter([part.dtype for part in state_tensors(before)])
            after = map_state(lambda part: part.to(next(types)), after)
        self._state = after
        return output

    def _push_parts(self, chunk: Tensor, resets: Resets) -> Tensor:
        """Read a chunk in parts, where rows start again; the layer would start them from zeros."""
        where, batch_first = f"{type(self._layer).__name__}.stream", self._layer.batch_first
        marks = time_first_resets(where, resets, chunk, batch_first)
        time_dim = 1 if batch_first else 0
        cuts = marks[1:].any(1).nonzero()[:, 0] + 1
        before, outputs = self.state, []
        try:
            for begin, end in pairwise([0, *cuts.tolist(), len(marks)]):
                if bool(marks[begin].any()):
                    self.reset(marks[begin])
                outputs.append(self._push_tensor(chunk.narrow(time_dim, begin, end - begin)))
        except BaseException:
            self.state = before  # nothing was read
            raise
        return torch.cat(outputs, time_dim)

    def refresh(self) -> None:
        """Read all weights again before the next step; the state stays."""
        self.__dict__ |= self.__getstate__()

    def __getstate__(self) -> dict[str, object]:
        """Return what a copy or a pickle holds: all but packed weights, which it packs again."""
        cache = WeightCache(self._weight_cache.weights)
        own = {"_state": self.state, "_steps_read": {**self._steps_read}}
        return self.__dict__ | own | {"_weight_cache": cache, "_stepper": None}

    @overload
    def step(self, x: Tensor, *, resets: Resets | None = None, **inputs: Tensor) -> Tensor: ...
    @overload
    def step(self, x: Array, *, resets: Resets | None = None, **inputs: Array) -> Array: ...
    @overload
    def step(
        self,
        x: Tensor | Array,
        *,
        out: _Out,
        resets: Resets | None = None,
        **inputs: Tensor | Array,
    ) -> _Out: ...

    def step(self, x: Any, *, out: Any = None, resets: Resets | None = None, **inputs: Any) -> Any:
        """Read one step.

        Args:
            x: (B, I), a tensor, or a numpy array of float32; of any layout.
            out: Where its output goes, (B, H): a tensor without a gradient, or a numpy array, of
                any layout, whose memory the layer does not share.
            resets: The rows that start again before this step, (B,) of bool.
            inputs: What the cell declares beside x, by name: (B,), (B, 1) or (B, H), of the kind of
                `x`.

        Returns:
            The output, (B, H): `out`, or a new one of the kind of `x`.

        Raises:
            ShapeError: Another shape or type; then nothing was read.
            OptionError: An input of the step is missing, or is not one of the cell's; or weights of
                int8 are infinite or NaN by now. Then nothing was read.
        """
        if inputs or self._inputs.names:
            x = self._inputs.beside_any(x, inputs)
        if resets is not None and bool((anew := self._rows_of(resets, x)).any()):
            return self._step_anew(x, out, anew)
        if self._state is None and self._stepper is not None and self._parameters is not None:
            parameters = self._parameters()
            if parameters is not None:
                to = out
                if out is None and isinstance(x, np.ndarray):
                    to = np.empty((self.batch_size, self._layer.output_size), np.float32)
                output = self._stepper.short_step(x, to, parameters)
                if output is not None:
                    return output
        return self._long(x, out, self._step_of_tensor)

    def _rows_of(self, resets: Resets, x: Any) -> Tensor:
        where = f"{type(self._layer).__name__}.stream"
        device = x.device if isinstance(x, Tensor) else "cpu"
        return checked_resets(where, resets, (self.batch_size,), device)

    def _step_anew(self, x: Any, out: Any, rows: Tensor) -> Any:
        """Read one step before which some rows start again."""
        before = self.state
        self.reset(rows)
        try:
            return self._long(x, out, self._step_of_tensor)
        except BaseException:
            self.state = before  # nothing was read
            raise

    def bind(self, x: Tensor | Array, out: Tensor | Array) -> BoundStep:
        """Return a step from and to these, for many steps with the same memory.

        Args:
            x: (B, I), float32, whose numbers follow one another: a tensor on CPU, or an array. Each
                step reads what is in it then.
            out: The same for the output, (B, H).

        Raises:
            ShapeError: Another shape, type or layout.
            OptionError: The cell reads more at a step than `x`.

        Example:
            >>> import numpy as np, unrolled
            >>> x, y = np.zeros((1, 3), np.float32), np.zeros((1, 4), np.float32)
            >>> bound = unrolled.GRU(3, 4).stream().bind(x, y)
            >>> x[:] = 1.0
            >>> bound.step() is y
            True
        """
        if names := self._inputs.names:
            raise OptionError(
                f"{type(self._layer).__name__}.stream: bind takes x alone, and each step reads "
                f"{', '.join(names)} too",
                f"step(x, {names[0]}=..., out=...) takes them",
            )
        return BoundStep(self, x, out, (self._layer.input_size, self._layer.output_size))

    def _bound_step(self, x: Array, y: Array, out: Any) -> Callable[[], bool] | None:
        """Return what does a step and says whether it did; None where there can be none now."""
        stepper, parameters = self._stepper, self._parameters
        known = parameters and parameters()
        if stepper is None or parameters is None or known is None:
            return None

        if (bound := stepper.bind(x, y, out, known)) is None:
            return None
        step, address, unchanged, alive = bound

        def run() -> bool:  # in as few calls as can be
            return (
                self._stepper is stepper
                and self._state is None
                and parameters() is known
                and may_use_kernels()
                and unchanged()
                and step(address) is not None
                and alive is not None
            )

        return run

    def _long(self, x: Any, out: Any, read: Callable[[Tensor], Tensor]) -> Any:
        is_array = not isinstance(x, Tensor)
        where = f"{type(self._layer).__name__}.stream"
        try:
            x = tensor_of_array(x) if is_array else x
        except (TypeError, ValueError) as error:  # not of numbers, or in another byte order
            got = getattr(x, "dtype", type(x).__name__)
            raise ShapeError(
                f"{where}: x must be a tensor or an array of float32, got {got}"
            ) from error
        if out is not None:
            check_out(where, out, (*x.shape[:-1], self._layer.output_size), x)
        with naming_unscaled(self._layer, "stream"):
            return put_out(read(x), out, as_array=is_array)

    def _step_of_tensor(self, x: Tensor) -> Tensor:
        if x.dim() != 2:
            raise ShapeError(
                f"{type(self._layer).__name__}.stream: a step must be 2-D (B, I), got {x.dim()}-D",
                "push() takes chunks of several steps",
            )
        stepper = self._ready(x)
        if stepper is not None and stepper.takes(x):
            return stepper.step(x)
        time_dim = 1 if self._layer.batch_first else 0
        return self._push_tensor(x.unsqueeze(time_dim)).squeeze(time_dim)

    def _ready(self, x: Tensor) -> Stepper | NetworkStepper | None:
        """Return a stepper with the state and the present weights; None if no kernel reads `x`."""
        if self._prepare is None or not may_step(x) or x.dtype is not torch.float32:
            return None
        stepper = self._prepare(self._stepper)
        if stepper is None:
            return None
        if stepper is not self._stepper or self._state is not None:
            states = state_tensors(self.state)
            if not _are_alike(states, stepper.states):
                return None  # the layer says what is wrong with them
            for own, state in zip(stepper.states, states, strict=True):
                own.copy_(state.detach())
            self._stepper = stepper
        self._state = None
        return stepper

    def begin_with(self, initial_state: Callable[[int], State]) -> None:
        """Begin all rows again, now and at each reset with what this gives for B rows."""
        self._initial_state = initial_state
        self.reset()

    def reset(self, rows: Tensor | Sequence[int] | None = None) -> None:
        """Start `rows` again (indices, or a boolean mask, (B,)), or all rows."""
        if rows is None:
            self.state = self._start()
            return
        restart = row_mask(f"{type(self._layer).__name__}.stream", rows, self.batch_size)
        starts = iter(state_tensors(self._start()))

        def begin(part: Tensor) -> Tensor:
            return torch.where(restart.to(part.device)[:, None], next(starts), part)

        self.state = map_state(begin, self.state)


def _are_alike(states: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return [(s.shape, s.dtype, s.device) for s in states] == [
        (o.shape, o.dtype, o.device) for o in others
    ]
