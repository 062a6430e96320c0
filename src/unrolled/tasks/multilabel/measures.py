"""What predicted sets are worth: the loss of all labels, and how the sets agree.

Accuracy is that of a frame as music transcription counts it: of the labels that are in either set,
the share that is in both, TP / (TP + FP + FN), counted over all steps together. What is in neither
set, most of the labels at most of the steps, does not count.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.metrics import Metric

__all__ = ["METRICS", "Counts"]

METRICS = (
    Metric("loss", "lower", "nats/step"),
    Metric("frame_accuracy", "higher"),
    Metric("precision", "higher"),
    Metric("recall", "higher"),
    Metric("f1", "higher"),
    Metric("num_steps", None),
)


@dataclass
class Counts:
    """Predictions that were counted.

    Args:
        steps: How many sets were predicted.
        loss: The sum of their losses in nats; None where labels are said without a probability.
        right: Labels that are in both sets.
        wrong: Labels that were said, and are not there.
        missed: Labels that are there, and were not said.

    Source:
        M. Bay, A. F. Ehmann, J. S. Downie (2009), "Evaluation of multiple-F0 estimation and
        tracking systems".
    """

    steps: int = 0
    loss: float | None = 0.0
    right: int = 0
    wrong: int = 0
    missed: int = 0

    def add(self, scores: Tensor, targets: Tensor) -> None:
        """Count predictions.

        Args:
            scores: (N, V), log-odds; a label is said where they are above 0.
            targets: (N, V), what came: zeros and ones.
        """
        assert self.loss is not None
        loss = F.binary_cross_entropy_with_logits(
            scores.double(), targets.double(), reduction="sum"
        )
        self.loss += loss.item()
        self.add_said(scores > 0, targets > 0)

    def add_said(self, said: Tensor, came: Tensor) -> None:
        """Count sets that were said, (N, V) of bool, beside those that came."""
        self.steps += len(said)
        self.right += int((said & came).sum())
        self.wrong += int((said & ~came).sum())
        self.missed += int((~said & came).sum())

    def figures(self) -> dict[str, Any]:
        """Return what `METRICS` declare; None of what there is nothing to count for."""
        predicted, there = self.right + self.wrong, self.right + self.missed
        figures: dict[str, Any] = {}
        if self.loss is not None:
            figures["loss"] = self.loss / self.steps if self.steps else torch.nan
        return figures | {
            "frame_accuracy": _share(self.right, predicted + self.missed),
            "precision": _share(self.right, predicted),
            "recall": _share(self.right, there),
            "f1": _share(2 * self.right, predicted + there),
            "num_steps": self.steps,
        }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
