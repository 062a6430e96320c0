"""The model of a toy problem as graphs: inputs in, an answer at every step out."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.data.batching import pad
from unrolled.layers import state_tensors
from unrolled.tasks.graphs import (
    AFTER,
    Graph,
    Graphs,
    Steps,
    Tensors,
    expected_steps,
    state_names,
    states_of,
)

__all__ = ["ToyGraphs"]


class ToyGraphs(Graphs[Any]):
    """Symbols or values, whole or step by step."""

    def whole(self) -> Graph:
        """Return the graph of whole sequences, (B, T) symbols or (B, T, I) values."""
        inputs = {"inputs": self._example(3), "lengths": torch.tensor([3, 2])}
        free = {"inputs": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}

        def run(inputs: Tensor, lengths: Tensor) -> list[Tensor]:
            return [self.model(inputs, lengths)]

        return Graph(self.model, run, inputs, free, ("scores",))

    def steps(self) -> Steps:
        """Return the graph of one step, (B,) or (B, I)."""
        model, names = self.model, state_names(self.model.layer)

        def run(inputs: Tensor, *states: Tensor) -> list[Tensor]:
            x = model.features(inputs.unsqueeze(1))
            h, after = model.layer(x, states_of(model.layer, states))
            return [model.answer(h).squeeze(1), *state_tensors(after)]

        inputs = {"inputs": self._example(1)[:, 0], **self._start(2)}
        free = {"inputs": {0: "batch"}, **{name: {1: "batch"} for name in names}}
        outputs = ("scores", *(f"{name}{AFTER}" for name in names))
        return Steps(Graph(model, run, inputs, free, outputs))

    def batches(self, examples: Sequence[Any]) -> Iterator[dict[str, Tensor]]:
        """Yield the inputs of examples."""
        for indices in self.task.in_batches(examples, 16):
            inputs, lengths = pad([examples[index].inputs for index in indices])
            yield {"inputs": inputs, "lengths": lengths}

    def in_steps(
        self, inputs: Tensors, scores: Tensor
    ) -> tuple[dict[str, Tensor], list[tuple[dict[str, Tensor], Tensor]]]:
        """Return a row of inputs at a time."""
        expected = expected_steps(scores, inputs["lengths"])
        pairs = zip(inputs["inputs"].unbind(1), expected, strict=True)
        return self._start(len(scores)), [({"inputs": each}, wanted) for each, wanted in pairs]

    def _example(self, num_steps: int) -> Tensor:
        if self.model.reads_symbols:
            return torch.zeros(2, num_steps, dtype=torch.int64)
        return torch.zeros(2, num_steps, self.model.input_size)

    def _start(self, batch_size: int) -> dict[str, Tensor]:
        state = self.model.layer.initial_state(batch_size)
        return dict(zip(state_names(self.model.layer), state_tensors(state), strict=True))
