"""Many to many: a tag for every word of a sentence."""

from collections.abc import Sequence
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from unrolled.errors import DataError
from unrolled.sklearn.estimator import Estimator, takes_options_of
from unrolled.tasks.tag import Tagger, TagTask
from unrolled.tasks.tag.conll import TaggedSentence

__all__ = ["SequenceTagger"]

Sentences = Sequence[Sequence[str]]


@takes_options_of(TagTask)
class SequenceTagger(Estimator):
    """A tag for every word: parts of speech, entities (BIO), or any other.

    `fit(X, y)` trains as `unrolled train tag` does. X is a list of sentences, each a list of words;
    y is a list of their tags, as many.

    Example:
        >>> X, y = [["the", "cat", "sleeps"]] * 20, [["DET", "NOUN", "VERB"]] * 20
        >>> model = SequenceTagger(hidden_size=8, updates=40, random_state=0).fit(X, y)
        >>> model.predict([["the", "cat"]])
        [['DET', 'NOUN']]

    Attributes:
        classes_: The tags, in the order of `predict_proba`.
    """

    def fit(self, X: Sentences, y: Sentences) -> Self:
        """Train on sentences and the tags of their words.

        Raises:
            DataError: X or y cannot be used.
            OptionError: A parameter is out of range.
            DivergedError: A loss is not finite.
        """
        examples = _tagged(X, y)
        if len({tag for example in examples for tag in example.tags}) < 2:
            raise DataError("y has one tag: there is nothing to tell apart", "give another")
        self._train(examples, file="X.conll")
        self.classes_ = np.array(self._fitted.tags)
        return self

    def predict(self, X: Sentences) -> list[list[str]]:
        """Return the tags of each sentence: with a CRF, the likeliest of all rows of tags."""
        sentences = _sentences("X", X)
        check_is_fitted(self)
        predictions = self._fitted.tagged(self.model_, sentences)
        return [prediction["tags"] for prediction in predictions]

    def predict_proba(self, X: Sentences) -> list[NDArray[np.float64]]:
        """Return how likely each tag is by itself, (T, C) for a sentence of T words."""
        sentences = _sentences("X", X)
        check_is_fitted(self)
        tagger, probabilities = cast(Tagger, self.model_), []
        for words in sentences:
            if not words:
                probabilities.append(np.zeros((0, len(self.classes_))))
                continue
            batch = self._fitted.collate([words])
            with torch.inference_mode():
                scores, _ = tagger(batch)
                logarithms = tagger.log_probabilities(scores, batch.lengths)
            probabilities.append(logarithms[0, : len(words)].double().exp().numpy())
        return probabilities

    def score(self, X: Sentences, y: Sentences) -> float:
        """Return the share of words that are given their tag."""
        examples = _tagged(X, y)
        predicted = self.predict([example.words for example in examples])
        right = [
            tag == other
            for example, tags in zip(examples, predicted, strict=True)
            for tag, other in zip(example.tags, tags, strict=True)
        ]
        if not right:
            raise DataError("no word to measure on")
        return sum(right) / len(right)

    @property
    def _fitted(self) -> TagTask:
        return cast(TagTask, self._loaded.task)


def _tagged(given: Any, answers: Any) -> list[TaggedSentence]:
    sentences, tags = _sentences("X", given), _sentences("y", answers)
    check_consistent_length(sentences, tags)
    for index, (words, of_words) in enumerate(zip(sentences, tags, strict=True)):
        if len(words) != len(of_words):
            message = f"y[{index}]: {len(of_words)} tags, and X[{index}] has {len(words)} words"
            raise DataError(message, "give each word a tag")
    pairs = zip(sentences, tags, strict=True)
    return [TaggedSentence(words, of_words) for words, of_words in pairs if words]


def _sentences(name: str, given: Any) -> list[tuple[str, ...]]:
    if given is None or isinstance(given, str):
        raise DataError(f"{name}: expected a list of lists of str, got {given!r}")
    sentences = []
    for index, words in enumerate(given):
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            message = f"{name}[{index}]: expected a list of str, got {words!r:.60}"
            raise DataError(message, "cut the sentence into words")
        sentences.append(tuple(map(str, words)))
    return sentences
