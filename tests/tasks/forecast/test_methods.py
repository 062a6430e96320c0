"""How steps of the future are made."""

import pytest
import torch

from unrolled.tasks.forecast import ModelOptions
from unrolled.tasks.forecast.methods import make_forecaster
from unrolled.tasks.forecast.model import Inputs


@pytest.mark.parametrize("cell", ["lstm", "tcn"])
def test_a_decoder_goes_on_from_what_the_encoder_read(cell):
    """Early steps of the window move all forecasts, and what is known of a step not those before.

    As the state does by itself: places and known columns do not hold what the window said.
    """
    sizes = {"num_targets": 1, "num_past": 0, "num_known": 1, "lookback": 6, "horizon": 4}
    options = ModelOptions(method="encoder-decoder", cell=cell, loss="mse", linear=False)
    model = make_forecaster(options, **sizes, marks_missing=False).eval()
    assert (model.summary is None) == (cell == "lstm")
    past, columns = torch.zeros(1, 6, 1), torch.zeros(1, 6, 1)
    future = torch.zeros(1, 4, 1)
    said = model(Inputs(past, columns, future))
    other = past.clone()
    other[0, 1] = 3.0
    assert bool((model(Inputs(other, columns, future)) != said).all())
    later = future.clone()
    later[0, 2] = 3.0
    moved = model(Inputs(past, columns, later)) != said
    assert moved[0, :, 0, 0].tolist() == [False, False, True, True]
