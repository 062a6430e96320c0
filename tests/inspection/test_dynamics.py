"""Fixed points and exponents where arithmetic or a paper knows them."""

import math
from functools import partial

import pytest
import torch
from torch import tanh

import unrolled
from unrolled.errors import DivergedError, OptionError, ShapeError
from unrolled.inspection import fixed_points, lyapunov_exponents
from unrolled.kernels import using_path

pytestmark = pytest.mark.usefixtures("quick_kernels")


@unrolled.cell(gates="a")
def linear(x, u, h):
    return dict(h=x.a + u.a)


@unrolled.cell(gates="a", recurrent="")
def logistic(x, h):
    """The logistic map at r = 4, of which the exponent is ln 2 (Ruelle, 1977), moved by 0.2 so that
    the state of zeros is no fixed point."""
    return dict(h=4 * (h + 0.2) * (0.8 - h) - 0.2 + 0 * x.a)


@unrolled.cell(gates="a", states="h p", recurrent="")
def henon(x, h, p):
    """Henon's map (1976): 0.419 is its first exponent, and both sum to ln 0.3."""
    return dict(h=1 - 1.4 * h * h + p + 0 * x.a, p=0.3 * h)


def with_matrix(layer, matrix):
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if name.startswith("bias"):
                weight.zero_()
        layer.weight_hh_l0.copy_(matrix)
    return layer


def orthogonal(size):
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0].float()


def test_a_linear_cell_stands_still_where_algebra_says_and_has_the_eigenvalues_of_its_matrix():
    turn = torch.block_diag(0.9 * torch.tensor([[0.6, -0.8], [0.8, 0.6]]), torch.tensor([[0.5]]))
    layer = with_matrix(unrolled.Recurrent(linear, 2, 3), turn)
    x = torch.randn(20, 3, 2)
    found = fixed_points(layer, x, number=8)
    weights = layer.weight_ih_l0.double()
    expected = torch.linalg.solve(torch.eye(3) - turn.double(), weights @ x.double().mean((0, 1)))
    assert found.kinds == ["stable"]
    assert found.is_fixed.tolist() == [True]
    assert found.visits.tolist() == [8]
    torch.testing.assert_close(found.states["h"][0, 0], expected)
    values = found.eigenvalues[0]
    torch.testing.assert_close(values.abs(), torch.tensor([0.9, 0.9, 0.5]).double())
    assert sorted(values.imag.tolist()) == pytest.approx([-0.72, 0.0, 0.72])
    exponents = lyapunov_exponents(layer, torch.randn(200, 2, 2)).exponents
    torch.testing.assert_close(exponents.exp(), values.abs(), rtol=0.01, atol=0)


def test_an_unstable_linear_cell_has_an_unstable_point():
    matrix = torch.diag(torch.tensor([2.0, -1.5]))
    found = fixed_points(
        with_matrix(unrolled.Recurrent(linear, 1, 2), matrix), torch.randn(4, 3, 1)
    )
    assert found.kinds == ["unstable"]
    torch.testing.assert_close(found.eigenvalues[0].real, torch.tensor([2.0, -1.5]).double())


def test_a_unit_that_feeds_itself_has_two_stable_points_and_one_between():
    layer = with_matrix(unrolled.RNN(1, 1), torch.tensor([[2.0]]))
    found = fixed_points(layer, 2 * torch.randn(40, 4, 1), constant=torch.zeros(1), number=32)
    at = found.states["h"][0, :, 0]
    kinds = dict(zip([round(v, 4) for v in at.tolist()], found.kinds, strict=True))
    assert kinds == {-0.9575: "stable", 0.0: "unstable", 0.9575: "stable"}  # h = tanh 2h
    torch.testing.assert_close(found.eigenvalues[:, 0].real, 2 * (1 - at**2))
    assert int(found.visits.sum()) == 32


def test_what_never_stands_still_has_slow_points():
    layer = with_matrix(unrolled.Recurrent(linear, 1, 1), torch.tensor([[1.0]]))
    found = fixed_points(
        layer, torch.randn(9, 3, 1), constant=torch.ones(1), number=4, num_updates=9
    )
    assert not found.is_fixed.any()
    torch.testing.assert_close(found.speed, layer.weight_ih_l0[0].abs().double().expand(len(found)))


def test_the_logistic_map_has_the_exponent_of_its_paper():
    layer = unrolled.Recurrent(logistic, 1, 1)
    found = lyapunov_exponents(layer, torch.zeros(600, 4, 1), state=torch.rand(1, 4, 1) - 0.2)
    assert float(found.exponents) == pytest.approx(math.log(2), abs=0.02)
    assert found.entropy == pytest.approx(float(found.exponents))
    points = fixed_points(layer, torch.rand(9, 4, 1), number=8)
    assert {round(v, 6) for v in points.states["h"].flatten().tolist()} == {-0.2, 0.55}


def test_henons_map_has_the_exponents_of_the_literature():
    layer = unrolled.Recurrent(henon, 1, 1)
    start = (0.2 * torch.rand(1, 8, 1), 0.1 * torch.rand(1, 8, 1))
    found = lyapunov_exponents(layer, torch.zeros(500, 8, 1), state=start, skip=50)
    assert float(found.exponents[0]) == pytest.approx(0.419, abs=0.02)
    assert float(found.exponents.sum()) == pytest.approx(math.log(0.3), abs=1e-6)
    assert found.dimension == pytest.approx(1.26, abs=0.03)  # of the attractor, the same


def test_a_rotation_keeps_all_differences_and_one_that_shrinks_shrinks_all():
    for scale in (1.0, 0.8):
        layer = with_matrix(unrolled.RNN(2, 6), scale * orthogonal(6))
        found = lyapunov_exponents(layer, torch.zeros(60, 1, 2))  # h stays 0, where tanh is linear
        expected = torch.full((6,), math.log(scale)).double()
        torch.testing.assert_close(found.exponents, expected, rtol=0, atol=1e-6)


def step_of(layer, x_t, flat):
    """A step of two layers of three units, as a function of their states side by side."""
    given = flat.view(-1, 2, 1, 3)
    with using_path("reference"):
        _, after = layer(x_t[None, None], tuple(given) if len(given) > 1 else given[0])
    return torch.cat([part.flatten() for part in (after if len(given) > 1 else (after,))])


@pytest.mark.parametrize("make", [unrolled.LSTM, unrolled.GRU, unrolled.JANET])
def test_exponents_sum_to_the_mean_logarithm_of_the_volume(make):
    layer, x = make(2, 3, num_layers=2, batch_first=True), torch.randn(2, 12, 2)
    found = lyapunov_exponents(layer, x, skip=0)
    wide, total = make(2, 3, num_layers=2, batch_first=True).double(), 0.0
    wide.load_state_dict(layer.state_dict())
    for row in x.double():
        flat = torch.zeros(6 * len(wide.cell.states), dtype=torch.float64)
        for x_t in row:
            step = partial(step_of, wide, x_t)
            total += float(torch.autograd.functional.jacobian(step, flat).det().abs().log())
            flat = step(flat).detach()
    assert float(found.exponents.sum()) == pytest.approx(total / 24, rel=1e-6)
    assert found.num_directions == len(flat)
    few = lyapunov_exponents(layer, x, skip=0, count=2)
    assert few.exponents.shape == (2,)


def test_a_step_is_computed_once_for_each_row_however_many_directions():
    rows = []

    @unrolled.cell(gates="a")
    def counting(x, u, h):
        rows.append(len(h))
        return dict(h=tanh(x.a + u.a))

    layer, x = unrolled.Recurrent(counting, 1, 5), torch.randn(4, 2, 1)
    lyapunov_exponents(layer, x)
    assert rows[-4:] == [2] * 4


def test_a_direction_of_which_nothing_is_left_says_so():
    layer = with_matrix(unrolled.Recurrent(linear, 1, 2), torch.diag(torch.tensor([0.5, 0.0])))
    exponents = lyapunov_exponents(layer, torch.randn(20, 1, 1)).exponents
    assert exponents.tolist() == [pytest.approx(math.log(0.5)), -math.inf]


@unrolled.cell(gates="a", inputs="dt")
def timed(x, u, h, dt):
    return dict(h=h + dt * (tanh(x.a + u.a) - h))


def test_inputs_beside_x_and_what_is_held_count():
    layer = with_matrix(unrolled.Recurrent(timed, 1, 2), torch.zeros(2, 2))
    x, dt = torch.randn(30, 2, 1), torch.full((30, 2), 0.25)
    found = lyapunov_exponents(layer, x, dt=dt)
    torch.testing.assert_close(found.exponents, torch.full((2,), math.log(0.75)).double())
    points = fixed_points(layer, x, dt=dt, number=4)
    torch.testing.assert_close(points.eigenvalues[0].real, torch.full((2,), 0.75).double())
    gru = unrolled.GRU(1, 3)
    with unrolled.intervene(gru, {"z": 0.5, "n": 0.0}):
        held = lyapunov_exponents(gru, x, count=1)
    assert float(held.exponents) == pytest.approx(math.log(0.5))


def test_steps_that_are_held_are_counted_along_a_sequence_and_refused_of_a_point():
    layer = with_matrix(unrolled.JANET(1, 2), torch.zeros(4, 2))
    x, half = torch.zeros(20, 2, 1), {"g": 0.0, "f": [unrolled.Hold(0.5)]}
    half["f"].append(unrolled.Hold(0.125, steps=slice(5, 10)))
    with unrolled.intervene(layer, half):
        found = lyapunov_exponents(layer, x, skip=0).exponents
        with pytest.raises(OptionError, match="held at steps"):
            fixed_points(layer, x)
    expected = (15 * math.log(0.5) + 5 * math.log(0.125)) / 20
    torch.testing.assert_close(found, torch.full((2,), expected).double())


def test_a_random_network_is_chaotic_beyond_the_gain_of_one():
    def largest(gain):
        torch.manual_seed(3)
        layer = with_matrix(unrolled.RNN(1, 48), gain * torch.randn(48, 48) / math.sqrt(48))
        start = torch.randn(1, 2, 48)
        return float(
            lyapunov_exponents(layer, torch.zeros(80, 2, 1), state=start, count=1).exponents
        )

    assert largest(0.5) < -0.3  # Sompolinsky, Crisanti and Sommers (1988)
    assert largest(4.0) > 0.2


@unrolled.cell(gates="a")
def exploding(x, u, h):
    return dict(h=(20 + u.a).exp().exp() + x.a)


def test_what_is_not_finite_is_said():
    layer, x = unrolled.LSTM(1, 2), torch.randn(6, 2, 1)
    spoilt = x.clone()
    spoilt[3, 0] = math.nan
    for look in (fixed_points, lyapunov_exponents):
        with pytest.raises(OptionError, match="the input has numbers that are not finite"):
            look(layer, spoilt)
        with pytest.raises(ShapeError, match="must be a tensor, got a list"):
            look(layer, [[[0.0]]])
        with pytest.raises(DivergedError, match="finite"):
            look(unrolled.Recurrent(exploding, 1, 2), x)
    with pytest.raises(OptionError, match="constant has numbers that are not finite"):
        fixed_points(layer, x, constant=torch.tensor([math.inf]))
    with torch.no_grad():
        layer.weight_hh_l0[1, 1] = math.nan
    for look in (fixed_points, lyapunov_exponents):
        with pytest.raises(DivergedError, match="weight_hh_l0 has numbers that are not finite"):
            look(layer, x)


def test_a_state_of_another_shape_is_refused():
    x = torch.randn(6, 2, 1)
    with pytest.raises(
        ShapeError, match=r"state must be \(1, 2, 3\), \(1, 2, 3\), got \(1, 2, 3\)"
    ):
        lyapunov_exponents(unrolled.LSTM(1, 3), x, state=torch.zeros(1, 2, 3))
    with pytest.raises(ShapeError, match="dt must be"):
        lyapunov_exponents(unrolled.Recurrent(timed, 1, 2), x, dt=torch.zeros(3, 2))
    for wrong in (1.5, "2"):
        with pytest.raises(OptionError, match="count must lie"):
            lyapunov_exponents(unrolled.GRU(1, 3), x, count=wrong)
        with pytest.raises(OptionError, match="number must be"):
            fixed_points(unrolled.GRU(1, 3), x, number=wrong)


def test_what_is_no_map_of_its_state_is_refused():
    x = torch.randn(6, 2, 1)
    for look in (fixed_points, lyapunov_exponents):
        with pytest.raises(OptionError, match="backwards"):
            look(unrolled.GRU(1, 2, bidirectional=True), x)
        with pytest.raises(OptionError, match="takes a recurrent layer, got TCN"):
            look(unrolled.TCN(1, 2), x)
        with pytest.raises(ShapeError, match="must be"):
            look(unrolled.GRU(1, 2), x[0])
    with pytest.raises(ShapeError, match="constant must be"):
        fixed_points(unrolled.GRU(1, 2), x, constant=torch.zeros(2))
    with pytest.raises(OptionError, match="number must be"):
        fixed_points(unrolled.GRU(1, 2), x, number=0)
    with pytest.raises(OptionError, match=r"count must lie in 1\.\.2"):
        lyapunov_exponents(unrolled.GRU(1, 2), x, count=3)
    with pytest.raises(OptionError, match=r"skip must lie in 0\.\.5"):
        lyapunov_exponents(unrolled.GRU(1, 2), x, skip=6)
