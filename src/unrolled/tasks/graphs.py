"""A task's model as graphs that others run: tensors in, tensors out, each with a name.

Each task says in its `exports.py` what these are. What is made of them, and how that is proved, is
known in `unrolled.export`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from unrolled.layers import SequenceLayer, State, map_state, state_tensors

__all__ = ["Graph", "Graphs", "Steps", "expected_steps", "state_names", "states_of"]

Example = TypeVar("Example")
Tensors = Mapping[str, Tensor]

AFTER = "_after"
"""Ends the name of a state that comes out; without it, that is the one which goes in again."""


@dataclass(frozen=True)
class Graph:
    """A function of a model.

    Args:
        model: Has its weights.
        run: From the tensors of `inputs`, in order, to those of `outputs`.
        inputs: An example of each, with sizes of at least 2 where axes are free.
        free: For each input its axes of any size, by the names of the sizes.
        outputs: What comes out.
    """

    model: nn.Module
    run: Callable[..., Sequence[Tensor]]
    inputs: dict[str, Tensor]
    free: dict[str, dict[int, str]]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Steps:
    """A model step by step.

    Args:
        step: One step. States are inputs, and outputs under their name and "_after".
        start: What comes before the first one, whose outputs are inputs of every step; None where
            nothing does.
    """

    step: Graph
    start: Graph | None = None


class Graphs(ABC, Generic[Example]):
    """The graphs of one model, and what proves them. Each output that counts is called "scores".

    Args:
        task: Of the model.
        model: In eval mode.
    """

    def __init__(self, task: Any, model: Any) -> None:
        self.task, self.model = task, model

    @abstractmethod
    def whole(self) -> Graph:
        """Return the graph that reads whole sequences."""

    @abstractmethod
    def steps(self) -> Steps:
        """Return the graphs that go step by step.

        Raises:
            OptionError: There are none: the model reads the end of a sequence first.
        """

    def beside(self) -> dict[str, Any]:
        """Return what else is needed to use the scores, in types that JSON has."""
        return {}

    @abstractmethod
    def batches(self, examples: Sequence[Example]) -> Iterator[dict[str, Tensor]]:
        """Yield the inputs of the whole graph for examples, in batches of different sizes."""

    @abstractmethod
    def in_steps(
        self, inputs: Tensors, scores: Tensor
    ) -> tuple[dict[str, Tensor], list[tuple[dict[str, Tensor], Tensor]]]:
        """Return one of those batches step by step.

        Args:
            inputs: Of the whole graph.
            scores: What it gives.

        Returns:
            What the start is given, or the states of the first step without one; and for each step
            its inputs besides states, and the scores that are expected, NaN where none count.
        """


def state_names(layer: Any, prefix: str = "state") -> list[str]:
    """Return what the tensors of a layer's state are called: by the cell's names, or numbers."""
    state = layer.initial_state(1)
    if not isinstance(state, Tensor) and hasattr(state, "_fields"):
        return [f"{prefix}_{name}" for name in state._fields]
    return [f"{prefix}_{number}" for number in range(len(state_tensors(state)))]


def states_of(layer: SequenceLayer, tensors: Sequence[Tensor]) -> State:
    """Return `tensors` as a state of the layer."""
    given = iter(tensors)
    return map_state(lambda _: next(given), layer.initial_state(1))


def expected_steps(scores: Tensor, lengths: Tensor) -> list[Tensor]:
    """Return (B, T, V) scores step by step, NaN in the rows that have ended, (B,) `lengths`."""
    ended = torch.arange(scores.shape[1]) >= lengths[:, None]
    return list(scores.masked_fill(ended[:, :, None], torch.nan).unbind(1))
