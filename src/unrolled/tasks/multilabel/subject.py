"""A model of label sets as it is looked into: the sets, and how likely each label comes next."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.source import Source
from unrolled.inspection.subject import InputForm, Passage, Subject
from unrolled.tasks.multilabel.lines import format_steps, pieces_of
from unrolled.tasks.multilabel.model import LabelSetModel
from unrolled.tasks.multilabel.reader import SetSequence

if TYPE_CHECKING:
    from unrolled.tasks.multilabel.task import MultilabelTask

__all__ = ["LabelSetSubject"]

_EXCERPT = 24  # steps of an example


class LabelSetSubject(Subject):
    """A model and its task.

    Args:
        model: In eval mode.
        task: Has the labels.
    """

    is_text = False

    def __init__(self, model: LabelSetModel, task: "MultilabelTask") -> None:
        super().__init__(model, model.layer, "step", task.labels)
        self.task = task

    @property
    def form(self) -> InputForm:
        """Sets of labels, a bar between two of them."""
        return InputForm("sets")

    def example(self) -> str:
        """Return the set that most sequences of the training begin with."""
        return self.task.prompt

    def as_input(self, example: SetSequence) -> str:
        """Return the beginning of a sequence."""
        return format_steps(example.steps[:_EXCERPT])

    def read(self, source: Source) -> Iterator[Passage]:
        """Yield each sequence, as `unrolled predict` reads it."""
        for sets, pieces in self.task.sequences(source):
            yield self.passage(sets, pieces)

    def passages(self, examples: Iterable[SetSequence]) -> Iterator[Passage]:
        """Yield sequences."""
        for example in examples:
            sets, _ = self.task.encode(example.steps)
            yield self.passage(sets, pieces_of(format_steps(example.steps), example.steps))

    @torch.no_grad()
    def passage(self, sets: Tensor, pieces: Iterable[str]) -> Passage:
        """Return how sets are read, (T, V); each label that is in some and not in all is a mark."""
        there = sets > 0
        changes = (there.any(0) & ~there.all(0)).nonzero()[:, 0].tolist()
        marks = {f"with {self.labels[label]}": there[:, label] for label in changes}
        features = cast(LabelSetModel, self.model).features(sets)
        return Passage(tuple(pieces), features, marks=marks)

    def readout(self, output: Tensor) -> Tensor:
        """Return the log-odds of the labels."""
        return cast(Tensor, cast(LabelSetModel, self.model).scores(output))

    def log_probabilities(self, passage: Passage, output: Tensor) -> Tensor:  # noqa: ARG002
        """Return how likely each label is to be in the next set, by itself: they do not add up."""
        return F.logsigmoid(self.readout(output).double())

    def loss(self, following: Tensor | None) -> Callable[[Tensor], Tensor]:
        """Return the loss of the likeliest next set, summed over labels and rows."""
        assert following is None  # a step has no label of its own

        def loss(output: Tensor) -> Tensor:
            scores = self.readout(output)
            targets = (scores > 0).to(scores.dtype)
            return F.binary_cross_entropy_with_logits(scores, targets, reduction="sum")

        return loss
