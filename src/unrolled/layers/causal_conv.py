"""Causal convolutions with a state, and what the layers made of them have in common.

A causal convolution of kernel size k and dilation d sees the input of now and the k - 1 inputs
that lie d, 2d, ... steps back:

    y[t] = b + sum over j of W[j] x[t - (k - 1 - j) d]

Its state is its last `span` = (k - 1) d inputs, zeros at the start. With k = 3 and d = 2:

    past     input (T = 5)
    x x x x  x x x x x       the window that is convolved
    W   W    W               makes y[0]
             W   W   W       makes y[T-1]
               x x x x       the new past

The networks themselves are in tcn.py and in networks/memoryless.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import OptionError
from unrolled.kernels import (
    Pieces,
    check_lengths,
    lengths_tensor,
    run_pieces,
    valid_steps,
    window_and_past,
)
from unrolled.layers.arguments import checked_states, time_first
from unrolled.layers.observing import is_observed, observe_input, observes_graph
from unrolled.layers.packed_sequence import run_padded
from unrolled.layers.resets import Resets, refuse_resets, time_first_resets
from unrolled.layers.state import State
from unrolled.layers.stream import Stream
from unrolled.layers.streams import Streams

__all__ = ["FiniteMemoryLayer", "causal_conv", "memory_span"]


def memory_span(convolution: nn.Conv1d) -> int:
    """Return how many past inputs `convolution` needs: (kernel size - 1) * dilation."""
    return (convolution.kernel_size[0] - 1) * convolution.dilation[0]


def causal_conv(
    convolution: nn.Conv1d, x: Tensor, past: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Convolve `x` and the inputs before it; return the result and the past of what comes next.

    Args:
        convolution: An unpadded convolution of stride 1, with its dilation.
        x: (B, I, T), features before time as `nn.Conv1d` has them.
        past: (span, B, I), the inputs before `x`.
        lengths: (B,), the steps of each row that count; all of them if None.

    Returns:
        (B, H, T), and the last `span` inputs before each row's end, (span, B, I).
    """
    window, new_past = window_and_past(x, past, lengths)
    return convolution(window), new_past


class FiniteMemoryLayer(nn.Module, ABC):
    """A layer whose output at t depends on the inputs of the last `receptive_field` steps only.

    It holds the calling convention: layouts, checks, ragged batches, the state. A network derives
    from it and says in `_run` how it computes.

    Args:
        input_size: I, features of each input step.
        output_size: H, features of each output step.
        memory: (span, channels) of each convolution's past inputs, in the order of the state.
        batch_first: Whether input and output are (B, T, ...) instead of (T, B, ...).
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        memory: Sequence[tuple[int, int]],
        batch_first: bool,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = output_size
        self.batch_first = batch_first
        self._memory = tuple(memory)

    @abstractmethod
    def _run(
        self, x: Tensor, past: tuple[Tensor, ...], lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the output, (T, B, H), and the new past for `x`, (T, B, I)."""

    def _run_compiled(
        self,
        x: Tensor,  # noqa: ARG002  # for those that have a kernel
        past: tuple[Tensor, ...] | None,  # noqa: ARG002
        lengths: Tensor | None,  # noqa: ARG002
        pieces: Pieces | None,  # noqa: ARG002
    ) -> tuple[Tensor, tuple[Tensor, ...]] | None:
        """Return what `_run` does, by a kernel, or None where there is none for these tensors.

        It reads no padding, and what is past a row's end is zero. Without a past it begins. Of
        `pieces` it reads each as if alone.
        """
        return None

    @property
    def receptive_field(self) -> int:
        """How many steps an output sees: its own and those before it."""
        return 1 + sum(steps for steps, _ in self._memory)

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """Return the state at the start of a sequence, which is all zeros."""
        # where jit.trace refuses a weight: here, before it has noted sizes
        like = next(self.parameters()).detach()
        return tuple(like.new_zeros(steps, batch_size, size) for steps, size in self._memory)

    def stream(self, batch_size: int = 1) -> Stream:
        """Return a `Stream` that reads `batch_size` sequences piece by piece."""
        return Stream(self, batch_size)

    def streams(self, capacity: int) -> Streams:
        """Return `Streams`: up to `capacity` of them, which come and go, any of them in a call."""
        return Streams(self, capacity)

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Resets | None = None,
    ) -> tuple[Any, tuple[Tensor, ...]]:
        """Run the layer over a batch of sequences.

        Args:
            input: (T, B, I), or (B, T, I) if `batch_first`; (T, I) for a sequence without a batch;
                or a PackedSequence.
            hx: The state that an earlier call returned, to go on from there.
            lengths: (B,), how many steps of each row count, zero allowed. What lies past the end
                of a row is not read: its output is zero and its state is the one at its end.
            resets: Before which steps a row starts anew, with a past of zeros: bool, laid out as
                the input, (T, B). Each piece of a row is read as if alone, to the last bit by the
                kernel; gradients stop there. `hx` is that of a row's first piece, unless there is
                a mark before its first step. Not with a PackedSequence.

        Returns:
            The output, laid out as the input with H features, and the state: for each convolution
            its last inputs, (span, B, channels), or (span, channels) without a batch.

        Raises:
            ShapeError: Input, state, lengths or resets do not fit the layer or one another.
            OptionError: There are resets while somebody looks into the layer, or torch makes a
                graph of it.
        """
        refuse_resets(type(self).__name__, resets, input)
        if isinstance(input, PackedSequence):
            return run_padded(self, input, hx, lengths)
        where, weight = type(self).__name__, next(self.parameters())
        x, batched = time_first(where, input, self.input_size, self.batch_first, weight)
        num_steps, batch_size = x.shape[:2]
        past = None if hx is None else self._past_of(hx, batch_size, batched, weight)
        if observes_graph():
            x = observe_input(self, 0, x)
        if lengths is not None:
            lengths = lengths if batched else lengths_tensor(lengths).reshape(-1)
            lengths = check_lengths(where, lengths, num_steps, batch_size, x.device)

        pieces = None
        if resets is not None:
            marks = time_first_resets(where, resets, input, self.batch_first)
            pieces = Pieces.of(lengths, marks)
            if is_observed():
                raise OptionError(
                    f"{where}: cannot be looked into with resets=", "trace its pieces, each alone"
                )
        results = self._run_compiled(x, past, lengths, pieces)
        if results is None:
            past = self.initial_state(batch_size) if past is None else past
            run = self._run_by_torch
            results = run(x, past, lengths) if pieces is None else run_pieces(run, x, past, pieces)
        output, state = results
        if not batched:
            return output.squeeze(1), tuple(part.squeeze(1) for part in state)
        return output.transpose(0, 1) if self.batch_first else output, state

    def _run_by_torch(
        self,
        x: Tensor,
        past: tuple[Tensor, ...],
        lengths: Tensor | None,
        places: Tensor | None = None,  # noqa: ARG002  # of `run_pieces`
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what `_run` does, with zeros for what is past a row's end."""
        if lengths is None:
            return self._run(x, past, None)
        # x.shape[0], for a tracer takes len(x) for a number
        padding = ~valid_steps(lengths, x.shape[0]).unsqueeze(2)  # (T, B, 1)
        output, state = self._run(x.masked_fill(padding, 0.0), past, lengths)
        return output.masked_fill(padding, 0.0), state

    def _past_of(
        self, hx: State, batch_size: int, batched: bool, weight: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the past inputs of each convolution, (span, B, channels) each."""
        rows = (batch_size,) if batched else ()
        shapes = [(steps, *rows, size) for steps, size in self._memory]
        names = [str(index) for index in range(len(shapes))]
        past = checked_states(type(self).__name__, hx, names, shapes, weight)
        return past if batched else tuple(part.unsqueeze(1) for part in past)
