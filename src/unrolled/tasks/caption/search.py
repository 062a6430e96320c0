"""The words that a captioner finds best for what it sees or hears, and where it looked."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unrolled.data.batching import IGNORE, pad
from unrolled.data.words import BEGIN, END, UNKNOWN
from unrolled.networks import BeamOptions, Hypothesis
from unrolled.networks.beam import length_penalty
from unrolled.networks.devices import moved
from unrolled.networks.word_search import known_words, search_words
from unrolled.tasks.caption.model import Captioner
from unrolled.tasks.caption.neighbours import Neighbour

__all__ = ["Candidate", "attention_of", "best_captions", "best_of", "candidates_of"]


class Candidate(NamedTuple):
    """A caption that may be chosen.

    hypothesis: The caption, and its score: by the decoder alone, until `best_of` has weighed it.
    distance: Of the nearest example that has it; 1, as far as any two are, where none has.
    origin: Who has it: the "network", as the beam found it; an "example", one of the neighbours;
        or "both".
    """

    hypothesis: Hypothesis
    distance: float = 1.0
    origin: Literal["network", "example", "both"] = "network"


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
def candidates_of(
    captioner: Captioner,
    media: Tensor,
    lengths: Tensor | None,
    written: Sequence[Hypothesis],
    neighbours: Sequence[Neighbour],
    options: BeamOptions,
) -> list[Candidate]:
    """Return what was written, and the neighbours' captions, scored by the decoder.

    Args:
        captioner: In eval mode.
        media: One row of what `Captioner.start` takes.
        lengths: The same.
        written: What the beam found.
        neighbours: Captions of the nearest examples.
        options: Of the search; captions that repeat what may not be repeated are left out.
    """
    distances = {tuple(each.words.tolist()): each.distance for each in neighbours}
    candidates = []
    for each in written:
        if each.tokens in distances:
            candidates.append(Candidate(each, distances.pop(each.tokens), "both"))
        else:
            candidates.append(Candidate(each))
    n = options.no_repeat
    rest = [words for words in distances if n is None or not _repeats(words, n)]
    if not rest:
        return candidates
    begin, end = torch.tensor([BEGIN]), torch.tensor([END])
    words = [torch.tensor(each, dtype=torch.int64) for each in rest]
    previous, _ = pad([torch.cat([begin, each]) for each in words], END)
    targets, _ = pad([torch.cat([each, end]) for each in words], IGNORE)
    state = captioner.start(media, lengths)
    state = state.rows(torch.zeros(len(rest), dtype=torch.int64))
    scores = captioner.decoder(moved(previous, media), state)[0].cpu().double()
    scores[:, :, [UNKNOWN, BEGIN]] = -torch.inf  # as in the search
    of_each = scores.log_softmax(-1).gather(2, targets.clamp(min=0)[:, :, None]).squeeze(2)
    totals = of_each.masked_fill(targets == IGNORE, 0.0).sum(1).tolist()
    for tokens, total in zip(rest, totals, strict=True):
        score = total / length_penalty(len(tokens) + 1, options.length_penalty)
        hypothesis = Hypothesis(tokens, total, score, complete=True)
        candidates.append(Candidate(hypothesis, distances[tokens], "example"))
    return candidates


def best_of(candidates: Sequence[Candidate], weight: float, count: int) -> list[Candidate]:
    """Return the best candidates with their weighed scores, the best first; of equals the first.

    Args:
        candidates: At least one.
        weight: What a distance of 1 takes from a score, in nats.
        count: How many are returned, if there are as many.
    """

    def weighed(candidate: Candidate) -> Candidate:
        hypothesis, distance, _ = candidate
        score = hypothesis.score - weight * distance
        return candidate._replace(hypothesis=replace(hypothesis, score=score))

    def place(candidate: Candidate) -> tuple[bool, float]:
        return not candidate.hypothesis.complete, -candidate.hypothesis.score

    return sorted(map(weighed, candidates), key=place)[:count]


def _repeats(words: Sequence[int], n: int) -> bool:
    """Return whether n words in a row occur twice."""
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return len(set(grams)) < len(grams)


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
