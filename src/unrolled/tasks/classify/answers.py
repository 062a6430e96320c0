"""What is said of an example: its class, or a number. What that costs, and how well it was said.

The network gives scores and knows nothing of what they mean; the task asks an `Answer`.
"""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.content import number_of, strings_of, whole_numbers_of
from unrolled.metrics import Metric
from unrolled.networks.devices import moved
from unrolled.tasks.classify.confusion import Confusion
from unrolled.tasks.classify.labels import same_label
from unrolled.tasks.classify.series import number_label

__all__ = ["Answer", "ClassAnswer", "NumberAnswer"]

Figures = dict[str, Any]


class Answer(ABC):
    """What is said of an example, by the scores of a network."""

    metrics: ClassVar[tuple[Metric, ...]]
    """What the figures of `measure` mean."""
    labels: tuple[str, ...]
    """What there is to choose from; nothing for a number."""
    num_scores: int
    """S, the scores that a network gives."""

    @abstractmethod
    def knows(self, label: str | None) -> bool:
        """Return whether it can be learned from: a class that the training part has."""

    @abstractmethod
    def losses(self, scores: Tensor, labels: Sequence[str]) -> Tensor:
        """Return the loss of each example, (N,), for scores (N, S) and labels that it knows."""

    @abstractmethod
    def measure(self, said: Sequence[float], labels: Sequence[str]) -> Figures:
        """Return all figures but the loss for what was `said`, as `decide` says it."""

    @abstractmethod
    def decide(self, scores: Tensor) -> list[float]:
        """Return what is said for scores (N, S): the number of a class, or a number."""

    @abstractmethod
    def value(self, label: str) -> float:
        """Return a label that it knows as `decide` would say it."""

    @abstractmethod
    def opinion(self, scores: Tensor) -> Figures:
        """Return what is said for the scores of one example, (S,), in types that JSON has."""

    @abstractmethod
    def to_text(self, opinion: Figures) -> str:
        """Return what `opinion` returned as text for people."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return what was fitted, in types that JSON has."""


class ClassAnswer(Answer):
    """The likeliest class.

    Args:
        classes: The names of the C classes of the training part.
        counts: How many examples of each it has.
        balanced: Whether all classes count alike in the loss.
    """

    metrics = (
        Metric("accuracy", "higher", share=True),
        Metric("macro_f1", "higher", share=True),
        Metric("loss", "lower", "nats/example"),
    )

    def __init__(self, classes: Sequence[str], counts: Sequence[int], *, balanced: bool) -> None:
        self.labels = tuple(classes)
        self.counts = tuple(counts)
        self.num_scores = len(self.labels)
        # Older runs have classes such as 1.0, which now is 1
        self._number = {same_label(label): index for index, label in enumerate(self.labels)}
        self._weights = None
        if balanced:
            frequencies = torch.tensor(self.counts, dtype=torch.float32) * len(self.labels)
            self._weights = sum(self.counts) / frequencies

    @classmethod
    def fit(cls, labels: Sequence[str], *, balanced: bool) -> Self:
        """Return the classes of the training part."""
        counts = Counter(labels)
        classes = sorted(counts)
        return cls(classes, [counts[label] for label in classes], balanced=balanced)

    @classmethod
    def from_dict(cls, content: dict[str, Any], *, balanced: bool) -> Self:
        """Return the answer that `to_dict` described."""
        classes = strings_of(content, "classes", least=2)
        counts = whole_numbers_of(content, "counts", len(classes), least=1)
        return cls(classes, counts, balanced=balanced)

    def to_dict(self) -> dict[str, Any]:
        """Return the classes."""
        return {"classes": list(self.labels), "counts": list(self.counts)}

    def knows(self, label: str | None) -> bool:
        """Return whether the training part has this class."""
        return label in self._number

    def losses(self, scores: Tensor, labels: Sequence[str]) -> Tensor:
        """Return the cross-entropy of each example, in nats."""
        targets = torch.tensor([self._number[label] for label in labels])
        targets, weights = moved((targets, self._weights), scores)
        return F.cross_entropy(scores, targets, weights, reduction="none")

    def measure(self, said: Sequence[float], labels: Sequence[str]) -> Figures:
        """Return accuracy, F1 of all classes and of each, and the confusion matrix."""
        classes = [*self.labels, *sorted({*labels} - self._number.keys())]
        number = {same_label(label): index for index, label in enumerate(classes)}
        truth = [number[label] for label in labels]
        confusion = Confusion.of(truth, [int(each) for each in said], len(classes))
        return {
            "accuracy": confusion.accuracy,
            "macro_f1": confusion.macro_f1,
            "f1": dict(zip(classes, confusion.f1, strict=True)),
            "confusion": {"classes": classes, "counts": confusion.counts.tolist()},
        }

    def decide(self, scores: Tensor) -> list[float]:
        """Return the number of the likeliest class."""
        best: list[float] = scores.argmax(1).tolist()
        return best

    def value(self, label: str) -> float:
        """Return the number of a class."""
        return self._number[label]

    def opinion(self, scores: Tensor) -> Figures:
        """Return the class, the probability of it, and those of all classes."""
        probabilities = scores.softmax(0)
        probability_of = dict(zip(self.labels, probabilities.tolist(), strict=True))
        label = self.labels[int(probabilities.argmax())]
        return {
            "class": label,
            "probability": probability_of[label],
            "probabilities": probability_of,
        }

    def to_text(self, opinion: Figures) -> str:
        """Return the class and its probability, between them a tab."""
        return f"{opinion['class']}\t{opinion['probability']:.4f}"


class NumberAnswer(Answer):
    """A number: mean + spread x score, those of the training part.

    Args:
        mean: Of the numbers of the training part.
        spread: Their standard deviation.
    """

    metrics = (
        Metric("mae", "lower"),
        Metric("rmse", "lower"),
        Metric("r2", "higher"),
        Metric("loss", "lower", "spreads²"),
    )
    labels = ()
    num_scores = 1

    def __init__(self, mean: float, spread: float) -> None:
        self.mean = mean
        self.spread = spread

    @classmethod
    def fit(cls, labels: Sequence[str]) -> Self:
        """Return mean and spread of the training part, whose numbers are not all the same."""
        spread, mean = torch.std_mean(_numbers(labels), correction=0)
        return cls(mean.item(), spread.item())

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the answer that `to_dict` described."""
        return cls(number_of(content, "mean"), number_of(content, "spread", above=0))

    def to_dict(self) -> dict[str, Any]:
        """Return mean and spread."""
        return {"mean": self.mean, "spread": self.spread}

    def knows(self, label: str | None) -> bool:
        """Return whether there is a number: the reader refuses what is none."""
        return label is not None

    def losses(self, scores: Tensor, labels: Sequence[str]) -> Tensor:
        """Return the square of each error, in units of the spread."""
        targets = ((_numbers(labels) - self.mean) / self.spread).to(scores.dtype)
        return (scores[:, 0] - moved(targets, scores)).square()

    def measure(self, said: Sequence[float], labels: Sequence[str]) -> Figures:
        """Return mean absolute error, root of the mean squared error, and R2.

        R2 is 1 - the sum of squared errors / that of the labels' own mean; None where all labels
        are the same.
        """
        truth = _numbers(labels)
        errors = torch.tensor(said, dtype=torch.float64) - truth
        own = (truth - truth.mean()).square().sum().item()
        return {
            "mae": errors.abs().mean().item(),
            "rmse": math.sqrt(errors.square().mean().item()),
            "r2": 1 - errors.square().sum().item() / own if own else None,
        }

    def decide(self, scores: Tensor) -> list[float]:
        """Return the number of each example."""
        numbers: list[float] = (self.mean + self.spread * scores[:, 0].double()).tolist()
        return numbers

    def value(self, label: str) -> float:
        """Return the number that a label writes."""
        return number_label(label)

    def opinion(self, scores: Tensor) -> Figures:
        """Return the number as the answer."""
        (answer,) = self.decide(scores[None])
        return {"answer": answer}

    def to_text(self, opinion: Figures) -> str:
        """Return the number, to six digits."""
        return f"{opinion['answer']:.6g}"


def _numbers(labels: Sequence[str]) -> Tensor:
    return torch.tensor([number_label(label) for label in labels], dtype=torch.float64)
