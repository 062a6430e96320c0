"""Metrics of classes, checked against scikit-learn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.tasks.classify.confusion import Confusion

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(PAIRS)
def test_the_metrics_are_those_of_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    truth, predicted = zip(*pairs, strict=True)
    confusion = Confusion.of(truth, predicted, num_classes=4)
    expected = metrics.confusion_matrix(truth, predicted, labels=range(4))
    assert confusion.counts.tolist() == expected.tolist()
    assert confusion.accuracy == pytest.approx(metrics.accuracy_score(truth, predicted))
    macro = metrics.f1_score(truth, predicted, average="macro", zero_division=0)
    assert confusion.macro_f1 == pytest.approx(macro)
    each = metrics.f1_score(truth, predicted, average=None, labels=range(4), zero_division=0)
    assert confusion.f1 == pytest.approx(each.tolist())


def test_a_class_that_is_never_found_counts_as_zero():
    confusion = Confusion.of([0, 0, 0, 1], [0, 0, 0, 0], num_classes=3)  # class 2 does not occur
    assert confusion.accuracy == 3 / 4
    assert confusion.f1 == pytest.approx([6 / 7, 0, 0])
    assert confusion.macro_f1 == pytest.approx(3 / 7)
