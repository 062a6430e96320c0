"""What a task is: examples, a model of them, its loss, its measure.

One class for each sequence configuration; each has a file of its own beside this one. Running a
task (folders, training, resuming) is in `runs.py`, the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from unrolled.data.batching import batches_by_length
from unrolled.data.source import Source

__all__ = ["Splits", "Task"]

Example = TypeVar("Example")

_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Splits(Generic[Example]):
    """The examples of a data set.

    Args:
        training: Learned from.
        held_out: The best weights are chosen on these.
        test: Measured once, at the end; may be empty.
        notes: What the reader counted or left out, in sentences.
    """

    training: list[Example]
    held_out: list[Example]
    test: list[Example]
    notes: list[str]


class Task(ABC, Generic[Example]):
    """A sequence configuration on given data: its options, and what was fitted to its examples.

    Args:
        options: An `Options`.
    """

    name: ClassVar[str]
    """What config.json and the command line call it."""
    unit: ClassVar[str]
    """Of the loss, such as "nats/token"."""
    Options: ClassVar[type[Any]]
    """A frozen dataclass of plain values: how the data are read."""
    Config: ClassVar[type[Any]]
    """A frozen dataclass of plain values: what a model is built from."""
    Model: ClassVar[type[nn.Module]]
    """Built from a `Config`."""
    predict_options: ClassVar[frozenset[str]] = frozenset()
    """The options of `unrolled predict` that `predict` takes, beside the source."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @classmethod
    @abstractmethod
    def files(cls, options: Any) -> list[Path]:
        """Return the files that hold the data: if one changes, a run cannot be resumed."""

    @classmethod
    @abstractmethod
    def read(cls, options: Any) -> Splits[Example]:
        """Return the data set.

        Raises:
            DataError: A file that cannot be used; it names the file and the line.
        """

    @classmethod
    @abstractmethod
    def fit(cls, options: Any, training: Sequence[Example]) -> Self:
        """Return the task with the vocabularies, labels and scales of its training part."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return what was fitted, in types that JSON has."""

    @classmethod
    @abstractmethod
    def from_dict(cls, options: Any, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """The fields of `Config` that the data decide."""

    @abstractmethod
    def length(self, example: Example) -> int:
        """Return the steps of an example: batches are of about the same length."""

    def epoch(self, training: Sequence[Example], number: int) -> Sequence[Example]:  # noqa: ARG002
        """Return the examples of pass `number`, as many as `training` has: the same each time."""
        return training

    def initialize(self, model: nn.Module, training: Sequence[Example]) -> None:
        """Set what the training part tells of a new model's initial values: nothing."""

    @abstractmethod
    def loss(self, model: nn.Module, examples: Sequence[Example]) -> tuple[Tensor, int]:
        """Return the sum of the losses of a batch, in nats, and of how many."""

    def monitor(self, model: nn.Module, examples: Sequence[Example]) -> dict[str, float]:
        """Return what is measured during training: at least "loss", a mean in nats.

        The model is in eval mode.
        """
        return {"loss": self.mean_loss(model, examples)}

    def evaluate(self, model: nn.Module, examples: Sequence[Example]) -> dict[str, Any]:
        """Return all metrics. The model is in eval mode."""
        return self.monitor(model, examples)

    def baselines(
        self,
        training: Sequence[Example],  # noqa: ARG002
        examples: Sequence[Example],  # noqa: ARG002
    ) -> dict[str, dict[str, Any]]:
        """Return the metrics of trivial predictors on `examples`, by the predictors' names."""
        return {}

    @abstractmethod
    def read_examples(self, path: Path) -> tuple[list[Example], list[str]]:
        """Return the examples of a file with answers, to evaluate on, and notes."""

    @abstractmethod
    def predict(self, model: nn.Module, source: Source, **options: Any) -> Iterator[dict[str, Any]]:
        """Yield a prediction for each input of `source`, in types that JSON has, as they come."""

    @abstractmethod
    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return a prediction as text for people, without an end of line."""

    def in_batches(
        self, examples: Sequence[Example], batch_size: int = _EVALUATION_BATCH
    ) -> Iterator[list[int]]:
        """Yield the indices of all examples in batches of about the same length."""
        yield from batches_by_length([self.length(example) for example in examples], batch_size)

    def mean_loss(self, model: nn.Module, examples: Sequence[Example]) -> float:
        """Return the mean of `loss` over examples, summed in float64."""
        total, count = 0.0, 0
        with torch.inference_mode():
            for batch in self.in_batches(examples):
                loss, terms = self.loss(model, [examples[index] for index in batch])
                total, count = total + loss.item(), count + terms
        return total / count
