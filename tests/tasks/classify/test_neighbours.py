"""The nearest series by two distances, and logistic regression, against definitions and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unrolled.tasks.classify import neighbours
from unrolled.tasks.classify.neighbours import (
    dtw_distances,
    euclidean_distances,
    logistic_regression,
    nearest,
    nearest_of,
    ridge_regression,
)


def series_of(lengths: list[int], width: int, seed: int) -> list[Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return [torch.randn(length, width, generator=chance) for length in lengths]


def dtw(a: Tensor, b: Tensor) -> float:
    """The definition, one cell after the other."""
    window = max(int(np.ceil(0.1 * max(len(a), len(b)))), abs(len(a) - len(b)))
    least = np.full((len(a) + 1, len(b) + 1), np.inf)
    least[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            if abs(i - j) <= window:
                cost = float(((a[i] - b[j]).double() ** 2).sum())
                least[i + 1, j + 1] = cost + min(least[i, j], least[i, j + 1], least[i + 1, j])
    return float(least[-1, -1])


LENGTHS = st.lists(st.integers(1, 25), min_size=1, max_size=4)


@settings(max_examples=25)
@given(LENGTHS, LENGTHS, st.integers(1, 3), st.integers(0, 10**6))
def test_distances_are_those_of_the_definition_for_any_lengths(some, others, width, seed):
    rows, columns = series_of(some, width, seed), series_of(others, width, seed + 1)
    expected = torch.tensor([[dtw(a, b) for b in columns] for a in rows])
    torch.testing.assert_close(
        dtw_distances(rows, columns), expected, atol=1e-3, rtol=1e-4, check_dtype=False
    )


def test_the_same_shape_a_little_later_is_near_by_dtw_alone():
    times = torch.arange(40.0)
    bump, later, other = (
        torch.exp(-((times - at) ** 2) / size)[:, None] for at, size in ((15, 4), (18, 4), (15, 30))
    )
    assert nearest(dtw_distances([bump], [later, other]), [0, 1]) == [0]
    assert nearest(euclidean_distances([bump], [later, other]), [0, 1]) == [1]


def test_a_series_drawn_out_is_near_its_original():
    short = torch.tensor([[0.0], [2], [4]])
    long = torch.tensor([[0.0], [1], [2], [3], [4]])
    distances = euclidean_distances([short], [long, long + 1])
    assert distances[0].tolist() == pytest.approx([0, 5**0.5])  # 5 steps, each off by 1


def test_series_without_steps_or_of_one_are_no_error():
    some = [torch.zeros(0, 2), torch.ones(1, 2), torch.ones(3, 2)]
    for distances in (euclidean_distances, dtw_distances):
        assert distances(some, some).shape == (3, 3)
        assert distances(some, some).isfinite().all()


def test_the_nearest_are_the_same_however_many_are_looked_at_at_once(monkeypatch):
    some, others = series_of([5, 9, 3, 7, 8], 2, seed=1), series_of([6, 4, 11], 2, seed=2)
    for distances in (euclidean_distances, dtw_distances):
        expected = nearest(distances(some, others), [7, 8, 9])
        monkeypatch.setattr(neighbours, "_CELLS_AT_ONCE", 7)
        assert nearest_of(distances, some, others, [7, 8, 9]) == expected
        monkeypatch.undo()


def test_a_series_far_from_zero_is_at_no_distance_of_itself():
    (series,) = series_of([40], 2, seed=3)
    assert dtw_distances([series + 1000] * 26, [series + 1000]).tolist() == [[0.0]] * 26


def test_time_warping_of_long_series_takes_steps_of_one_length_and_not_of_both(monkeypatch):
    calls, square = [], torch.Tensor.square
    monkeypatch.setattr(torch.Tensor, "square", lambda x: calls.append(1) or square(x))
    dtw_distances(series_of([300], 1, seed=4), series_of([300], 1, seed=5))
    assert len(calls) == 599  # diagonals; there are 18,000 pairs of steps within the window


def test_logistic_regression_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    series = series_of([6] * 40, 2, seed=5)
    labels = [int(x[:, 0].sum() > 0) + int(x[2, 1] > 0.5) for x in series]
    x = torch.stack(series).flatten(1).numpy().astype("float64")
    x = (x - x[:30].mean(0)) / x[:30].std(0)
    expected = linear_model.LogisticRegression(C=1.0, tol=1e-8, max_iter=1000)
    expected = expected.fit(x[:30], labels[:30]).predict(x[30:])
    predicted = logistic_regression(series[:30], labels[:30], 3, series[30:])
    assert predicted == expected.tolist()


@pytest.mark.parametrize("num_steps", [6, 30])  # 12 numbers of each of 30 series, or 60
def test_ridge_regression_is_that_of_scikit_learn(num_steps):
    linear_model = pytest.importorskip("sklearn.linear_model")
    series = series_of([num_steps] * 40, 2, seed=6)
    labels = [float(x[:, 0].sum() + 3) for x in series]
    x = torch.stack(series).flatten(1).double().numpy()
    x = (x - x[:30].mean(0)) / x[:30].std(0)
    expected = linear_model.Ridge(alpha=1.0).fit(x[:30], labels[:30]).predict(x[30:])
    predicted = ridge_regression(series[:30], labels[:30], series[30:])
    assert predicted == pytest.approx(expected.tolist())
