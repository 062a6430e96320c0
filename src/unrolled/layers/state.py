"""What the states of all layers have in common, and the few things that are done to any of them.

A state is a tensor, or a tuple (often a named one) of tensors. Every tensor of a state has its
batch at dim 1: (L * directions, B, H) in a recurrent layer, (steps, B, C) in a convolution.
A layer that remembers nothing has the empty tuple.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from unrolled.layers.resets import Resets

__all__ = ["SequenceLayer", "State", "map_state", "state_tensors"]

State = Tensor | tuple[Tensor, ...]


class SequenceLayer(Protocol):
    """A layer as models use it, recurrent or convolutional: the state goes in and comes out."""

    input_size: int
    output_size: int
    batch_first: bool
    training: bool

    def __call__(
        self,
        input: Tensor,
        hx: State | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Resets | None = None,
        **inputs: Tensor,
    ) -> tuple[Tensor, State]:
        """Return the output, (T, B, output_size) unless `batch_first`, and the state at its end."""
        ...

    def initial_state(self, batch_size: int) -> State:
        """Return the state that `hx=None` stands for."""
        ...


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """Return `state` with `function` applied to each of its tensors, the tuple's type kept."""
    if isinstance(state, Tensor):
        return function(state)
    mapped = [function(part) for part in state]
    named = getattr(type(state), "_make", tuple)  # NamedTuple or plain tuple
    return named(mapped)


def state_tensors(state: State) -> tuple[Tensor, ...]:
    """Return the tensors of `state`, in order."""
    return (state,) if isinstance(state, Tensor) else tuple(state)
