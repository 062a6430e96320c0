"""What is learned instead of a target, and how it is undone."""

import math

import numpy as np
import pytest
import torch

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks import load
from unrolled.tasks.forecast import PredictOptions
from unrolled.tasks.forecast.forecasting import forecast

METHODS = {
    "direct": {"loss": "quantile"},
    "segment": {"method": "segment", "segment": 5},
    "encoder-decoder": {"method": "encoder-decoder", "loss": "normal"},
    "recursive": {"method": "recursive"},
    "recursive-own": {"method": "recursive", "loss": "mae"},
    "recursive-truth": {"method": "recursive", "loss": "mse", "feedback": "truth"},
}
FAST = {"epochs": 15, "learning_rate": 0.1, "batch_size": 16}


def told(run, source=None):
    return [*run.task.predict(run.model, source or run.task.own_source, PredictOptions())]


@pytest.mark.parametrize(
    ("name", "transform"), [*((name, "diff") for name in METHODS), ("direct", "log-diff")]
)
def test_a_trend_goes_on_beyond_all_that_was_learned_from(name, transform, write_table, prepared):
    """By no linear forecast: what the network says of differences is put onto the last value."""
    values = [3.0 * n + 50 if transform == "diff" else 5 * 1.04**n for n in range(120)]
    path = write_table("t,y", *(f"{n},{y!r}" for n, y in enumerate(values[:100])))
    model = METHODS[name] | {"dropout": 0.0}
    model |= {} if "recursive" in name else {"linear": False}
    run = prepared(
        path, time="t", horizon=5, lookback=6, transform=transform, model=model, training=FAST
    )
    run.trainer.fit()
    run.finish()
    rows = told(load(run.trainer.run.path))
    naive = np.abs(np.array(values[100:105]) - values[99])
    errors = np.abs(np.array(values[100:105]) - [row["forecast"] for row in rows])
    assert (errors < 0.3 * naive).all()
    if "low" in rows[0]:
        assert all(row["low"] <= row["forecast"] <= row["high"] for row in rows)


@pytest.mark.parametrize("transform", ["diff", "log-diff"])
def test_the_layer_reads_differences_of_what_is_learned_from(transform, wave_table, prepared):
    path = wave_table()
    rows = path.read_text().splitlines()
    rows[31] = rows[31].split(",")[0] + ","  # step 30
    path.write_text("\n".join(rows) + "\n")
    run = prepared(path, lookback=10, calendar=False, transform=transform)
    window = next(w for w in run.splits.training if w.origin == 34)
    values = window.series.values[:, 0].numpy()
    learned = values if transform == "diff" else np.log(values)
    filled = learned.copy()
    filled[30] = filled[29]
    steps = np.diff(filled[: window.learned])
    width = math.sqrt((steps**2).mean())
    features = run.trainer.model.features(run.task.inputs([window]))[0]
    expected = np.concatenate([[0.0], np.diff(filled[24:34]) / width])
    np.testing.assert_allclose(features[:, 0].numpy(), expected, atol=2e-6)
    assert features[:, 1].tolist() == [float(step == 30) for step in range(24, 34)]


@pytest.mark.parametrize(
    ("transform", "value", "expected"),
    [
        ("log", "0", "line 3: 'y' is 0, which has no logarithm"),
        ("log-diff", "-2", "line 3: 'y' is -2, which has no logarithm"),
        ("log1p", "-1", "line 3: 'y' is -1, and 1 more than that has no logarithm"),
    ],
)
def test_a_value_without_a_logarithm_is_refused_wherever_it_is_read(
    transform, value, expected, write_table, prepared
):
    rows = [f"{n},{1 + n % 5}" for n in range(60)]
    run = prepared(write_table("t,y", *rows), time="t", lookback=4, transform=transform)
    path = write_table("t,y", rows[0], f"1,{value}", *rows[2:], name="wrong.csv")
    with pytest.raises(DataError, match=expected):
        prepared(path, run="other", time="t", transform=transform)
    with pytest.raises(DataError, match=expected):
        run.task.read_examples(path)
    model = run.trainer.model.eval()
    with pytest.raises(DataError, match=expected):
        [*run.task.predict(model, Source.file(path), PredictOptions())]
    with pytest.raises(DataError, match=r"line 1: a value of 'y' is .* has no logarithm"):
        [*run.task.predict(model, Source.text(f"1,2,{value},1"), PredictOptions())]


def test_counts_with_none_among_them_have_a_logarithm_of_one_more(write_table, prepared):
    path = write_table("t,y", *(f"{n},{n % 3}" for n in range(60)))
    run = prepared(path, time="t", lookback=6, transform="log1p")
    scale = run.task.scale_of("")
    learned = torch.tensor([math.log(1 + n % 3) for n in range(36)], dtype=torch.float64)
    torch.testing.assert_close(scale.center, learned.mean()[None])
    run.trainer.fit()
    results = run.finish()
    assert results.metrics["mae"] < results.baselines["naive"]["mae"]


def test_the_layer_reads_differences_from_cycle_to_cycle(write_table, prepared):
    """A missing value changes nothing; the one a cycle later differs from the one before it."""
    y = [float(n * n % 11 + n) for n in range(60)]
    rows = [f"{n},{'' if n == 27 else value}" for n, value in enumerate(y)]
    path = write_table("t,y", *rows)
    run = prepared(path, time="t", season=3, lookback=10, transform="season-diff")
    window = next(w for w in run.splits.training if w.origin == 33)
    y[27] = y[24]
    moved = [y[n] - y[n - 3] for n in range(3, 36)]  # of the part that is learned from
    width = math.sqrt(sum(each**2 for each in moved) / len(moved))
    features = run.trainer.model.features(run.task.inputs([window]))[0]
    expected = [0.0] * 3 + [(y[n] - y[n - 3]) / width for n in range(26, 33)]
    np.testing.assert_allclose(features[:, 0].numpy(), expected, rtol=2e-5, atol=2e-6)
    assert features[4, 0] == 0.0
    assert features[:, 1].tolist() == [float(step == 27) for step in range(23, 33)]


@pytest.mark.parametrize("name", METHODS)
def test_a_forecast_is_what_is_said_of_a_step_beside_the_cycle_before(name, write_table, prepared):
    """Of a network that says 2 of each step: 2 more than a cycle before, whatever the horizon."""
    y = [10.0, 20.0, 40.0] * 20
    y[57] = 11.0
    path = write_table("t,y", *(f"{n},{value}" for n, value in enumerate(y)))
    model = METHODS[name] | {"loss": "mae"} | ({} if "recursive" in name else {"linear": False})
    more = {"transform": "season-diff", "season": 3, "scale": "none", "horizon": 5}
    run = prepared(path, time="t", lookback=8, model=model, **more)
    trained = run.trainer.model.eval()
    with torch.no_grad():
        trained.answer.weight.zero_()
        trained.answer.bias.fill_(2.0)
    said = [
        row["forecast"] for row in run.task.predict(trained, run.task.own_source, PredictOptions())
    ]
    again = 2 if "recursive" in name else 0  # what it said is what the next cycle goes on from
    assert said == pytest.approx([13.0, 22.0, 42.0, 13.0 + again, 22.0 + again], rel=1e-6)


def test_where_a_place_in_the_cycle_never_has_a_value_the_last_one_stands_for_it(
    write_table, prepared
):
    """As of a shop that is closed on Sundays; of a network that says 2 of each step."""
    rows = [f"{n},{(10 + n, 20 + n, '')[n % 3]}" for n in range(60)]
    model = {"loss": "mae", "linear": False}
    more = {"transform": "season-diff", "season": 3, "scale": "none", "horizon": 4}
    run = prepared(write_table("t,y", *rows), time="t", lookback=7, model=model, **more)
    trained = run.trainer.model.eval()
    with torch.no_grad():
        trained.answer.weight.zero_()
        trained.answer.bias.fill_(2.0)
    ends = [*run.task.ends(run.task.own_source)]
    said = forecast(run.task.scaling, trained, ends, ()).point[0, :, 0].tolist()
    assert said == pytest.approx([80.0, 69.0, 80.0, 80.0])  # of the 59th step on
    stream = run.task.stream(trained)
    for row in rows[:59]:
        pushed = stream.push([float(row.split(",")[1] or "nan")])
    assert pushed[:, 0].tolist() == pytest.approx(said)


def test_a_recursive_model_that_was_right_learns_from_the_truth_what_it_says_alone(
    write_table, prepared
):
    path = write_table("t,y", *(f"{n},{n * n % 11 + n}" for n in range(60)))
    model = {"method": "recursive", "loss": "mse", "feedback": "truth", "dropout": 0.0}
    more = {"transform": "season-diff", "season": 2, "horizon": 5, "lookback": 8}
    run = prepared(path, time="t", model=model, **more)
    trained = run.trainer.model
    inputs = run.task.inputs(run.splits.training[:4])
    alone = trained(inputs._replace(targets=None))
    told = trained(inputs._replace(targets=alone[..., 0].detach()))
    torch.testing.assert_close(told, alone)


def test_paths_are_summed_over_cycles(write_table, prepared):
    """Of a distribution without width, and of more steps than the model was trained for."""
    path = write_table("t,y", *(f"{n},{(10, 20, 40)[n % 3]}" for n in range(60)))
    more = {"transform": "season-diff", "season": 3, "scale": "none", "horizon": 3}
    model = {"method": "recursive", "loss": "normal"}
    run = prepared(path, time="t", lookback=8, model=model, **more)
    trained = run.trainer.model.eval()
    with torch.no_grad():
        trained.answer.weight.zero_()
        trained.answer.bias.copy_(torch.tensor([2.0, -30.0]))
    rows = run.task.predict(trained, run.task.own_source, PredictOptions(horizon=7))
    said = [row["forecast"] for row in rows]
    assert said == pytest.approx([12, 22, 42, 14, 24, 44, 16], rel=1e-3)


def test_no_scale_and_no_start_of_seasonal_differences_comes_from_what_is_later(
    write_table, prepared
):
    y = [(10.0, 20.0, 40.0)[n % 3] + n + (n * n % 7) / 10 for n in range(120)]
    more = {"time": "t", "season": 3, "lookback": 7, "transform": "season-diff"}
    runs = []
    for name, later in (("one", 0.0), ("other", 1e6)):
        rows = (f"{n},{value + later * (n >= 72)}" for n, value in enumerate(y))
        runs.append(prepared(write_table("t,y", *rows, name=f"{name}.csv"), run=name, **more))
    one, other = runs
    assert one.task.scale_of("").to_dict() == other.task.scale_of("").to_dict()
    first = one.trainer.model.linear.weight
    assert torch.equal(first, other.trainer.model.linear.weight)
    assert first.abs().max() > 0
    assert first[:, :3].abs().max() == 0  # the first cycle of a window has no difference


def test_a_cycle_has_to_be_known_and_to_lie_in_what_is_looked_at(write_table, prepared):
    path = write_table("t,y", *(f"{n},{n % 5}" for n in range(60)))
    with pytest.raises(OptionError, match=r"no cycle of steps is known .season says how many"):
        prepared(path, time="t", transform="season-diff")
    with pytest.raises(OptionError, match=r"a cycle has 6 steps, and a forecast .* 6 .lookback 7"):
        prepared(path, time="t", transform="season-diff", season=6, lookback=6)


def test_differences_are_said_from_the_last_value_on_alone(wave_table, prepared):
    with pytest.raises(OptionError, match="transform diff says steps from the last value on"):
        prepared(wave_table(), transform="diff", model={"normalize": "instance"})
    with pytest.raises(OptionError, match="transform log-season-diff says steps from the last cyc"):
        prepared(wave_table(), transform="log-season-diff", model={"normalize": "none"})
    path = wave_table()
    with pytest.raises(OptionError, match="transform is not for loss negative-binomial"):
        prepared(path, transform="diff", model={"loss": "negative-binomial"})
