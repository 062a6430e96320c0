"""A task's model as graphs that others run: tensors in, tensors out, each with a name.

Each task says in its `exports.py` what these are. What is made of them, and how that is proved, is
known in `unrolled.export`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError, field
from unrolled.layers import SequenceLayer, State, map_state, state_tensors
from unrolled.networks.decoder import Decoder
from unrolled.networks.picture_encoder import PictureEncoder

__all__ = [
    "Chain",
    "Graph",
    "Graphs",
    "LayerGraphs",
    "Parts",
    "Steps",
    "Windows",
    "WordChain",
    "Writing",
    "chain_of_tokens",
    "expected_steps",
    "start_of",
    "state_names",
    "states_of",
    "step_of",
]

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


@dataclass(frozen=True)
class Chain:
    """A model as modules, each of which reads at every step what the one before gives.

    Args:
        modules: The modules, in order.
        num_tokens: V, where tokens are read: by an embedding that comes first, or else one-hot.
            None where numbers are.
        pooling: What becomes one of all steps until now: "last", "mean", "max" or "attention".
            None where something is said of each step.
        attention: What scores a step, for that pooling.
        says: Modules that come after the pooling.
        evidence: What each token adds to what is said, if anything.
        writes: Whether what it says are scores of the token that comes next.
        pictures: What makes the steps of a picture, if pictures are read.
        evenly: What weighs the steps at places that divide all of them evenly, whose numbers lie
            one after the other; it adds to what is said. None where nothing does.
    """

    modules: tuple[nn.Module, ...]
    num_tokens: int | None = None
    pooling: str | None = None
    attention: nn.Module | None = None
    says: tuple[nn.Module, ...] = ()
    evidence: nn.Embedding | None = None
    writes: bool = False
    pictures: PictureEncoder | None = None
    evenly: nn.Linear | None = None


@dataclass(frozen=True)
class WordChain:
    """A model that reads words by what they are made of, and then goes on as a chain.

    Args:
        words: What reads the number of a word: an embedding, and what comes after it.
        letters: An embedding of letters, and a layer that reads them from both ends, whose last
            outputs come next; None where letters are not read.
        affixes: Whose vectors come last, in sum, those of 0 left out; None where there are none.
        num_affixes: Affixes of a word.
        blank: What is read after a sentence instead of a word, (F,); None where nothing is.
        delay: Steps after which a word is answered; None where sentences are read from both ends.
        modules: What reads all that.
    """

    words: tuple[nn.Module, ...]
    letters: tuple[nn.Embedding, nn.Module] | None
    affixes: nn.EmbeddingBag | None
    num_affixes: int
    blank: Tensor | None
    delay: int | None
    modules: tuple[nn.Module, ...]


@dataclass(frozen=True)
class Writing:
    """A model that reads something whole, and then writes word after word.

    Args:
        modules: What reads, in order, as in a chain; or an encoder of pictures alone.
        num_tokens: V of what is read, where that is tokens; else None.
        summary: What the decoder starts from: the last output of each direction, "ends", the "mean"
            of all outputs, or the "greatest" of each feature; None: one zero.
        decoder: What writes.
    """

    modules: tuple[nn.Module, ...]
    num_tokens: int | None
    summary: str | None
    decoder: Decoder


@dataclass(frozen=True)
class Windows:
    """A forecaster: windows of numbers of the data in, what is said of the steps to come out.

    Args:
        model: A `Forecaster`.
        columns: What is taken off other columns, and what they are divided by, (P + K,) each.
        numbers: The same of numbers of a whole series, (N,) each.
        transform: Of which function of the targets it learns.
        says_data: Whether that is undone in what it says, which else is of the function.
    """

    model: Any
    columns: tuple[Tensor, Tensor]
    numbers: tuple[Tensor, Tensor]
    transform: str
    says_data: bool


Parts = Chain | WordChain | Writing | Windows
"""What a model is made of, for those who write it anew."""


class Graphs(ABC, Generic[Example]):
    """The graphs of one model, and what proves them. Each output that counts is called "scores".

    Args:
        task: Of the model.
        model: In eval mode.
    """

    def __init__(self, task: Any, model: Any) -> None:
        self.task, self.model = task, model

    @property
    def left_out(self) -> str | None:
        """What the model does beside its graphs, a sentence; None where that is nothing."""
        return None

    @abstractmethod
    def whole(self) -> Graph:
        """Return the graph that reads whole sequences."""

    def scored(self) -> Graph:
        """Return the graph that what is written is compared with."""
        return self.whole()

    @abstractmethod
    def steps(self) -> Steps:
        """Return the graphs that go step by step.

        Raises:
            OptionError: There are none: the model reads the end of a sequence first.
        """

    def typed(self, examples: Sequence[Example]) -> dict[str, Any]:  # noqa: ARG002
        """Return what a page reads beside what is typed, in types that JSON has; or nothing.

        Args:
            examples: That were held out, for something to begin with; none where they are gone.

        Raises:
            OptionError: The model reads what nobody types.
        """
        return {}

    def parts(self) -> Parts:
        """Return what the model is made of: a chain where it is no more than that.

        Raises:
            OptionError: There is no description of it.
        """
        kind = type(self.model).__name__
        message = f"there is no description of {kind} that plain C could be written of"
        raise OptionError(message, f"export it with {field('onnx')}")

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


class LayerGraphs(Graphs[Example]):
    """Of a model that is a layer between what it reads and what it says, at every step.

    Attributes:
        reads: What its input is called.
    """

    reads: ClassVar[str]

    @abstractmethod
    def example(self, num_steps: int) -> Tensor:
        """Return two rows of the input, (2, T) or (2, T, I)."""

    def scores(self, h: Tensor) -> Tensor:
        """Return what is said for outputs of the layer, (B, T, H): the model's scores."""
        scores: Tensor = self.model.scores(h)
        return scores

    def whole(self) -> Graph:
        """Return the graph of whole sequences, (B, T) or (B, T, I)."""
        return Graph(
            self.model,
            lambda inputs, lengths: [self.model(inputs, lengths)],
            {self.reads: self.example(3), "lengths": torch.tensor([3, 2])},
            {self.reads: {0: "batch", 1: "time"}, "lengths": {0: "batch"}},
            ("scores",),
        )

    def steps(self) -> Steps:
        """Return the graph of one step, (B,) or (B, I)."""
        model = self.model

        def run(inputs: Tensor, *states: Tensor) -> list[Tensor]:
            x = model.features(inputs.unsqueeze(1))
            h, after = model.layer(x, states_of(model.layer, states))
            return [self.scores(h).squeeze(1), *state_tensors(after)]

        inputs = {self.reads: self.example(1)[:, 0]}
        return step_of(model, run, inputs, {self.reads: {0: "batch"}})

    def in_steps(
        self, inputs: Tensors, scores: Tensor
    ) -> tuple[dict[str, Tensor], list[tuple[dict[str, Tensor], Tensor]]]:
        """Return a step of all rows at a time."""
        expected = expected_steps(scores, inputs["lengths"])
        pairs = zip(inputs[self.reads].unbind(1), expected, strict=True)
        start = start_of(self.model.layer, len(scores))
        return start, [({self.reads: each}, wanted) for each, wanted in pairs]


def chain_of_tokens(model: Any, *, writes: bool = False) -> Chain:
    """Return the chain of a model of tokens: an embedding or none, a layer, and scores."""
    embedding = () if model.embedding is None else (model.embedding,)
    modules = (*embedding, model.layer, model.scores)
    return Chain(modules, model.vocabulary_size, writes=writes)


def start_of(layer: Any, batch_size: int) -> dict[str, Tensor]:
    """Return the state of a layer before the first step, by its names."""
    state = layer.initial_state(batch_size)
    return dict(zip(state_names(layer), state_tensors(state), strict=True))


def step_of(
    model: Any,
    run: Callable[..., Sequence[Tensor]],
    inputs: dict[str, Tensor],
    free: dict[str, dict[int, str]],
) -> Steps:
    """Return one step of a model whose only states are those of its layer.

    Args:
        model: Has the layer.
        run: From `inputs` and states to scores and states.
        inputs: An example of each, for two rows.
        free: Their axes of any size.
    """
    start = start_of(model.layer, 2)
    free = free | {name: {1: "batch"} for name in start}
    outputs = ("scores", *(f"{name}{AFTER}" for name in start))
    return Steps(Graph(model, run, inputs | start, free, outputs))


def state_names(layer: Any, prefix: str = "state") -> list[str]:
    """Return what the tensors of a layer's state are called: by the cell's names, or numbers."""
    state = layer.initial_state(1)
    if not isinstance(state, Tensor) and hasattr(state, "_fields"):
        return [f"{prefix}_{name}" for name in state._fields]
    return [f"{prefix}_{number}" for number in range(len(state_tensors(state)))]


def states_of(layer: SequenceLayer, tensors: Sequence[Tensor]) -> State:
    """Return `tensors` as a state of the layer."""
    parts = iter(tensors)
    return map_state(lambda _: next(parts), layer.initial_state(1))


def expected_steps(scores: Tensor, lengths: Tensor) -> list[Tensor]:
    """Return (B, T, V) scores step by step, NaN in the rows that have ended, (B,) `lengths`."""
    ended = torch.arange(scores.shape[1]) >= lengths[:, None]
    return list(scores.masked_fill(ended[:, :, None], torch.nan).unbind(1))
