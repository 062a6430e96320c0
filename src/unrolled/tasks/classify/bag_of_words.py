"""The control of a text classifier: logistic regression on which words occur, order unseen."""

from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.tasks.classify.logistic import fit_logistic

__all__ = ["BagOfWords"]

_AT_ONCE = 2**17  # words: what torch makes of each for a gradient takes 260 bytes


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
        cls, texts: Iterable[Iterable[Hashable]], classes: Sequence[int], num_classes: int
    ) -> Self:
        """Return the regression that fits `texts` best: the same numbers each time (L-BFGS).

        Args:
            texts: At least one, each its words.
            classes: The class of each.
            num_classes: C.
        """
        words: dict[Hashable, int] = {}
        bags = _Bags({words.setdefault(word, len(words)) for word in text} for text in texts)
        weight, bias = fit_logistic(bags.scores, classes, len(words), num_classes)
        return cls(words, weight, bias)

    def predict(self, texts: Iterable[Iterable[Hashable]]) -> list[int]:
        """Return the most probable class of each text; words that were not seen count nothing."""
        classes: list[int] = self.scores(texts).argmax(1).tolist()
        return classes

    def scores(self, texts: Iterable[Iterable[Hashable]]) -> Tensor:
        """Return the logarithm of each class's probability, but for a constant, (N, C)."""
        words = self._words
        bags = _Bags({words[word] for word in text if word in words} for text in texts)
        return torch.cat([*bags.scores(self._weight, self._bias)])


class _Bags:
    """The different words of texts: the numbers of all in one row, and where each text begins.

    Args:
        texts: Each the numbers of its words.
    """

    def __init__(self, texts: Iterable[set[int]]) -> None:
        self._ids = array("i")
        self._begins = array("q", [0])
        for text in texts:
            self._ids.extend(sorted(text))
            self._begins.append(len(self._ids))

    def scores(self, weight: Tensor, bias: Tensor) -> Iterator[Tensor]:
        """Yield the scores of some texts after those of others, (n, C).

        They have `_AT_ONCE` words together, or as many as there are different ones: the gradient of
        each piece is as large as the weight.
        """
        bounds = np.array(self._begins)
        at_once, num_texts, first = max(_AT_ONCE, len(weight)), len(bounds) - 1, 0
        while True:
            after = int(np.searchsorted(bounds, bounds[first] + at_once, "right")) - 1
            after = min(max(after, first + 1), num_texts)
            begins = bounds[first : after + 1]
            ids = np.array(self._ids[begins[0] : begins[-1]], dtype=np.int64)
            offsets = torch.from_numpy(begins[:-1] - begins[0])
            yield F.embedding_bag(torch.from_numpy(ids), weight, offsets, mode="sum") + bias
            if (first := after) >= num_texts:
                return
