"""What a figure means is declared, and nothing is guessed from its name."""

import pytest

from unrolled.metrics import Metric, check_declared, find_metric, metrics_of_texts
from unrolled.tasks.classify.answers import ClassAnswer, NumberAnswer

ERRORS = Metric("word_error_rate", "lower", "%")
ACCURACY = Metric("accuracy", "higher", share=True)
COUNT = Metric("num_unseen_words", None)


def test_a_metric_says_which_of_two_figures_is_better():
    assert ERRORS.is_better(0.1, 0.2)
    assert not ERRORS.is_better(0.2, 0.1)
    assert ACCURACY.is_better(0.2, 0.1)
    for metric in (ERRORS, ACCURACY):
        assert not metric.is_better(0.1, 0.1)


def test_people_read_a_name_and_its_unit():
    labels = [metric.label for metric in (ERRORS, ACCURACY, COUNT)]
    assert labels == ["word error rate (%)", "accuracy", "unseen words"]


def test_a_metric_is_found_by_its_name():
    assert find_metric([ERRORS, ACCURACY], "accuracy") is ACCURACY
    assert find_metric([ERRORS, ACCURACY], "f1") is None


def test_every_number_needs_a_metric_and_nothing_else_does():
    figures = {
        "accuracy": 0.5,
        "f1_by_type": {"PER": 1.0},
        "signature": "x",
        "word_error_rate": None,
    }
    check_declared([ACCURACY], figures)
    with pytest.raises(AssertionError, match="no metric declares f1, loss"):
        check_declared([ACCURACY], figures | {"loss": 1.0, "f1": 1})


def test_metrics_come_back_from_json_as_they_were():
    assert Metric(**ERRORS.to_dict()) == ERRORS
    assert {metric.better for short in (False, True) for metric in metrics_of_texts(short)} == {
        "higher"
    }


def test_only_a_share_of_examples_has_an_error_by_chance():
    assert [m.name for m in metrics_of_texts(short=True) if m.standard_error(0.5, 100)] == [
        "exact_match"
    ]
    assert [m.name for m in NumberAnswer.metrics if m.standard_error(0.5, 100)] == []
    assert [m.name for m in ClassAnswer.metrics if m.standard_error(0.5, 100)] == [
        "accuracy",
        "macro_f1",
    ]
