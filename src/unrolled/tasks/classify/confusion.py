"""How well classes were predicted: accuracy, F1, and which class was taken for which."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["Confusion"]


@dataclass(frozen=True)
class Confusion:
    """How often each class was taken for each.

    Args:
        counts: (C, C) int64; row: the true class, column: the predicted one.

    Example:
        >>> confusion = Confusion.of(truth=[0, 0, 0, 1], predicted=[0, 0, 1, 1], num_classes=2)
        >>> confusion.counts.tolist(), confusion.accuracy
        ([[2, 1], [0, 1]], 0.75)
        >>> [round(f1, 3) for f1 in confusion.f1], round(confusion.macro_f1, 3)
        ([0.8, 0.667], 0.733)
    """

    counts: Tensor

    @classmethod
    def of(cls, truth: Sequence[int], predicted: Sequence[int], num_classes: int) -> "Confusion":
        """Count the pairs of a true class and a predicted one, at least one pair."""
        assert len(truth) == len(predicted) > 0
        pairs = torch.tensor(truth) * num_classes + torch.tensor(predicted)
        counts = torch.bincount(pairs, minlength=num_classes**2)
        return cls(counts.view(num_classes, num_classes))

    @property
    def accuracy(self) -> float:
        """Part of the examples that are predicted right."""
        return self.counts.trace().item() / self.counts.sum().item()

    @cached_property
    def f1(self) -> list[float]:
        """2 P R / (P + R) of each class, 2 right / (predicted + true); 0 where it never occurs."""
        right, true, predicted = self.counts.diag(), self.counts.sum(1), self.counts.sum(0)
        return (2 * right / (true + predicted).clamp(min=1)).double().tolist()

    @property
    def macro_f1(self) -> float:
        """The mean of the F1 of all classes that occur, as truth or as prediction."""
        occurs = (self.counts.sum(0) + self.counts.sum(1)) > 0
        scores = [f1 for f1, counted in zip(self.f1, occurs.tolist(), strict=True) if counted]
        return sum(scores) / len(scores)
