"""Series at even places, held against numpy's interpolation."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.tasks.classify.pressing import pressed


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(2, 12))
def test_places_are_those_of_linear_interpolation(lengths: list[int], num_places: int) -> None:
    x = torch.randn(len(lengths), max(lengths), 2, dtype=torch.float64)
    result = pressed(x, torch.tensor(lengths), num_places)
    for row, length in enumerate(lengths):
        places = np.linspace(0, length - 1, num_places)
        for feature in range(2):
            expected = np.interp(places, range(length), x[row, :length, feature].numpy())
            np.testing.assert_allclose(result[row, :, feature].numpy(), expected, atol=1e-9)


def test_series_without_steps_are_zero() -> None:
    assert (pressed(torch.ones(2, 3, 1), torch.tensor([0, 3]), 4)[0] == 0).all()
    assert pressed(torch.ones(2, 0, 1), torch.tensor([0, 0]), 4).tolist() == [[[0]] * 4] * 2
