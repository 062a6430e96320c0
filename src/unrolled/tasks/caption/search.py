"""The words that a captioner finds best for what it sees or hears, and where it looked."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.data.batching import pad
from unrolled.data.words import BEGIN, END, UNKNOWN
from unrolled.kernels import Packed, packing_once
from unrolled.networks.beam import BeamOptions, Hypothesis, beam_search
from unrolled.networks.decoder import DecoderState
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
    packed: Packed = {}

    def step(words: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        with packing_once(packed):
            scores, state = captioner.decoder.step(words, state)
        scores[:, [UNKNOWN, BEGIN]] = -torch.inf
        return scores, state

    state = captioner.start(media, lengths)
    return beam_search(step, state, len(media), BEGIN, END, options)


@torch.inference_mode()
def attention_of(
    captioner: Captioner, media: Tensor, lengths: Tensor | None, found: Sequence[Hypothesis]
) -> list[list[list[float]]] | None:
    """Return where the captioner looked for each word of the captions of one row.

    Args:
        captioner: In eval mode.
        media: One row of what `Captioner.start` takes.
        lengths: The same.
        found: Captions of it.

    Returns:
        For each caption a row for each word and one for the end, if it came to that: the weights
        over the places of the grid, row by row, or over the steps. None without attention.
    """
    written = [[*one.tokens, *([END] if one.complete else [])] for one in found]
    words, _ = pad([torch.tensor([BEGIN, *ids[:-1]]) for ids in written])
    rows = (len(found), *(-1 for _ in media.shape[1:]))
    repeated = None if lengths is None else lengths.expand(len(found))
    _, weights = captioner(media.expand(rows), words, repeated)
    if weights is None:
        return None
    return [
        [[round(weight, 4) for weight in step] for step in weights[row, : len(ids)].tolist()]
        for row, ids in enumerate(written)
    ]
