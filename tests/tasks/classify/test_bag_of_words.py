"""The control of text classifiers, checked against scikit-learn."""

import random

import pytest

from unrolled.tasks.classify import bag_of_words, logistic
from unrolled.tasks.classify.bag_of_words import BagOfWords


@pytest.mark.parametrize(("at_once", "most_kept"), [(2**16, 2**22), (7, 2**22), (7, 10)])
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
