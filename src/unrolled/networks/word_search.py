"""The words that a decoder finds best, by beam search; never an unknown one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.data.batching import pad
from unrolled.data.words import BEGIN, END, UNKNOWN
from unrolled.kernels import WeightCache, caching_weights
from unrolled.networks.beam import BeamOptions, Hypothesis, beam_search
from unrolled.networks.decoder import Decoder, DecoderState
from unrolled.networks.devices import device_of, moved

__all__ = ["known_words", "search_words"]


def search_words(
    decoder: Decoder, state: DecoderState, batch_size: int, options: BeamOptions
) -> list[list[Hypothesis]]:
    """Return the best words for each row.

    Args:
        decoder: In eval mode.
        state: Before the first word, of `batch_size` rows.
        batch_size: Rows.
        options: Of the search.
    """
    weight_cache, device = WeightCache(), device_of(decoder)

    def step(words: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        with caching_weights(weight_cache):
            scores, state = decoder.step(moved(words, device), state)
        scores = scores.cpu()  # a search looks at single numbers
        scores[:, [UNKNOWN, BEGIN]] = -torch.inf
        return scores, state

    return beam_search(step, state, batch_size, BEGIN, END, options)


def known_words(hypotheses: Sequence[Hypothesis]) -> tuple[Tensor, list[int]]:
    """Return words that were found as a decoder reads them again, and how many each has written.

    Returns:
        (N, T) int64, the mark of the beginning first; and for each hypothesis the steps that wrote
        one of its words, or its end.
    """
    written = [hypothesis.with_end(END) for hypothesis in hypotheses]
    words, _ = pad([torch.tensor([BEGIN, *ids[:-1]]) for ids in written])
    return words, [len(ids) for ids in written]
