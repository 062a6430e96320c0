import math
import random

import pytest

from unrolled.comparison.statistics import compare_all, student_p, student_quantile

# Quantiles of Student's distribution, two-sided 5 % and 1 %: any printed table
TABLE = {
    1: (12.706, 63.657),
    2: (4.303, 9.925),
    3: (3.182, 5.841),
    4: (2.776, 4.604),
    5: (2.571, 4.032),
    9: (2.262, 3.250),
    10: (2.228, 3.169),
    29: (2.045, 2.756),
    30: (2.042, 2.750),
}


@pytest.mark.parametrize("df", TABLE)
def test_student_is_that_of_the_table(df):
    for p, t in zip((0.05, 0.01), TABLE[df], strict=True):
        assert student_p(t, df) == pytest.approx(p, rel=2e-3)
        assert student_p(-t, df) == student_p(t, df)
        assert student_quantile(p, df) == pytest.approx(t, abs=6e-4)
    assert student_p(0.0, df) == pytest.approx(1)


def test_student_is_that_of_the_closed_forms():
    for t in (0.1, 0.7, 2.9, 30.0):
        assert student_p(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t))  # Cauchy's
        assert student_p(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t))
        angle = math.atan(t / math.sqrt(3))
        three = 1 - 2 / math.pi * (angle + math.sin(angle) * math.cos(angle))
        assert student_p(t, 3) == pytest.approx(three)


def by_seed(*values):
    return dict(enumerate(values))


def test_a_pair_is_tested_by_its_differences():
    # by hand: differences 1, 2, 3: mean 2, deviation 1, t = 2 sqrt 3 = 3.4641, df = 2
    [found] = compare_all({"a": by_seed(11, 22, 33), "b": by_seed(10, 20, 30)})
    assert found.mean == 2
    assert found.p == pytest.approx(student_p(2 * math.sqrt(3), 2))
    assert found.p == pytest.approx(0.0742, abs=1e-4)
    half = 4.3027 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), rel=1e-4)
    assert not found.is_significant


def test_one_seed_says_nothing():
    [found] = compare_all({"a": {0: 1.0}, "b": {0: 0.0}})
    assert (found.p, found.low, found.high) == (None, None, None)
    assert not found.is_significant


def test_only_the_seeds_that_both_have_count():
    [found] = compare_all({"a": by_seed(1, 2, 3), "b": {1: 0.0, 2: 0.5, 7: 90.0}})
    assert found.num_seeds == 2
    assert found.mean == pytest.approx(2.25)
    assert compare_all({"a": {0: 1.0}, "b": {1: 1.0}}) == []


def test_equal_values_are_no_difference():
    [found] = compare_all({"a": by_seed(1, 1, 1), "b": by_seed(1, 1, 1)})
    assert found.p == 1


def test_the_same_difference_in_every_seed_counts_by_its_sign():
    # five coins of one side: 2 / 2^5
    [found] = compare_all({"a": by_seed(1, 1, 1, 1, 1), "b": by_seed(0, 0, 0, 0, 0)})
    assert found.p == 2 / 32


def test_many_pairs_make_each_less_sure():
    values = {"a": by_seed(5.0, 5.1, 5.3), "b": by_seed(4.0, 4.2, 4.2), "c": by_seed(1, 1.3, 1.4)}
    alone = {
        (x, y): compare_all({x: values[x], y: values[y]})[0].p
        for x, y in (("a", "b"), ("a", "c"), ("b", "c"))
    }
    together = {(one.first, one.second): one.p for one in compare_all(values)}
    smallest, middle, largest = sorted(alone, key=alone.get)
    assert together[smallest] == pytest.approx(3 * alone[smallest])
    assert together[middle] == pytest.approx(max(2 * alone[middle], together[smallest]))
    assert together[largest] == pytest.approx(max(alone[largest], together[middle]))


def test_false_claims_among_equals_are_rarer_than_stated():
    random.seed(0)
    claims = 0
    for _ in range(400):
        values = {name: by_seed(*(random.gauss(0, 1) for _ in range(4))) for name in "abcd"}
        claims += any(one.is_significant for one in compare_all(values))
    assert claims / 400 < 0.075  # 5 % is allowed; 400 draws of it stray by 1.1 %
