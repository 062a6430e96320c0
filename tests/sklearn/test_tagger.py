"""The tagger with scikit-learn's face."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from unrolled.errors import DataError
from unrolled.sklearn import SequenceTagger
from unrolled.tasks import load

X = [["the", "cat", "sleeps"], ["a", "dog", "and", "the", "cat"], []] * 12
y = [["DET", "NOUN", "VERB"], ["DET", "NOUN", "CONJ", "DET", "NOUN"], []] * 12


@pytest.fixture(scope="module")
def fitted():
    return SequenceTagger(hidden_size=8, updates=80, random_state=0).fit(X, y)


def test_it_learns_and_says_how_sure_it_is(fitted, tmp_path):
    assert fitted.score(X, y) == 1.0
    assert fitted.predict([["the", "dog"], []]) == [["DET", "NOUN"], []]
    probabilities = fitted.predict_proba(X[:3])
    assert [each.shape for each in probabilities] == [(3, 4), (5, 4), (0, 4)]
    assert probabilities[0].sum(1) == pytest.approx(1.0, abs=1e-5)
    best = fitted.classes_[probabilities[0].argmax(1)]
    assert best.tolist() == y[0]
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(X[:1])[0], probabilities[0])
    fitted.save(tmp_path / "run")
    assert load(tmp_path / "run").task.tags == tuple(fitted.classes_)


def test_a_clone_is_not_fitted(fitted):
    with pytest.raises(NotFittedError):
        clone(fitted).predict(X)


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        ([["a", "b"]], [["X"]], r"y\[0\]: 1 tags, and X\[0\] has 2 words"),
        (["a b"], [["X", "Y"]], r"X\[0\]: expected a list of str, got 'a b'"),
        ([["a", 3]], [["X", "Y"]], r"X\[0\]: expected a list of str"),
        ([["a", "b"]], [["X", "X"]], "y has one tag"),
        ("a b", [["X", "X"]], "X: expected a list of lists of str"),
    ],
)
def test_what_cannot_be_used_is_named(words, tags, message):
    with pytest.raises(DataError, match=message):
        SequenceTagger().fit(words, tags)
