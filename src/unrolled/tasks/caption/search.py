"""The words that a captioner finds best for what it sees or hears, and where it looked."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.networks import BeamOptions, Hypothesis
from unrolled.networks.devices import moved
from unrolled.networks.word_search import known_words, search_words
from unrolled.tasks.caption.model import Captioner

__all__ = ["attention_of", "best_captions"]


@torch.inference_mode()
def best_captions(
    captioner: Captioner, media: Tensor, lengths: Tensor | None, options: BeamOptions
) -> list[list[Hypothesis]]:
    """Return the best captions of each row of a batch; none has an unknown word.

    Args:
        captioner: In eval mode.
        media: What `Captioner.start` takes.
        lengths: The same.
        options: Of the search.
    """
    state = captioner.start(media, lengths)
    return search_words(captioner.decoder, state, len(media), options)


@torch.inference_mode()
def attention_of(
    captioner: Captioner, media: Tensor, lengths: Tensor | None, hypotheses: Sequence[Hypothesis]
) -> list[list[list[float]]] | None:
    """Return where the captioner looked for each word of the captions of one row.

    Args:
        captioner: In eval mode.
        media: One row of what `Captioner.start` takes.
        lengths: The same.
        hypotheses: Captions of it.

    Returns:
        For each caption a row for each word and one for the end, if it came to that: the weights
        over the places of the grid, row by row, or over the steps. None without attention.
    """
    words, num_written = known_words(hypotheses)
    rows = (len(hypotheses), *(-1 for _ in media.shape[1:]))
    repeated = None if lengths is None else lengths.expand(len(hypotheses))
    _, weights = captioner(media.expand(rows), moved(words, media), repeated)
    if weights is None:
        return None
    return [
        [[round(weight, 4) for weight in step] for step in weights[row, :length].tolist()]
        for row, length in enumerate(num_written)
    ]
