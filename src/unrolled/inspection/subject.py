"""A model as it is looked into: the layer that reads, what it reads, and what is said at each step.

Reports and views ask a subject and know no task; each task derives the subject of its models.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from unrolled.data.source import Source
from unrolled.inspection.page import Page
from unrolled.inspection.units import pattern_masks
from unrolled.layers import (
    Record,
    RecurrentLayer,
    SequenceLayer,
    State,
    map_state,
    observing_values,
    state_tensors,
)
from unrolled.networks.modes import evaluating

__all__ = ["InputForm", "Passage", "Subject", "stacked_states"]

_FEWEST_LABELS = 2  # of one alone, the loss is always 0


@dataclass(frozen=True, eq=False)
class Passage:
    """A sequence as a layer reads it.

    Args:
        pieces: What stands at each step, T texts; joined they are the text, where it is one.
        features: What the layer reads, (T, I).
        state: The layer's state before the first step, of one row; None for zeros.
        tokens: The label of each step, (T,) int64, where a step is to forecast that of the next
            one; None where it is not.
        marks: What is known of the steps, by name: masks, (T,) boolean.
        context: What the subject needs to say something at each step.
    """

    pieces: tuple[str, ...]
    features: Tensor
    state: State | None = None
    tokens: Tensor | None = None
    marks: Mapping[str, Tensor] = field(default_factory=dict)
    context: Any = None

    def __len__(self) -> int:
        return len(self.pieces)

    def beginning(self, length: int) -> "Passage":
        """Return the first `length` steps of it."""
        if len(self) <= length:
            return self
        return replace(
            self,
            pieces=self.pieces[:length],
            features=self.features[:length],
            tokens=None if self.tokens is None else self.tokens[:length],
            marks={name: mask[:length] for name, mask in self.marks.items()},
        )


class InputForm(NamedTuple):
    """What an input looks like, for who types one.

    kind: "text" of any length; "line" of text; "series" of numbers, a case of a `.ts` file;
        "sets" of labels; "symbols", one for each step; "values", some of them marked.
    symbols: Those that there are.
    dimensions: Of a series.
    """

    kind: Literal["text", "line", "series", "sets", "symbols", "values"] = "line"
    symbols: str = ""
    dimensions: int = 0


class Subject(ABC):
    """A model to look into.

    Args:
        model: In eval mode.
        layer: The sequence layer that is looked into, batch first.
        unit: What a step is called: "character", "word", "step".
        labels: What is said at each step, the next token or an answer; none if nothing is.
    """

    by_step: ClassVar[bool] = True
    """Whether what is said at a step depends on the output at that step alone: on `readout`."""
    is_text: ClassVar[bool] = True
    """Whether the pieces of a passage make a text."""
    forecasts: ClassVar[bool] = False
    """Whether what is said at a step is what comes next, and not an answer to what was read."""
    backtests: ClassVar[bool] = False
    """Whether numbers are forecast that can be drawn beside what came, by `backtest`."""

    def __init__(
        self, model: nn.Module, layer: nn.Module, unit: str, labels: Sequence[str] = ()
    ) -> None:
        self.model = model
        self.layer = layer
        self.unit = unit
        self.labels = tuple(labels)

    @abstractmethod
    def read(self, source: Source) -> Iterator[Passage]:
        """Yield what is read of a source, as `unrolled predict` would read it.

        Raises:
            DataError: The source cannot be used.
        """

    @abstractmethod
    def passages(self, examples: Iterable[Any]) -> Iterator[Passage]:
        """Yield what is read of a task's examples."""

    @property
    def form(self) -> InputForm:
        """What an input looks like."""
        return InputForm()

    def example(self) -> str | None:
        """Return an input to begin with, where one can be had without any data."""
        return None

    def as_input(self, example: Any) -> str | None:  # noqa: ARG002
        """Return a task's example as one types it, to begin with; None where it is no text."""
        return None

    def write(self, page: Page, passages: Sequence[Passage]) -> None:  # noqa: B027  # nothing
        """Write what a report shows of this kind of model before all else: nothing."""

    def backtest(self, examples: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return forecasts from places in examples, beside what came; nothing without numbers.

        Returns:
            For each target of a series its "target", the "series", its "times", the "truth" (None
            where it is missing), and "forecasts": each begins at the place "start" of the times,
            and has "times", "forecast", "low" and "high", of which the last two may be empty.
        """
        return []

    def ahead(self) -> list[dict[str, Any]]:
        """Return forecasts from the ends of the data of the training, each as of `backtest`.

        Raises:
            DataError: They cannot be read now.
        """
        return []

    def readout(self, output: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return the scores of the labels, (..., V), for outputs of the layer, (..., O).

        None where what is said at a step depends on more than the output at that step.
        """
        return None

    def log_probabilities(self, passage: Passage, output: Tensor) -> Tensor | None:  # noqa: ARG002
        """Return what is said at each step of a passage, (T, V) or fewer steps; None if nothing is.

        Args:
            passage: What was read.
            output: What the layer made of it, (T, O).
        """
        scores = self.readout(output)
        return None if scores is None else scores.double().log_softmax(-1)

    def evidence(self, passage: Passage) -> Tensor:
        """Return what a prediction is made of, (T, F): what the layer reads, and what else counts.

        It is attributed to the steps; zeros stand for nothing.
        """
        return passage.features

    def said_at(self, passage: Passage, rows: Tensor, step: int) -> Tensor:
        """Return what `log_probabilities` does at a step, with a graph, of other evidences, (N, V).

        Args:
            passage: What was read, of which something is said.
            rows: (N, T, F), as `evidence` gives it, or fewer steps of it.
            step: From 0.
        """
        state = passage.state
        if state is not None:
            state = map_state(lambda part: part.expand(-1, len(rows), -1).contiguous(), state)
        outputs, _ = cast(SequenceLayer, self.layer)(rows, state)
        passage = passage.beginning(rows.shape[1])
        if self.by_step:  # of no other step: a word in 10,000 takes as many numbers
            outputs, step = outputs[:, step : step + 1], 0
        log_probabilities = (self.log_probabilities(passage, output) for output in outputs)
        return torch.stack([cast(Tensor, each)[step] for each in log_probabilities])

    def loss(self, following: Tensor | None) -> Callable[[Tensor], Tensor] | None:
        """Return the cross-entropy of what is said for outputs of the layer, summed over rows.

        None where what is said at a step depends on more than the output at that step.

        Args:
            following: The right labels, (B,) int64; None takes the likeliest.
        """
        with torch.no_grad():
            scores = self.readout(torch.zeros(1, self.output_size))
        if scores is None or scores.shape[-1] < _FEWEST_LABELS:
            return None

        def loss(output: Tensor) -> Tensor:
            scores = cast(Tensor, self.readout(output))
            targets = scores.argmax(-1) if following is None else following
            return functional.cross_entropy(scores, targets, reduction="sum")

        return loss

    def others(
        self,
        features: Tensor,
        tokens: Tensor | None,  # noqa: ARG002
        generator: torch.Generator,
        count: int,
    ) -> Tensor:
        """Return what else could have stood at each step, (T, count, I): the features of others.

        Args:
            features: What is read, (T, I).
            tokens: (T,), where the steps are tokens.
            generator: Of the random choice.
            count: How many for each step.
        """
        num = len(features)
        shifts = torch.randint(1, max(2, num), (num, count), generator=generator)
        return features[(torch.arange(num)[:, None] + shifts) % num]

    @property
    def input_size(self) -> int:
        """The number of features that the layer reads at a step."""
        return cast(SequenceLayer, self.layer).input_size

    @property
    def output_size(self) -> int:
        """The number of features that it makes of them."""
        return cast(SequenceLayer, self.layer).output_size

    @property
    def recurrent(self) -> RecurrentLayer | None:
        """The layer, if it is a recurrent one."""
        return self.layer if isinstance(self.layer, RecurrentLayer) else None

    def run(self, passages: Sequence[Passage]) -> tuple[list[Record], list[Tensor]]:
        """Return what happens in the layer while it reads passages, and its outputs.

        Returns:
            A record for each layer and direction, all passages one after the other as one row; and
            the output over each passage, (T, O).
        """
        lengths = torch.tensor([len(passage) for passage in passages])
        features = pad_sequence([passage.features for passage in passages], batch_first=True)
        state = stacked_states([passage.state for passage in passages])
        layer = cast(SequenceLayer, self.layer)
        even = bool((lengths == lengths[0]).all())
        with evaluating(self.model), observing_values() as records:
            outputs, _ = layer(features, state, lengths=None if even else lengths)
        rows = [row[:length] for row, length in zip(outputs, lengths.tolist(), strict=True)]
        return [_as_one_row(record, lengths.tolist()) for record in records], rows

    def patterns(self, passage: Passage) -> dict[str, Tensor]:
        """Return masks of the steps by name, (T,): of the text, and what is known of the steps."""
        masks = dict(passage.marks)
        if self.is_text and passage.pieces:
            ends = torch.tensor([len(piece) for piece in passage.pieces]).cumsum(0) - 1
            by_character = pattern_masks("".join(passage.pieces))
            masks |= {name: mask[ends.clamp_min(0)] for name, mask in by_character.items()}
        return masks


def stacked_states(states: Sequence[State | None]) -> State | None:
    """Return the states of single rows as that of a batch; zeros where there is none."""
    some = next((state for state in states if state is not None), None)
    if some is None:
        return None
    zeros = map_state(torch.zeros_like, some)
    rows = [state_tensors(zeros if state is None else state) for state in states]
    parts = iter(torch.cat(parts, dim=1) for parts in zip(*rows, strict=True))
    return map_state(lambda _: next(parts), some)


def _as_one_row(record: Record, lengths: Sequence[int]) -> Record:
    """Return the record of a batch with its rows one after the other, (sum of T, 1, H)."""

    def one_row(values: Tensor) -> Tensor:
        rows = [values[:length, row] for row, length in enumerate(lengths)]
        return torch.cat(rows)[:, None]

    return replace(
        record,
        values={name: one_row(values) for name, values in record.values.items()},
        lengths=torch.tensor([sum(lengths)]),
        input=one_row(record.input),
        initial={name: state[:1] for name, state in record.initial.items()},
    )
