"""A translator as graphs: of either way of translating."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.data.batching import pad
from unrolled.data.words import BEGIN
from unrolled.layers import state_tensors
from unrolled.networks.decoder import DecoderState
from unrolled.tasks.decoder_graphs import DecoderGraphs
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

__all__ = ["DelayedGraphs", "TranslatorGraphs"]


class TranslatorGraphs(DecoderGraphs):
    """Of an encoder and a decoder."""

    def source(self) -> tuple[dict[str, Tensor], dict[str, dict[int, str]]]:
        """Return two rows of tokens and their lengths."""
        source = {"source": torch.ones(2, 4, dtype=torch.int64), "lengths": torch.tensor([4, 2])}
        return source, {"source": {0: "batch", 1: "places"}, "lengths": {0: "batch"}}

    def read(self, *source: Tensor) -> DecoderState:
        """Return the decoder's first state after source and lengths."""
        state: DecoderState = self.model.start(*source)
        return state

    def batches(self, examples: Sequence[Any]) -> Iterator[dict[str, Tensor]]:
        """Yield pairs, the target behind the mark of the beginning."""
        for indices in self.task.in_batches(examples, 16):
            pairs = [self.task.encoded(examples[index]) for index in indices]
            source, lengths = pad([read for read, _ in pairs])
            begin = torch.tensor([BEGIN])
            words, _ = pad([torch.cat([begin, written[:-1]]) for _, written in pairs])
            yield {"source": source, "lengths": lengths, "words": words}


class DelayedGraphs(Graphs[Any]):
    """Of one network that answers k tokens late: blanks, which are `BEGIN`, come after a source."""

    def whole(self) -> Graph:
        """Return the graph of tokens, (B, T), blanks included."""
        inputs = {"tokens": torch.ones(2, 4, dtype=torch.int64), "lengths": torch.tensor([4, 2])}
        free = {"tokens": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}

        def run(tokens: Tensor, lengths: Tensor) -> list[Tensor]:
            return [self.model(tokens, lengths)]

        return Graph(self.model, run, inputs, free, ("scores",))

    def steps(self) -> Steps:
        """Return the graph of one token of each row, (B,)."""
        model, names = self.model, state_names(self.model.layer)

        def run(tokens: Tensor, *states: Tensor) -> list[Tensor]:
            x = model.features(tokens[:, None])
            h, after = model.layer(x, states_of(model.layer, states))
            return [model.scores(h).squeeze(1), *state_tensors(after)]

        inputs = {"tokens": torch.ones(2, dtype=torch.int64), **self._start(2)}
        free = {"tokens": {0: "batch"}, **{name: {1: "batch"} for name in names}}
        outputs = ("scores", *(f"{name}{AFTER}" for name in names))
        return Steps(Graph(model, run, inputs, free, outputs))

    def batches(self, examples: Sequence[Any]) -> Iterator[dict[str, Tensor]]:
        """Yield sources, each with k blanks behind it."""
        blanks = torch.full((self.task.options.model.delay,), BEGIN)
        for indices in self.task.in_batches(examples, 16):
            sources = [self.task.encoded(examples[index])[0] for index in indices]
            tokens, lengths = pad([torch.cat([source, blanks]) for source in sources])
            yield {"tokens": tokens, "lengths": lengths}

    def in_steps(
        self, inputs: Tensors, scores: Tensor
    ) -> tuple[dict[str, Tensor], list[tuple[dict[str, Tensor], Tensor]]]:
        """Return a token of each row at a time."""
        expected = expected_steps(scores, inputs["lengths"])
        pairs = zip(inputs["tokens"].unbind(1), expected, strict=True)
        return self._start(len(scores)), [({"tokens": each}, wanted) for each, wanted in pairs]

    def _start(self, batch_size: int) -> dict[str, Tensor]:
        state = self.model.layer.initial_state(batch_size)
        return dict(zip(state_names(self.model.layer), state_tensors(state), strict=True))
