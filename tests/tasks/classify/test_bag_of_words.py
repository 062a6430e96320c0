"""The control of text classifiers, checked against scikit-learn."""

import random

import pytest
import torch

from unrolled.tasks.classify import bag_of_words, logistic
from unrolled.tasks.classify.bag_of_words import BagOfWords


@pytest.mark.parametrize(("at_once", "most_kept"), [(2**17, 2**22), (11, 2**22), (11, 10)])
def test_it_is_the_regression_of_scikit_learn(at_once, most_kept, monkeypatch):
    monkeypatch.setattr(bag_of_words, "_AT_ONCE", at_once)
    monkeypatch.setattr(logistic, "_MOST_KEPT", most_kept)
    linear = pytest.importorskip("sklearn.linear_model")
    features = pytest.importorskip("sklearn.feature_extraction.text")
    chance = random.Random(0)
    texts = [[chance.choice("abcdefgh") for _ in range(5)] for _ in range(60)]
    classes = [(text.count("a") > text.count("b")) + (text[0] in "acd") for text in texts]
    bag = BagOfWords.fit(texts, classes, num_classes=3)
    vectorizer = features.CountVectorizer(binary=True, analyzer=list)
    peer = linear.LogisticRegression(C=1, tol=1e-8, max_iter=1000)
    peer.fit(vectorizer.fit_transform(texts), classes)
    ours = bag.scores(texts).softmax(1)
    theirs = peer.predict_proba(vectorizer.transform(texts))
    assert ours.numpy() == pytest.approx(theirs, abs=1e-3)
    assert bag.predict(texts) == peer.predict(vectorizer.transform(texts)).tolist()


def test_a_text_without_a_known_word_has_the_most_frequent_class():
    bag = BagOfWords.fit([["a"], ["a"], ["b"]], [1, 1, 0], num_classes=2)
    assert bag.predict([[], ["new"], ["b"]]) == [1, 1, 0]


def test_pieces_have_few_words_whatever_the_texts_are(monkeypatch):
    monkeypatch.setattr(bag_of_words, "_AT_ONCE", 6)
    texts = [{0, 1, 2}, set(), {1, 2, 3}, {0}, set(range(9)), {4, 5}, set()]
    weight = torch.arange(10.0).reshape(5, 2)  # of five words, so that six are at once
    bags = bag_of_words._Bags([{word % 5 for word in text} for text in texts])
    pieces = [*bags.scores(weight, torch.ones(2))]
    assert [len(piece) for piece in pieces] == [3, 2, 2]
    expected = [weight[sorted({word % 5 for word in text})].sum(0) + 1 for text in texts]
    assert torch.cat(pieces).equal(torch.stack(expected))
    assert [piece.shape for piece in bag_of_words._Bags([]).scores(weight, torch.ones(2))] == [
        (0, 2)
    ]
