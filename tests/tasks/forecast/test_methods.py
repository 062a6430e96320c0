"""How steps of the future are made."""

import pytest
import torch
from torch import nn

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


def test_the_segment_wise_model_is_that_of_its_equations():
    """Lin et al. (2023), SegRNN, by a torch.nn.GRUCell: one row, target and segment at a time.

    The last value is taken off; segments are embedded and read from the oldest one on; then each
    segment to come is one step from the last state, whose input is its place beside the target.
    """
    sizes = {"num_targets": 3, "num_past": 0, "num_known": 0, "lookback": 12, "horizon": 8}
    options = ModelOptions(
        method="segment", cell="gru", loss="mse", linear=False, segment=4, hidden_size=6
    )
    model = make_forecaster(options, **sizes, marks_missing=False).eval()
    torch.manual_seed(0)
    past, none = torch.randn(2, 12, 3), torch.zeros(2, 12, 0)
    cell = nn.GRUCell(6, 6)
    cell.load_state_dict(
        {name.removesuffix("_l0"): each for name, each in model.layer.named_parameters()}
    )
    expected = torch.empty(2, 8, 3)
    for row in range(2):
        for target in range(3):
            last = past[row, -1, target]
            state = torch.zeros(6)
            for segment in (past[row, :, target] - last).split(4):
                state = cell(torch.relu(model.embed(segment)), state)
            for number in range(2):
                where = torch.cat([model.place[number], model.channel[target]])
                said = model.answer(cell(where, state)) + last
                expected[row, 4 * number : 4 * number + 4, target] = said
    said = model(Inputs(past, none, none[:, :8]))[..., 0]
    torch.testing.assert_close(said, expected)
