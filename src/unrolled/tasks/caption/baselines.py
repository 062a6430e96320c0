"""Captions without learning: what a captioner has to be better than."""

from collections import Counter
from collections.abc import Sequence

import torch

from unrolled.data.media import thumbnail
from unrolled.metrics.text import text_metrics
from unrolled.tasks.caption.captions import Caption
from unrolled.tasks.caption.neighbours import Neighbours

__all__ = ["best_constant", "nearest_by_features", "nearest_neighbours"]

_CANDIDATES = 25
_COMPARED = 500  # training captions that candidates are tried on


def best_constant(training: Sequence[Caption], short: bool = False) -> str:
    """Return the caption that is best for all, whatever is seen: by its BLEU on training captions.

    Tried are the most frequent captions and those whose words are frequent. Where captions are
    short, of which BLEU says little, by exact matches, and of equals by chrF.
    """
    texts = Counter(example.text for example in training)
    words = Counter(word for example in training for word in example.words)

    def familiarity(example: Caption) -> float:
        return sum(words[word] for word in example.words) / len(example.words)

    familiar = sorted(training, key=familiarity, reverse=True)
    candidates = [text for text, _ in texts.most_common(_CANDIDATES)]
    candidates += [example.text for example in familiar[:_CANDIDATES]]
    references = [[example.text] for example in training[:_COMPARED]]

    def score(text: str) -> tuple[float, ...]:
        scores = text_metrics([text] * len(references), references)
        own = (scores["exact_match"], scores["chrf"])
        return own if short else (scores["bleu"] or 0.0, *own)

    return max(dict.fromkeys(candidates), key=score)


def nearest_neighbours(training: Sequence[Caption], examples: Sequence[Caption]) -> list[str]:
    """Return for each of `examples` the caption of the training example that is most like it.

    Alike are pictures of 16 x 16 pixels and recordings of 16 frames, by their squared difference.
    """
    known = torch.stack([thumbnail(example.content) for example in training])
    wanted = torch.stack([thumbnail(example.content) for example in examples])
    nearest = [int(torch.cdist(row[None], known).argmin()) for row in wanted]
    return [training[index].text for index in nearest]


def nearest_by_features(training: Sequence[Caption], examples: Sequence[Caption]) -> list[str]:
    """Return for each of `examples` the caption of the training example nearest by `Neighbours`.

    These are pictures. Recordings are compared there as in `nearest_neighbours`.
    """
    neighbours = Neighbours(len(training), 0, "picture", 0)
    neighbours.remember([example.content for example in training])
    nearest = [int(neighbours.distances(example.content).argmin()) for example in examples]
    return [training[index].text for index in nearest]
