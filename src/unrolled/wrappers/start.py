"""Initial states that are learned."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.layers import RecurrentLayer, State, Stream, map_state, state_tensors
from unrolled.wrappers.wrapper import Wrapper, require_recurrent

__all__ = ["LearnedState"]


class LearnedState(Wrapper):
    """A recurrent layer whose sequences begin with a state that is learned, not with zeros.

    Each layer and direction has one of its own, the same for all rows.

    Source: M. L. Forcada and R. C. Carrasco (1995), "Learning the initial state of a second-order
    recurrent neural network during regular-language inference".

    Args:
        layer: A recurrent layer.

    Attributes:
        start_h: The first state, (L * directions, 1, H), and so on by the names of the cell's
            states. They begin at zero.

    Raises:
        OptionError: It is no recurrent layer of this package.
    """

    def __init__(self, layer: RecurrentLayer) -> None:
        require_recurrent("LearnedState", layer)
        super().__init__(layer)
        zeros = state_tensors(layer.initial_state(1))
        for name, zero in zip(layer.cell.states, zeros, strict=True):
            self.register_parameter(f"start_{name}", nn.Parameter(zero))

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        **given: Any,
    ) -> tuple[Any, Any]:
        """Read a batch of sequences, from the learned state where `hx` is None and at `resets`.

        Everything else is the layer's.
        """
        if given.get("resets") is not None:
            given.setdefault("resets_to", self._start_of(input))
        if hx is None:
            hx = self._start_of(input)
        output, state = self.layer(input, hx, lengths=lengths, **given)
        return output, state

    def _start_of(self, input: Tensor | PackedSequence) -> State:
        if isinstance(input, PackedSequence):
            return self.initial_state(int(input.batch_sizes[0]))
        if input.dim() == 3:
            return self.initial_state(input.shape[0 if self.batch_first else 1])
        return map_state(lambda part: part.squeeze(1), self.initial_state(1))

    def initial_state(self, batch_size: int) -> State:
        """Return the learned state for each of `batch_size` rows."""
        starts = iter([getattr(self, f"start_{name}") for name in self.layer.cell.states])
        state: State = self.layer.initial_state(0)
        return map_state(lambda _: next(starts).expand(-1, batch_size, -1), state)

    def stream(self, batch_size: int = 1) -> Stream:
        """Return a `Stream` of `batch_size` sequences that begins as learned, at resets too."""
        stream: Stream = self.layer.stream(batch_size)
        stream.begin_with(self.initial_state)
        return stream
