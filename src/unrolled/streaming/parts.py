"""What a running stream is made of: parts that turn pieces of a sequence into pieces of another.

A part is given the next steps of what it reads and returns the next steps of what it gives, None
where there are none yet. What it must remember from piece to piece is its own.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError
from unrolled.kernels import WeightFormat
from unrolled.layers import RecurrentLayer, State, Stream, map_state

__all__ = [
    "BATCH",
    "STEPS",
    "Align",
    "Apply",
    "Drop",
    "Hold",
    "Layer",
    "Pad",
    "Part",
    "Pick",
    "Running",
    "Slot",
    "TorchLayer",
    "Window",
    "not_stored",
]

Pieces = Sequence[Any]


class Part(Protocol):
    """One part of a running stream."""

    def run(self, pieces: Pieces) -> Any:
        """Return the next steps, of the next steps of each input."""
        ...

    def reset(self, rows: Tensor | None) -> None:
        """Begin again: `rows`, a mask (B,), or all if None."""
        ...


def not_stored(
    layer: nn.Module, weights: WeightFormat, why: str, hint: str = 'use weights="f32"'
) -> OptionError:
    """Return the error that says why a layer's weights cannot be stored so."""
    where = f'stream: weights="{weights}": {type(layer).__name__}'
    return OptionError(f"{where} cannot have them: {why}", hint)


class Slot(int):
    """Among the arguments of a call: the input of that number."""


class _Size(str):
    """Among the arguments of a call: a size that differs from piece to piece."""


STEPS, BATCH = _Size("steps"), _Size("batch")
"""Stand for the number of steps of a piece, and of its rows."""


class Apply:
    """A function or a module of each step by itself.

    Args:
        function: Of tensors.
        arguments: Its arguments; a `Slot` for each input, `STEPS` and `BATCH` for sizes.
        keywords: The same, by name.
        time: The axis of the first input that is time.
        batch: The axis that is the batch.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        keywords: dict[str, Any],
        time: int,
        batch: int,
    ) -> None:
        self._function, self._arguments, self._keywords = function, tuple(arguments), keywords
        self._time, self._batch = time, batch
        self._is_unary = not keywords and len(arguments) == 1 and type(arguments[0]) is Slot

    def run(self, pieces: Pieces) -> Any:
        """Return what the function makes of the pieces."""
        if self._is_unary:
            return self._function(pieces[0])

        def filled(value: Any) -> Any:
            kind = type(value)
            if kind is Slot:
                return pieces[value]
            if kind is _Size:
                return pieces[0].shape[self._time if value is STEPS else self._batch]
            if kind in (tuple, list):
                return kind(map(filled, value))
            return value

        keywords = {name: filled(value) for name, value in self._keywords.items()}
        return self._function(*map(filled, self._arguments), **keywords)

    def reset(self, rows: Tensor | None) -> None:
        """Do nothing: it remembers nothing."""


class Pick:
    """One of several tensors that a function returned."""

    def __init__(self, index: int) -> None:
        self._index = index

    def run(self, pieces: Pieces) -> Any:
        """Return it."""
        return pieces[0][self._index]

    def reset(self, rows: Tensor | None) -> None:
        """Do nothing: it remembers nothing."""


class Layer:
    """A layer of this package, by its own stream."""

    def __init__(self, layer: RecurrentLayer | Any, batch_size: int) -> None:
        self._layer = layer
        self._stream: Stream = layer.stream(batch_size)
        self._time = 1 if layer.batch_first else 0

    def run(self, pieces: Pieces) -> Tensor:
        """Return the layer's output; of a single step by the way that is short."""
        (x,) = pieces
        if x.shape[self._time] == 1:
            output: Tensor = self._stream.step(x.squeeze(self._time))
            return output.unsqueeze(self._time)
        return self._stream.push(x)

    def store(self, weights: WeightFormat) -> None:
        """Begin again with weights that are stored so.

        Raises:
            OptionError: The layer cannot be read with such weights.
        """
        if not isinstance(self._layer, RecurrentLayer):
            raise not_stored(self._layer, weights, "only recurrent layers have them")
        self._stream = self._layer.stream(self._stream.batch_size, weights=weights)

    def reset(self, rows: Tensor | None) -> None:
        """Begin again."""
        self._stream.reset(rows)


class TorchLayer:
    """A recurrent layer of torch, with its state."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer: Any = layer
        self._state: State | None = None

    def store(self, weights: WeightFormat) -> None:
        """Raise `OptionError`: a stream reads the layer as it is."""
        hint = f'unrolled.accelerate(model, weights="{weights}") first, and stream without weights='
        raise not_stored(self._layer, weights, "it is a layer of torch", hint)

    def run(self, pieces: Pieces) -> Tensor:
        """Return the layer's output."""
        output: Tensor
        output, state = self._layer(pieces[0], self._state)
        dtype = next(self._layer.parameters()).dtype  # autocast, which may end, makes it narrow
        self._state = map_state(lambda part: part.to(dtype), state)
        return output

    def reset(self, rows: Tensor | None) -> None:
        """Begin again."""
        if rows is None:
            self._state = None
        elif self._state is not None:
            self._state = map_state(lambda part: _without(part, rows, 1), self._state)


class Window:
    """A function of several steps at a time, such as a convolution.

    Args:
        function: What it does with a piece that is not padded.
        size: Steps that an output sees.
        stride: Steps from one output to the next.
        before: Zeros that stand before the first step.
        time: The axis that is time.
        batch: The axis that is the batch.
    """

    def __init__(
        self, function: Apply, size: int, stride: int, before: int, time: int, batch: int
    ) -> None:
        self._function, self._size, self._stride = function, size, stride
        self._before, self._time, self._batch = before, time, batch
        self._past: Tensor | None = None
        self._skipped = 0  # steps still to come that no output sees

    def run(self, pieces: Pieces) -> Tensor | None:
        """Return the outputs whose steps are all there."""
        x, time = pieces[0], self._time
        if self._past is None:
            self._past = _steps_of(x, time, self._before, 0.0)
        past = torch.cat([self._past, x], time) if self._past.shape[time] else x
        if self._skipped:
            skipped = min(self._skipped, past.shape[time])
            self._skipped -= skipped
            past = past.narrow(time, skipped, past.shape[time] - skipped)
        length = past.shape[time]
        count = (length - self._size) // self._stride + 1
        if count < 1:
            self._past = past.clone()
            return None
        seen = min(count * self._stride, length)
        self._skipped += count * self._stride - seen
        self._past = past.narrow(time, seen, length - seen).clone()
        window = past.narrow(time, 0, (count - 1) * self._stride + self._size)
        output: Tensor = self._function.run([window, *pieces[1:]])
        return output

    def reset(self, rows: Tensor | None) -> None:
        """Begin again."""
        if rows is None:
            self._past, self._skipped = None, 0
        elif self._past is not None:
            self._past = _without(self._past, rows, self._batch)


class Running:
    """Sums, or maxima, of all steps until each one.

    Args:
        of_maxima: Whether it is maxima.
        time: The axis that is time.
        batch: The axis that is the batch.
    """

    def __init__(self, *, of_maxima: bool, time: int, batch: int) -> None:
        self._of_maxima, self._time, self._batch = of_maxima, time, batch
        self._last: Tensor | None = None  # sums in double precision, as torch has them inside

    def run(self, pieces: Pieces) -> Tensor:
        """Return the sums or maxima, in the input's type."""
        x: Tensor = pieces[0]
        if self._of_maxima:
            result = x.cummax(self._time).values
            result = result if self._last is None else torch.maximum(result, self._last)
        else:
            result = x.double() if x.is_floating_point() else x
            result = result.cumsum(self._time)
            result = result if self._last is None else result + self._last
        self._last = result.narrow(self._time, result.shape[self._time] - 1, 1).clone()
        return result if result.dtype == x.dtype or self._of_maxima else result.to(x.dtype)

    def reset(self, rows: Tensor | None) -> None:
        """Begin again."""
        if rows is None:
            self._last = None
        elif self._last is not None:
            value = -torch.inf if self._of_maxima else 0.0
            self._last = _without(self._last, rows, self._batch, value)


class Pad:
    """Steps of one number before the first."""

    def __init__(self, count: int, time: int, value: float) -> None:
        self._count, self._time, self._value = count, time, value
        self._is_begun = False

    def run(self, pieces: Pieces) -> Tensor:
        """Return the piece, the first one behind the numbers."""
        x: Tensor = pieces[0]
        if self._is_begun:
            return x
        self._is_begun = True
        return torch.cat([_steps_of(x, self._time, self._count, self._value), x], self._time)

    def reset(self, rows: Tensor | None) -> None:
        """Begin again."""
        assert rows is None
        self._is_begun = False


class Drop:
    """All steps but the first few."""

    def __init__(self, count: int, time: int) -> None:
        self._count, self._time = count, time
        self._left = count

    def run(self, pieces: Pieces) -> Tensor | None:
        """Return the steps behind the first few."""
        (x,) = pieces
        length = x.shape[self._time]
        dropped = min(self._left, length)
        self._left -= dropped
        return x.narrow(self._time, dropped, length - dropped) if dropped < length else None

    def reset(self, rows: Tensor | None) -> None:
        """Begin again."""
        assert rows is None
        self._left = self._count


class Hold:
    """All steps but the last few, which are held back until more have come."""

    def __init__(self, count: int, time: int) -> None:
        self._count, self._time = count, time
        self._held: Tensor | None = None

    def run(self, pieces: Pieces) -> Tensor | None:
        """Return the steps before the last few."""
        (x,), time = pieces, self._time
        x = x if self._held is None else torch.cat([self._held, x], time)
        ready = max(x.shape[time] - self._count, 0)
        self._held = x.narrow(time, ready, x.shape[time] - ready).clone()
        return x.narrow(time, 0, ready) if ready else None

    def reset(self, rows: Tensor | None) -> None:
        """Begin again."""
        assert rows is None
        self._held = None


class Align:
    """Several sequences, of which one comes later than another: as many steps of each."""

    def __init__(self, times: Sequence[int]) -> None:
        self._times = times
        self._waiting: list[Tensor | None] = [None] * len(times)

    def run(self, pieces: Pieces) -> tuple[Tensor, ...] | None:
        """Return the steps that all have; what one has more is kept."""
        waiting = []
        for before, piece, time in zip(self._waiting, pieces, self._times, strict=True):
            both = [each for each in (before, piece) if each is not None]
            waiting.append(torch.cat(both, time) if len(both) == 2 else (both or [None])[0])
        lengths = [
            0 if each is None else each.shape[time]
            for each, time in zip(waiting, self._times, strict=True)
        ]
        count = min(lengths)
        self._waiting, ready = waiting, []
        for index, (each, time) in enumerate(zip(waiting, self._times, strict=True)):
            if count and each is not None:
                ready.append(each.narrow(time, 0, count))
                self._waiting[index] = each.narrow(time, count, lengths[index] - count).clone()
        return tuple(ready) or None

    def reset(self, rows: Tensor | None) -> None:
        """Begin again."""
        assert rows is None
        self._waiting = [None] * len(self._times)


def _steps_of(like: Tensor, time: int, count: int, value: float) -> Tensor:
    shape = list(like.shape)
    shape[time] = count
    return like.new_full(shape, value)


def _without(tensor: Tensor, rows: Tensor, batch: int, value: float = 0.0) -> Tensor:
    """Return `tensor` with the value in those rows of its batch."""
    shape = [1] * tensor.dim()
    shape[batch] = -1
    return tensor.masked_fill(rows.to(tensor.device).view(shape), value)
