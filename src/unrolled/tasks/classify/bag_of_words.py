"""The control of a text classifier: logistic regression on which words occur, order unseen."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BagOfWords"]

_MAX_ITERATIONS = 100


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
        weight = torch.zeros(len(words), num_classes, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
        bag, targets = cls(words, weight, bias), torch.tensor(classes)
        ids, offsets = bag._encode(texts)
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=_MAX_ITERATIONS,
            tolerance_grad=1e-5 * len(texts),
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            scores = bag._score(ids, offsets)
            total = F.cross_entropy(scores, targets, reduction="sum") + weight.square().sum() / 2
            total.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
            return total

        optimizer.step(loss)  # type: ignore[no-untyped-call]  # nor for this
        return cls(words, weight.detach(), bias.detach())

    def predict(self, texts: Sequence[Iterable[Hashable]]) -> list[int]:
        """Return the most probable class of each text; words that were not seen count nothing."""
        classes: list[int] = self._score(*self._encode(texts)).argmax(1).tolist()
        return classes

    def _encode(self, texts: Sequence[Iterable[Hashable]]) -> tuple[Tensor, Tensor]:
        """Return the words of all texts in one row, and where each text begins in it."""
        ids: list[int] = []
        offsets: list[int] = []
        for text in texts:
            offsets.append(len(ids))
            ids += sorted({self._words[word] for word in text if word in self._words})
        return torch.tensor(ids, dtype=torch.int64), torch.tensor(offsets)

    def _score(self, ids: Tensor, offsets: Tensor) -> Tensor:
        return nn.functional.embedding_bag(ids, self._weight, offsets, mode="sum") + self._bias
