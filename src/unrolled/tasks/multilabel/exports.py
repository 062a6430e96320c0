"""The model of label sets as graphs: sets in, a score for each label of the next one out."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.tasks.graphs import Chain, LayerGraphs
from unrolled.tasks.multilabel.reader import SetSequence

__all__ = ["LabelSetGraphs"]


class LabelSetGraphs(LayerGraphs[SetSequence]):
    """Sets, whole or step by step."""

    reads = "sets"

    def example(self, num_steps: int) -> Tensor:
        """Return two rows of sets, (2, T, V)."""
        return torch.zeros(2, num_steps, len(self.task.labels))

    def parts(self) -> Chain:
        """Return the layer and the scores; a step is a set, as zeros and ones."""
        return Chain((self.model.layer, self.model.scores))

    def beside(self) -> dict[str, Any]:
        """Return the labels of the scores, and what makes probabilities of these."""
        return {"labels": list(self.task.labels), "probabilities": "sigmoid"}

    def batches(self, examples: Sequence[SetSequence]) -> Iterator[dict[str, Tensor]]:
        """Yield the sets that are read of examples: all but the last of each."""
        for indices in self.task.in_batches(examples, 16):
            sets, lengths, _ = self.task.collate([examples[index] for index in indices])
            yield {"sets": sets, "lengths": lengths}
