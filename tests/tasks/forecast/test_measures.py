import math

import pytest
import torch

from unrolled.tasks.forecast.measures import Tally, verdict


def tallied(point, targets, **options):
    tally = Tally()
    shape = (1, len(point), 1)
    point, targets = (torch.tensor(each).double().view(shape) for each in (point, targets))
    one = torch.ones(1, 1).double()
    tally.add(point, targets, **{"deviation": one, "seasonal_error": one} | options)
    return tally


def test_figures_are_those_of_arithmetic_by_hand():
    """Errors 1, -2 and 0; a fourth value is missing."""
    two = torch.full((1, 1), 2.0).double()
    tally = tallied([2, 2, 5, 9], [1, 4, 5, math.nan], deviation=two, seasonal_error=two / 4)
    assert tally.figures() == pytest.approx(
        {
            "mase": 1 / 0.5,
            "smape": 200 * (1 / 3 + 2 / 6) / 3,
            "mae": 1,
            "rmse": math.sqrt(5 / 3),
            "mse": 5 / 3,
            "scaled_mae": 0.5,
            "scaled_mse": 5 / 12,
        }
    )


def test_coverage_and_crps_are_those_of_the_quantiles():
    quantiles = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]).double().view(3, 1, 2, 1)
    options = {"quantiles": quantiles, "levels": (0.1, 0.5, 0.9), "interval": (0, 2)}
    figures = tallied([1, 1], [1.5, 3], **options).figures()
    first = (0.1 * 1.5 + 0.5 * 0.5 + 0.1 * 0.5) * 2 / 3
    second = (0.1 * 3 + 0.5 * 2 + 0.9 * 1) * 2 / 3
    assert figures["coverage"] == 0.5
    assert figures["crps"] == pytest.approx((first + second) / 2)
    assert figures["quantile_loss"] == pytest.approx((first + second) / 4.5)


def test_a_series_that_never_changes_has_no_mase():
    figures = tallied([1, 2], [1, 1], seasonal_error=torch.zeros(1, 1)).figures()
    assert "mase" not in figures
    assert figures["mae"] == 0.5


def noise(num, seed, overlap=1):
    """Errors of forecasts that share steps with their neighbours."""
    drawn = torch.randn(num + overlap - 1, generator=torch.Generator().manual_seed(seed)).double()
    return drawn.unfold(0, overlap, 1).mean(1)


def say(errors, others, overlap):
    return verdict(errors, others, range(len(errors)), overlap=overlap, name="that one")


def test_a_difference_beyond_chance_is_said_and_which_way():
    errors, others = noise(200, 0).abs(), noise(200, 1).abs()
    assert say(errors, others + 1, 1) == "better than that one, beyond chance"
    assert say(errors + 1, others, 1) == "worse than that one, beyond chance"


@pytest.mark.parametrize("overlap", [1, 12])
def test_chance_is_seldom_taken_for_skill(overlap):
    """One in a hundred is, about; forecasts that share their steps are not independent."""
    said = [say(noise(300, s, overlap), noise(300, s + 1000, overlap), overlap) for s in range(200)]
    sure = sum(not each.startswith("no better and no worse") for each in said)
    assert sure <= 10


def test_too_few_forecasts_say_nothing():
    errors = noise(40, 0)
    assert say(errors, errors + 1, 12).startswith("too few forecasts to tell from that one: 3.3")


def test_series_that_are_forecast_from_one_place_count_once():
    errors = noise(30, 0).abs().repeat(20)
    places = [*range(30)] * 20
    told = verdict(errors, errors + 1, places, overlap=10, name="that one")
    assert told.startswith("too few forecasts")


def test_a_verdict_does_not_depend_on_the_order_of_series():
    """Neighbouring places go together, in whatever order the table has them."""
    blocks = [5.0 if n // 8 % 2 else 9.0 for n in range(64)]
    errors, others = torch.tensor(blocks).double() - 1, torch.full((64,), 7.0).double()
    origins = [float(n) for n in range(64)]
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0)).tolist()
    moved = [origins[place] for place in order]
    told = verdict(errors, others, origins, overlap=8, name="it")
    assert verdict(errors[order], others, moved, overlap=8, name="it") == told


def test_each_figure_of_five_numbers_is_that_of_arithmetic_by_hand():
    """Errors 1, -1, 2, 0 and -4; the seasonal naive forecast errs by 2, the deviation is 4."""
    truth, said = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 5.0, 4.0, 1.0]
    quantiles = torch.tensor([said, said, said]).double() + torch.tensor([[-1.5], [0], [1]])
    one = torch.ones(1, 1).double()
    figures = tallied(
        said,
        truth,
        deviation=4 * one,
        seasonal_error=2 * one,
        quantiles=quantiles.view(3, 1, 5, 1),
        levels=(0.1, 0.5, 0.9),
        interval=(0, 2),
    ).figures()
    low = [0.05, 0.25, 0.9 * 0.5, 0.15, 0.55]  # truth above the low end by 0.5, 2.5, -0.5, 1.5, 5.5
    middle = [0.5, 0.5, 1, 0, 2]
    high = [0.2, 0.0, 0.3, 0.1, 2.7]  # truth above the high end by -2, 0, -3, -1, 3
    pinball = 2 * (sum(low) + sum(middle) + sum(high)) / 3
    expected = {
        "mase": 8 / 5 / 2,
        "smape": 200 * (1 / 3 + 1 / 3 + 2 / 8 + 0 + 4 / 6) / 5,
        "mae": 8 / 5,
        "rmse": math.sqrt(22 / 5),
        "mse": 22 / 5,
        "scaled_mae": 8 / 5 / 4,
        "scaled_mse": 22 / 5 / 16,
        "crps": pinball / 5,
        "quantile_loss": pinball / 15,
        "coverage": 3 / 5,
    }
    assert figures == pytest.approx(expected)
