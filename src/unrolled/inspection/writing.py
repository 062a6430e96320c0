"""A decoder as it is looked into: the words that it writes, and what it expects after each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unrolled.data.words import BEGIN
from unrolled.inspection.subject import Passage, Subject
from unrolled.networks import Decoder, DecoderState

__all__ = ["DecoderSubject"]

_BEGIN = "▸"  # what stands where it reads the mark of the beginning


class DecoderSubject(Subject):
    """A model that writes. Abstract: what it writes about, the derived classes say.

    Args:
        model: In eval mode.
        decoder: The part of it that writes; its first layer is looked into.
        words: The text of each word of the vocabulary, with the blank before it.
        unit: What a step is called, where words are cut into tokens.
    """

    by_step = False
    forecasts = True

    def __init__(
        self, model: nn.Module, decoder: Decoder, words: Sequence[str], unit: str = "word"
    ) -> None:
        super().__init__(model, decoder.layer, unit, words)
        self.decoder = decoder

    @torch.no_grad()
    def passage(self, words: Sequence[int], state: DecoderState) -> Passage:
        """Return how the decoder reads its own words, without the end.

        Args:
            words: Their numbers.
            state: Before the first of them, of one row.
        """
        tokens = torch.tensor([BEGIN, *words])
        return Passage(
            (_BEGIN, *(self.labels[word] for word in words)),
            self.decoder.inputs(tokens[None], state)[0],
            state=state.layers[0],
            tokens=tokens,
            context=state,
        )

    def log_probabilities(self, passage: Passage, output: Tensor) -> Tensor:
        """Return what is expected after each word."""
        scores, _, _ = self.decoder.answers(output[None], passage.context)
        return scores[0].double().log_softmax(-1)
