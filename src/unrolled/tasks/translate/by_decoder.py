"""Translation by an encoder and a decoder, the words found by beam search.

The network is in model.py, the search in networks/beam.py.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.data.batching import IGNORE, batches_by_length, pad
from unrolled.data.words import BEGIN
from unrolled.networks import Hypothesis, SearchOptions, word_loss
from unrolled.networks.beam import beam_options
from unrolled.networks.devices import moved
from unrolled.networks.word_search import known_words, search_words
from unrolled.tasks.translate.model import EncoderDecoder
from unrolled.tasks.translate.way import Way
from unrolled.training import share_rows

__all__ = ["BEAM", "LENGTH_PENALTY", "ByDecoder"]

BEAM = 8
LENGTH_PENALTY = 0.6
_ROWS_AT_ONCE = 64


class ByDecoder(Way):
    """By a network that reads and one that writes.

    Args:
        network: Both of them.
    """

    def __init__(self, network: EncoderDecoder) -> None:
        self.network = network

    def loss(
        self, sources: Sequence[Tensor], targets: Sequence[Tensor], label_smoothing: float
    ) -> tuple[Tensor, int]:
        """Return the cross-entropy of the targets' tokens, each after the right ones before it."""
        source, lengths = moved(pad(sources), self.network)
        words, _ = pad([torch.cat([torch.tensor([BEGIN]), target[:-1]]) for target in targets])
        scores, _ = self.network(source, lengths, moved(words, source))
        return word_loss(scores, moved(pad(targets, IGNORE)[0], source), label_smoothing)

    @torch.inference_mode()
    def search(
        self, sources: Sequence[Tensor], chosen: SearchOptions, max_length: int
    ) -> list[list[Hypothesis]]:
        """Return the best sentences for each source that a beam search finds."""
        options = beam_options(
            chosen, beam=BEAM, length_penalty=LENGTH_PENALTY, max_length=max_length
        )

        def searched(batch: list[int]) -> list[list[Hypothesis]]:
            source, lengths = moved(pad([sources[index] for index in batch]), self.network)
            state = self.network.start(source, lengths)
            return search_words(self.network.decoder, state, len(batch), options)

        batches = batches_by_length([len(tokens) for tokens in sources], _ROWS_AT_ONCE)
        return share_rows(searched, batches)

    @torch.inference_mode()
    def attention(self, source: Tensor, hypotheses: Sequence[Hypothesis]) -> list[Tensor] | None:
        """Return the weights of the search: reading the words again at once gives the same."""
        words, lengths = known_words(hypotheses)
        count = len(hypotheses)
        read = (source.expand(count, -1), torch.full((count,), len(source)), words)
        _, weights = self.network(*moved(read, self.network))
        if weights is None:
            return None
        return [row[:length] for row, length in zip(weights, lengths, strict=True)]
