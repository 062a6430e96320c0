"""A translator as graphs: of either way of translating."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.data.batching import pad
from unrolled.data.words import BEGIN
from unrolled.layers import RecurrentLayer
from unrolled.networks.decoder import DecoderState
from unrolled.tasks.decoder_graphs import DecoderGraphs
from unrolled.tasks.graphs import Chain, LayerGraphs, Parts, Writing, chain_of_tokens
from unrolled.tasks.translate.by_decoder import BEAM, LENGTH_PENALTY

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

    def parts(self) -> Parts:
        """Return what reads the source, and the decoder."""
        encoder, decoder = self.model.encoder, self.model.decoder
        modules = (*encoder.embedding.modules_in_order, encoder.layer)
        summary = "ends" if isinstance(encoder.layer, RecurrentLayer) else "mean"
        return Writing(modules, encoder.embedding.table.num_embeddings, summary, decoder)

    def beside(self) -> dict[str, Any]:
        """Return how the words are searched for."""
        found = {"beam": BEAM, "length_penalty": LENGTH_PENALTY}
        return {"search": {**found, **_limits(self.task)}}

    def batches(self, examples: Sequence[Any]) -> Iterator[dict[str, Tensor]]:
        """Yield pairs, the target behind the mark of the beginning."""
        for indices in self.task.in_batches(examples, 16):
            pairs = [self.task.encoded(examples[index]) for index in indices]
            source, lengths = pad([read for read, _ in pairs])
            begin = torch.tensor([BEGIN])
            words, _ = pad([torch.cat([begin, written[:-1]]) for _, written in pairs])
            yield {"source": source, "lengths": lengths, "words": words}


class DelayedGraphs(LayerGraphs[Any]):
    """Of one network that answers k tokens late: blanks, which are `BEGIN`, come after a source."""

    reads = "tokens"

    def example(self, num_steps: int) -> Tensor:
        """Return two rows of tokens."""
        return torch.ones(2, num_steps, dtype=torch.int64)

    def parts(self) -> Chain:
        """Return embedding, layer and scores."""
        return chain_of_tokens(self.model)

    def beside(self) -> dict[str, Any]:
        """Return how many words come out at most."""
        return {"search": _limits(self.task)}

    def batches(self, examples: Sequence[Any]) -> Iterator[dict[str, Tensor]]:
        """Yield sources, each with k blanks behind it."""
        blanks = torch.full((self.task.options.model.delay,), BEGIN)
        for indices in self.task.in_batches(examples, 16):
            sources = [self.task.encoded(examples[index])[0] for index in indices]
            tokens, lengths = pad([torch.cat([source, blanks]) for source in sources])
            yield {"tokens": tokens, "lengths": lengths}


def _limits(task: Any) -> dict[str, int]:
    """Return how many tokens are written at most, and of how many characters a line is read."""
    most = task.options.data.max_characters
    return {"max_length": task.max_length, "max_characters": most}
