"""A whole model in the middle of its sequences: `stream(model)`, which returns a `ModelStream`."""

from collections.abc import Sequence
from typing import Any, Protocol, overload, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unrolled.errors import OptionError, ShapeError, UnrolledError
from unrolled.kernels import WeightFormat
from unrolled.layers import row_mask, tensor_of_array
from unrolled.streaming.following import Follower, Rules, Step
from unrolled.streaming.functions import call_function
from unrolled.streaming.modules import call_module
from unrolled.streaming.parts import Apply, Layer, Part, Pick, TorchLayer, not_stored
from unrolled.streaming.reading import EXAMPLES, Reading, likely_readings
from unrolled.streaming.values import Series, marker_sizes, refusal

__all__ = ["ModelStream", "Streamed", "stream"]

_WHERE, _CHUNK, _STEP = "stream", "stream: a chunk", "stream: a step, with an axis for time,"


@runtime_checkable
class Streamed(Protocol):
    """A model whose `forward` is not what a stream of it does."""

    def streamed(self) -> tuple[nn.Module, str]:
        """Return the module that a stream follows, with this model's weights, and what it reads."""
        ...


def stream(
    model: nn.Module,
    batch_size: int = 1,
    *,
    reads: str | None = None,
    weights: WeightFormat = "f32",
) -> "ModelStream":
    """Return a causal model as one stream: it reads its sequences piece by piece.

    The model is followed once through its `forward`, functions and modules; then random steps are
    given to the model and, cut into pieces, to the stream, which must say the same.

    It may be made of the layers of this package and of torch's recurrent ones, of one direction; of
    Linear, Embedding, Conv1d (strided too, padded on the left, or on both sides with as many steps
    taken off the end), pooling of a few steps; of BatchNorm1d in evaluation mode, LayerNorm and
    RMSNorm over features; of activations, sums, products, cat, transposes and reshapes that keep
    steps apart. What is taken from a part of the model, such as its weights, is the present one.

    Args:
        model: In evaluation mode where that matters. Its first output with steps of time is that of
            the stream; states that it returns beside it are left out. A model that has a method
            `streamed()` says by it which module is followed: a classifier one that gives the scores
            of what was read so far, a tagger one that reads the features of words.
        batch_size: B, how many sequences are read at once.
        reads: The axes of its input, in order: B, T, and how many features; "B T 40", "B 40 T",
            "T B 40", or "B T" for tokens. None: as the first part that has weights reads it.
        weights: How the matrices of its recurrent layers are stored, "f32", "bf16" or "int8", as
            `layer.stream` has it; what lies around the layers stays as it is.

    Raises:
        OptionError: Something in the model cannot be streamed, or has no such weights; the error
            names it.

    Example:
        >>> import torch, unrolled
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv1d(3, 8, 5), nn.ReLU(), nn.Conv1d(8, 2, 1))
        >>> reader = unrolled.stream(model)
        >>> reader.delay  # a step's output comes with the fourth step after it
        4
        >>> reader.push(torch.zeros(1, 3, 10)).shape
        torch.Size([1, 2, 6])
        >>> reader.step(torch.zeros(1, 3)).shape
        torch.Size([1, 2])
    """
    if not isinstance(model, nn.Module):
        raise OptionError(f"{_WHERE}: needs a module, got {type(model).__name__}")
    if type(batch_size) is not int or batch_size < 1:
        raise OptionError(f"{_WHERE}: batch_size must be at least 1, got {batch_size!r}")
    if isinstance(model, Streamed):
        model, own = model.streamed()
        reads = reads or own
    reader = _reader(model, batch_size, reads)
    if weights != "f32":
        reader._store(weights)
    return reader


def _reader(model: nn.Module, batch_size: int, reads: str | None) -> "ModelStream":
    if reads is not None:
        dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
        return ModelStream(model, batch_size, Reading.of(reads, dtype))
    problem: UnrolledError | None = None
    for reading in likely_readings(model):
        try:
            return ModelStream(model, batch_size, reading)
        except OptionError as error:
            problem = problem or error
    assert problem is not None
    raise problem


class ModelStream:
    """A model in the middle of `batch_size` sequences; made by `unrolled.stream`.

    However a sequence is cut into pieces, the outputs are those of the whole: the same bits where
    the model's parts are layers of this package and what treats each number by itself, and
    within rounding where torch multiplies matrices (Linear, Conv1d), whose order of sums depends
    on how many steps it is given. No gradients are kept. One thread at a time.

    Attributes:
        batch_size: B.
        delay: In input steps: output j comes with input step j * rate + delay.
        rate: Input steps for each output step.
    """

    def __init__(self, model: nn.Module, batch_size: int, reading: Reading) -> None:
        self.batch_size = batch_size
        self._model, self._reading = model, reading
        follower, output = _followed(model, reading, batch_size)
        self._output_shape = tuple(output.sample.shape)
        self._output_dtype = output.sample.dtype
        self._time, self._batch = output.time, output.batch
        self._source, self._end = follower.source.slot, output.slot
        self._steps: list[Step] = _needed(follower.steps, output.slot)
        self._num_slots = follower.num_slots
        self.delay, self.rate = max(output.first, 0), output.rate
        self._is_even = output.first == 0 and output.rate == 1
        self._is_torn = False  # some parts have read a piece, and others have not
        self._prove(follower.reads_tokens)
        self.reset()

    @overload
    def push(self, chunk: Tensor) -> Tensor: ...
    @overload
    def push(self, chunk: NDArray[Any]) -> NDArray[Any]: ...

    @torch.no_grad()
    def push(self, chunk: Any) -> Any:
        """Read the next steps, laid out as the model's input; return the outputs that they bring.

        Raises:
            ShapeError: Another shape or type; then nothing was read.
            OptionError: The weights of a layer can no longer be stored as they were wanted, being
                infinite or NaN; or an error came up in an earlier piece, which some parts
                remember, and `reset` has not begun all rows again.
        """
        x = _tensor(chunk)
        self._reading.check(x, self.batch_size, _CHUNK)
        output = self._run(x) if x.shape[self._reading.time] else None
        if output is None:
            shape = list(self._output_shape)
            shape[self._time], shape[self._batch] = 0, self.batch_size
            output = torch.empty(shape, dtype=self._output_dtype, device=x.device)
        return output if isinstance(chunk, Tensor) else output.numpy(force=True)

    @torch.no_grad()
    def step(self, x: Any) -> Any:
        """Read one step: a tensor or an array laid out as the model's input, without time.

        Returns:
            The output, without time; None if the step brings none yet.

        Raises:
            ShapeError: Another shape or type; then nothing was read. Or a step brings several
                outputs.
            OptionError: As `push`.
        """
        tensor = _tensor(x)
        time = min(self._reading.time, tensor.dim())
        chunk = tensor.unsqueeze(time)
        self._reading.check(chunk, self.batch_size, _STEP)
        output = self._run(chunk)
        if output is None:
            return None
        if output.shape[self._time] != 1:
            got = output.shape[self._time]
            raise ShapeError(f"{_WHERE}: this step brings {got} outputs", "push() returns them all")
        output = output.squeeze(self._time)
        return output if isinstance(x, Tensor) else output.numpy(force=True)

    def _run(self, x: Tensor) -> Tensor | None:
        if self._is_torn:
            message = f"{_WHERE}: an error came up in a piece that some parts of the model remember"
            raise OptionError(message, "reset() begins all rows again")
        pieces: list[Any] = [None] * self._num_slots
        pieces[self._source] = x
        try:
            for step in self._steps:
                read = [pieces[slot] for slot in step.inputs]
                if not step.is_several:
                    for piece in read:
                        if piece is None:
                            break  # nothing comes of it yet
                    else:
                        pieces[step.outputs[0]] = step.part.run(read)
                elif (results := step.part.run(read)) is not None:
                    for slot, piece in zip(step.outputs, results, strict=True):
                        pieces[slot] = piece
        except BaseException:
            self._is_torn = self._is_remembered(step.part)
            raise
        output: Tensor | None = pieces[self._end]
        return output

    def _is_remembered(self, failed: Part) -> bool:
        """Whether a part remembers the piece that `failed` could not read."""
        parts = [step.part for step in self._steps]
        read = parts[: parts.index(failed)]
        if not isinstance(failed, (Layer, TorchLayer)):  # these read all of a piece or nothing
            read.append(failed)
        return not all(isinstance(part, (Apply, Pick)) for part in read)

    def reset(self, rows: Tensor | Sequence[int] | None = None) -> None:
        """Start `rows` again (indices, or a boolean mask, (B,)), or all rows.

        Raises:
            ShapeError: Rows that there are not.
            OptionError: Single rows of a model whose outputs come later than its inputs, so that
                rows cannot be at different places.
        """
        mask = None if rows is None else row_mask(_WHERE, rows, self.batch_size)
        if mask is not None and not self._is_even:
            message = f"{_WHERE}: all rows of a model with a delay or a stride begin together"
            raise OptionError(message, "reset() starts all again; or a stream for each")
        for step in self._steps:
            step.part.reset(mask)
        self._is_torn = self._is_torn and mask is not None

    def _store(self, weights: WeightFormat) -> None:
        """Begin again with the matrices of all recurrent layers stored so.

        Raises:
            OptionError: There are none, or one that cannot have them.
        """
        layers = [s.part for s in self._steps if isinstance(s.part, (Layer, TorchLayer))]
        if not layers:
            raise not_stored(self._model, weights, "it has no recurrent layer")
        for layer in layers:
            layer.store(weights)
        self.reset()

    def _prove(self, num_tokens: int | None) -> None:
        """Raise `OptionError` unless pieces of random steps give what the model gives of all."""
        num_steps = self.delay + 4 * self.rate + 5
        shape = self._reading.shape(self.batch_size, num_steps)
        generator = torch.Generator().manual_seed(0)
        device = next((p.device for p in self._model.parameters()), torch.device("cpu"))
        if self._reading.dtype.is_floating_point:
            x = torch.randn(shape, generator=generator).to(device, self._reading.dtype)
        else:
            x = torch.randint(num_tokens or 2, shape, generator=generator).to(device)
        with torch.no_grad():
            whole = _tensors(self._model(x))
            cuts = [1, 2, num_steps - 3 - num_steps // 3, num_steps // 3]
            pieces = [self.push(piece) for piece in torch.split(x, cuts, self._reading.time)]
        joined = torch.cat(pieces, self._time)
        same = [w for w in whole if w.shape == joined.shape and _are_close(w, joined)]
        if not same:
            why = "says something else of a sequence in pieces than of the whole"
            hint = "does it count steps, or remember something of its own?"
            raise refusal(type(self._model).__name__, why, hint)


def _followed(model: nn.Module, reading: Reading, batch_size: int) -> tuple[Follower, Series]:
    """Return a follower that has been through the model, and what is known of its output."""
    marker, num_steps = marker_sizes(model)
    sample = torch.empty(reading.shape(marker, num_steps), dtype=reading.dtype, device="meta")
    rules = Rules(call_function, call_module)
    follower = Follower(model, rules, sample, reading.time, reading.batch, batch_size)
    try:
        result = follower.follow(model)
    except UnrolledError as error:
        if isinstance(error, OptionError):
            raise
        raise _misread(follower, reading, error) from error
    except Exception as error:
        raise _misread(follower, reading, error) from error
    outputs = [s for tensor in _tensors(result) if (s := follower.series_of(tensor)) is not None]
    if not outputs:
        why = "gives nothing that has the steps of its input"
        raise refusal(type(model).__name__, why, "return the output of every step")
    output = outputs[0]
    if output.emitted < output.length:
        count = output.length - output.emitted
        why = f"looks {count} steps ahead: its padding is not causal"
        raise refusal(output.ahead, why, "pad the past alone, by F.pad(x, (n, 0)), or cut the end")
    return follower, output


def _misread(follower: Follower, reading: Reading, error: Exception) -> OptionError:
    reason = str(error).strip().split("\n")[0]
    why = f"cannot be followed on ({', '.join(reading.axes)}): {reason}"
    return refusal(follower.where(""), why, f"say what the model reads, {EXAMPLES}")


def _needed(steps: Sequence[Step], end: int) -> list[Step]:
    """Return the steps that the value in the slot `end` is made of."""
    needed, used = {end}, []
    for step in reversed(steps):
        if needed.intersection(step.outputs):
            needed.update(step.inputs)
            used.append(step)
    return used[::-1]


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, (tuple, list)):
        return [tensor for part in result for tensor in _tensors(part)]
    return [result] if isinstance(result, Tensor) else []


def _are_close(a: Tensor, b: Tensor) -> bool:
    if not a.is_floating_point():
        return bool((a == b).float().mean() > 0.9)  # numbers of classes: ties may fall otherwise
    tolerance = torch.finfo(a.dtype).eps ** 0.5 * max(1.0, float(a.abs().max()))
    return bool((a - b).abs().max() <= tolerance)


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else tensor_of_array(x)
