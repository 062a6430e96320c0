"""What is said without a network: the most frequent class or the mean, nearest ones, lines."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from unrolled.data.media import thumbnail
from unrolled.data.words import split_words
from unrolled.tasks.classify.answers import Answer
from unrolled.tasks.classify.bag_of_words import BagOfWords
from unrolled.tasks.classify.encoders import NumberEncoder
from unrolled.tasks.classify.examples import Labelled
from unrolled.tasks.classify.media import MediumEncoder
from unrolled.tasks.classify.neighbours import (
    dtw_distances,
    euclidean_distances,
    logistic_regression,
    nearest,
    nearest_mean,
    nearest_of,
    ridge_regression,
    walkable,
)

__all__ = ["trivial_answers"]


def trivial_answers(
    answer: Answer,
    encoder: object,
    training: Sequence[Labelled],
    examples: Sequence[Labelled],
    encode: Callable[[Labelled], Tensor],
) -> dict[str, Sequence[float]]:
    """Return by the name of a predictor what it says of each example, (N,).

    Args:
        answer: What is asked for.
        encoder: What turns content into numbers, which says what kind of content it is.
        training: What the predictors learn from.
        examples: What they say something of, N of them.
        encode: Returns an example as the network reads it.
    """
    values = [answer.value(str(example.label)) for example in training]
    classes, num_classes = [int(value) for value in values], answer.num_scores
    answers: dict[str, Sequence[float]] = {}
    if answer.labels:
        counts = Counter(classes)
        most_frequent = max(range(num_classes), key=counts.__getitem__)
        answers["most frequent class"] = [most_frequent] * len(examples)
    else:
        answers["mean"] = [sum(values) / len(values)] * len(examples)
    if isinstance(encoder, MediumEncoder):
        seen, shown = (
            torch.stack([thumbnail(cast(Tensor, example.content)) for example in part])
            for part in (training, examples)
        )
        answers["nearest neighbour"] = nearest(torch.cdist(shown, seen), values)
        if answer.labels:
            answers["nearest mean"] = nearest_mean(seen, classes, shown)
    elif isinstance(encoder, NumberEncoder):
        known, new = ([*map(encode, part)] for part in (training, examples))
        answers["nearest series"] = nearest_of(euclidean_distances, new, known, values)
        if walkable(new, known):
            answers["nearest by DTW"] = nearest_of(dtw_distances, new, known, values)
        if answer.labels:
            linear = logistic_regression(known, classes, num_classes, new)
            answers["logistic regression"] = linear
        else:
            answers["ridge regression"] = ridge_regression(known, values, new)
    elif answer.labels:
        bag = BagOfWords.fit(map(_words, training), classes, num_classes)
        answers["bag of words"] = bag.predict(map(_words, examples))
    return answers


def _words(example: Labelled) -> list[str]:
    return split_words(str(example.content).lower())
