import pytest

from unrolled.benchmark.times import Times


def test_median_quartiles_and_minimum_are_those_counted_by_hand():
    times = Times.of([0.005, 0.001, 0.004, 0.002, 0.003])  # 1 2 3 4 5: quartiles 2 and 4
    assert times.repeats == 5
    assert times.median == pytest.approx(3.0)
    assert times.quartiles == pytest.approx((2.0, 4.0))
    assert times.minimum == pytest.approx(1.0)
    assert times.spread == pytest.approx(2 / 3)


def test_quartiles_of_an_even_number_lie_between_its_values():
    times = Times.of([0.001, 0.002, 0.003, 0.006])  # inclusive: at positions 0.75 and 2.25
    assert times.quartiles == pytest.approx((1.75, 3.75))
    assert times.median == pytest.approx(2.5)


def test_a_single_repeat_is_its_own_statistics():
    assert Times.of([0.002]) == Times(1, 2.0, (2.0, 2.0), 2.0)
