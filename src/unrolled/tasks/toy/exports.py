"""The model of a toy problem as graphs: inputs in, an answer at every step out."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.data.batching import pad
from unrolled.tasks.graphs import Chain, LayerGraphs

__all__ = ["ToyGraphs"]


class ToyGraphs(LayerGraphs[Any]):
    """Symbols or values, whole or step by step."""

    reads = "inputs"

    def example(self, num_steps: int) -> Tensor:
        """Return two rows of symbols, (2, T), or of values, (2, T, I)."""
        if self.model.reads_symbols:
            return torch.zeros(2, num_steps, dtype=torch.int64)
        return torch.zeros(2, num_steps, self.model.input_size)

    def scores(self, h: Tensor) -> Tensor:
        """Return the answers."""
        answers: Tensor = self.model.answer(h)
        return answers

    def parts(self) -> Chain:
        """Return the layer and the answer."""
        model = self.model
        num_tokens = model.input_size if model.reads_symbols else None
        return Chain((model.layer, model.answer), num_tokens)

    def batches(self, examples: Sequence[Any]) -> Iterator[dict[str, Tensor]]:
        """Yield the inputs of examples."""
        for indices in self.task.in_batches(examples, 16):
            inputs, lengths = pad([examples[index].inputs for index in indices])
            yield {"inputs": inputs, "lengths": lengths}
