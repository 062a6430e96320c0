"""What is said of a step against torch's own distributions, and numbers of tables."""

import pytest
import torch
from torch.distributions import NegativeBinomial, Normal, StudentT

from unrolled.tasks.forecast.heads import make_head

LEVELS = (0.1, 0.5, 0.9)


def raw(size, seed=0):
    return torch.randn(50, size, generator=torch.Generator().manual_seed(seed)).double()


def counts(dispersed):
    mean, dispersion = dispersed.unbind(-1)
    return NegativeBinomial(1 / dispersion, (mean * dispersion) / (1 + mean * dispersion))


@pytest.mark.parametrize(
    ("name", "distribution"),
    [
        ("normal", lambda p: Normal(p[..., 0], p[..., 1])),
        ("student-t", lambda p: StudentT(p[..., 2], p[..., 0], p[..., 1])),
        ("negative-binomial", counts),
    ],
)
def test_a_likelihood_is_that_of_torch(name, distribution):
    head = make_head(name, ())
    parameters = head.parameters(raw(head.size))
    targets = torch.arange(50).double() % 7
    expected = -distribution(parameters).log_prob(targets)
    torch.testing.assert_close(head.losses(parameters, targets), expected)


@pytest.mark.parametrize(
    ("freedom", "level", "expected"),  # a table of Student's t
    [
        (3.0, 0.975, 3.1824),
        (5.0, 0.9, 1.4759),
        (10.0, 0.95, 1.8125),
        (30.0, 0.1, -1.3104),
        (2.5, 0.9, 1.7298),
    ],
)
def test_quantiles_of_student_are_those_of_tables(freedom, level, expected):
    parameters = torch.tensor([0.0, 1.0, freedom]).double()
    (quantile,) = make_head("student-t", ()).quantiles(parameters, [level])
    assert float(quantile) == pytest.approx(expected, rel=3e-4)


@pytest.mark.parametrize("name", ["normal", "student-t", "negative-binomial"])
def test_draws_are_spread_as_the_quantiles_say(name):
    head = make_head(name, ())
    parameters = head.parameters(torch.full((20_000, head.size), 1.5).double())
    drawn = head.draw(parameters, torch.Generator().manual_seed(1))
    for level, quantile in zip(LEVELS, head.quantiles(parameters[0], LEVELS), strict=True):
        below = float((drawn < quantile).double().mean())
        at_most = float((drawn <= quantile).double().mean())
        assert below - 0.03 <= level <= at_most + 0.03


def test_quantiles_are_in_order_and_their_loss_is_the_pinball_loss():
    head = make_head("quantile", LEVELS)
    parameters = head.parameters(raw(3))
    assert bool((parameters.diff(dim=-1) > 0).all())
    targets = raw(1)[:, 0]
    expected = [
        2 * torch.where(targets > q, p * (targets - q), (1 - p) * (q - targets))
        for p, q in zip(LEVELS, parameters.unbind(-1), strict=True)
    ]
    torch.testing.assert_close(head.losses(parameters, targets), torch.stack(expected).mean(0))
    middle = make_head("quantile", (0.5,))
    errors = (parameters[:, 1] - targets).abs()
    torch.testing.assert_close(middle.losses(parameters[:, 1:2], targets), errors)


@pytest.mark.parametrize("name", ["mae", "mse", "huber", "quantile", "normal", "student-t"])
def test_what_is_moved_says_the_same_of_what_is_moved(name):
    """y = 5 + 3 z: forecasts and quantiles of y are 5 + 3 those of z."""
    head = make_head(name, LEVELS)
    parameters = head.parameters(raw(head.size))
    center, width = torch.full((50,), 5.0).double(), torch.full((50,), 3.0).double()
    moved = head.moved(parameters, center, width)
    torch.testing.assert_close(head.point(moved), 5 + 3 * head.point(parameters))
    before, after = (head.quantiles(p, LEVELS) for p in (parameters, moved))
    assert (before is None) == (name in ("mae", "mse", "huber"))
    if before is not None:
        torch.testing.assert_close(after, 5 + 3 * before)


@pytest.mark.parametrize("name", ["quantile", "normal", "student-t"])
def test_a_start_fits_the_errors(name):
    residuals = 2 + 3 * torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)).double()
    residuals[7] = torch.nan
    head = make_head(name, LEVELS)
    parameters = head.parameters(head.start(residuals))
    expected = torch.tensor([2 - 1.2816 * 3, 2, 2 + 1.2816 * 3]).double()
    for found, quantile in zip(head.quantiles(parameters, LEVELS), expected, strict=True):
        assert bool(((found - quantile).abs() < 0.35).all())
