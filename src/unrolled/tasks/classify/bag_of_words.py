"""The control of a text classifier: logistic regression on which words occur, order unseen."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.tasks.classify.logistic import fit_logistic

__all__ = ["BagOfWords"]


class BagOfWords:
    """Multinomial logistic regression on the set of words of a text.

        x_v = 1 if word v occurs, 0 if not
        p(class) = softmax(W x + b),   minimizing  sum of -log p(true class) + |W|^2 / 2

    That is `LogisticRegression(C=1)` of scikit-learn on `CountVectorizer(binary=True)`.

    Args:
        words: The words by their numbers.
        weight: (V, C).
        bias: (C,).

    Example:
        >>> bag = BagOfWords.fit([["good"], ["bad"]], [1, 0], num_classes=2)
        >>> bag.predict([["not", "bad"], ["good", "good"]])
        [0, 1]
    """

    def __init__(self, words: dict[Hashable, int], weight: Tensor, bias: Tensor) -> None:
        self._words = words
        self._weight = weight
        self._bias = bias

    @classmethod
    def fit(
        cls, texts: Sequence[Iterable[Hashable]], classes: Sequence[int], num_classes: int
    ) -> Self:
        """Return the regression that fits `texts` best: the same numbers each time (L-BFGS).

        Args:
            texts: At least one, each its words.
            classes: The class of each.
            num_classes: C.
        """
        words: dict[Hashable, int] = {}
        for text in texts:
            for word in text:
                words.setdefault(word, len(words))
        ids, offsets = _encode(words, texts)
        weight, bias = fit_logistic(
            lambda w, b: _score(ids, offsets, w, b), classes, len(words), num_classes
        )
        return cls(words, weight, bias)

    def predict(self, texts: Sequence[Iterable[Hashable]]) -> list[int]:
        """Return the most probable class of each text; words that were not seen count nothing."""
        classes: list[int] = self.scores(texts).argmax(1).tolist()
        return classes

    def scores(self, texts: Sequence[Iterable[Hashable]]) -> Tensor:
        """Return the logarithm of each class's probability, but for a constant, (N, C)."""
        return _score(*_encode(self._words, texts), self._weight, self._bias)


def _encode(
    words: Mapping[Hashable, int], texts: Sequence[Iterable[Hashable]]
) -> tuple[Tensor, Tensor]:
    """Return the words of all texts in one row, and where each text begins in it."""
    ids: list[int] = []
    offsets: list[int] = []
    for text in texts:
        offsets.append(len(ids))
        ids += sorted({words[word] for word in text if word in words})
    return torch.tensor(ids, dtype=torch.int64), torch.tensor(offsets)


def _score(ids: Tensor, offsets: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.embedding_bag(ids, weight, offsets, mode="sum") + bias
