"""Translators that have learned next to nothing: what a model must be better than."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from unrolled.data.words import split_words
from unrolled.tasks.translate.pairs import Pair

__all__ = ["baseline_translations"]


def baseline_translations(training: Sequence[Pair], sources: Sequence[str]) -> dict[str, list[str]]:
    """Return what each of them writes for `sources`, by their names.

    most frequent: the same sentence for all, the most frequent target.
    copy: the source.
    nearest: the target of the training pair whose source has the most words in common, in
    proportion to all words of both (Jaccard); of equals the first.

    Example:
        >>> pairs = [Pair("go home", "rentre"), Pair("go on", "continue"), Pair("stop", "rentre")]
        >>> baseline_translations(pairs, ["go on now"])
        {'most frequent': ['rentre'], 'copy': ['go on now'], 'nearest': ['continue']}
    """
    most_frequent = Counter(pair.target for pair in training).most_common(1)[0][0]
    return {
        "most frequent": [most_frequent] * len(sources),
        "copy": list(sources),
        "nearest": [training[index].target for index in _nearest(training, sources)],
    }


def _nearest(training: Sequence[Pair], sources: Sequence[str]) -> list[int]:
    places: dict[str, list[int]] = {}
    sizes = np.zeros(len(training))
    for index, pair in enumerate(training):
        words = _words(pair.source)
        sizes[index] = len(words)
        for word in words:
            places.setdefault(word, []).append(index)
    having = {word: np.array(positions) for word, positions in places.items()}
    nearest = []
    for source in sources:
        words = _words(source)
        common = np.zeros(len(training))
        for word in words & having.keys():
            common[having[word]] += 1
        nearest.append(int(np.argmax(common / np.maximum(sizes + len(words) - common, 1))))
    return nearest


def _words(sentence: str) -> set[str]:
    return {word.casefold() for word in split_words(sentence)}
