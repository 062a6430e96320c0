"""The captions of many pictures or recordings, and how much the nearness of examples counts.

Not here: how one is searched for (`search.py`), what nearness is (`neighbours.py`).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unrolled.data.batching import batches_by_length
from unrolled.networks import BeamOptions, Hypothesis
from unrolled.networks.devices import moved
from unrolled.tasks.caption.model import Captioner
from unrolled.tasks.caption.neighbours import WEIGHTS, weight_in_words
from unrolled.tasks.caption.search import Candidate, best_captions, best_of, candidates_of
from unrolled.training import share_rows

__all__ = ["choose_weight", "describe_all", "figures_by_weight"]

Collate = Callable[[Sequence[Tensor]], tuple[Tensor, Tensor | None]]
Rows = list[list[Candidate]]

_AT_ONCE = 32


def describe_all(
    captioner: Captioner, contents: Sequence[Tensor], collate: Collate, options: BeamOptions
) -> Rows:
    """Return the best captions of each picture or recording, the best first.

    Args:
        captioner: In eval mode.
        contents: What is described.
        collate: Makes a batch of contents.
        options: Of the search.
    """
    rows = _written(captioner, contents, collate, options)
    neighbours = captioner.neighbours
    if neighbours is None or not (weight := float(neighbours.weight)):
        return _by_network(rows)
    return _weighed(captioner, contents, collate, options, rows, [weight])[0]


def choose_weight(
    captioner: Captioner,
    contents: Sequence[Tensor],
    collate: Collate,
    options: BeamOptions,
    figures: Callable[[Rows], tuple[float, ...]],
    names: Sequence[str],
) -> str:
    """Choose how much the nearness of examples counts; return it in words.

    Args:
        captioner: In eval mode, with neighbours, which get the weight whose captions have the
            greatest figures; of equals the smallest.
        contents: Held-out ones.
        collate: Makes a batch of contents.
        options: Of the search.
        figures: Of the captions of all contents.
        names: Of those figures.
    """
    neighbours = captioner.neighbours
    assert neighbours is not None
    neighbours.weight.zero_()
    measured = figures_by_weight(captioner, contents, collate, options, figures)
    weight = max(measured, key=measured.__getitem__)  # of equals the first
    neighbours.weight.fill_(weight)
    alone, best = (
        [f"{name} {figure:.4g}" for name, figure in zip(names, measured[each], strict=True)]
        for each in (0.0, weight)
    )
    num_examples, count = len(neighbours.keys), captioner.options.neighbours
    return weight_in_words(weight, num_examples, count, alone, best)


def figures_by_weight(
    captioner: Captioner,
    contents: Sequence[Tensor],
    collate: Collate,
    options: BeamOptions,
    figures: Callable[[Rows], tuple[float, ...]],
) -> dict[float, tuple[float, ...]]:
    """Return how good the captions are with each weight, the smallest first: 0, without neighbours.

    Args:
        captioner: In eval mode, with neighbours.
        contents: Held-out ones.
        collate: Makes a batch of contents.
        options: Of the search.
        figures: Of the captions of all contents.
    """
    rows = _written(captioner, contents, collate, options)
    further = _weighed(captioner, contents, collate, options, rows, WEIGHTS)
    return dict(zip((0.0, *WEIGHTS), map(figures, [_by_network(rows), *further]), strict=True))


def _written(
    captioner: Captioner, contents: Sequence[Tensor], collate: Collate, options: BeamOptions
) -> list[list[Hypothesis]]:
    """Return what the beam finds for each."""

    def searched(batch: list[int]) -> list[list[Hypothesis]]:
        media, lengths = moved(collate([contents[index] for index in batch]), captioner)
        return best_captions(captioner, media, lengths, options)

    batches = batches_by_length([len(content) for content in contents], _AT_ONCE)
    return share_rows(searched, batches)


def _by_network(rows: list[list[Hypothesis]]) -> Rows:
    return [[Candidate(hypothesis) for hypothesis in row] for row in rows]


@torch.inference_mode()
def _weighed(
    captioner: Captioner,
    contents: Sequence[Tensor],
    collate: Collate,
    options: BeamOptions,
    written: list[list[Hypothesis]],
    weights: Sequence[float],
) -> list[Rows]:
    """Return, for each weight, the best captions of each, neighbours' captions among them."""
    neighbours, count = captioner.neighbours, captioner.options.neighbours
    assert neighbours is not None
    weighed: list[Rows] = [[] for _ in weights]
    for content, row in zip(contents, written, strict=True):
        media, lengths = moved(collate([content]), captioner)
        nearest = neighbours.nearest(content, count)
        candidates = candidates_of(captioner, media, lengths, row, nearest, options)
        for rows, weight in zip(weighed, weights, strict=True):
            rows.append(best_of(candidates, weight, options.n_best))
    return weighed
