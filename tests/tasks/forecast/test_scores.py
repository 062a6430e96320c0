"""How unlikely each observed step was."""

import math
import random

import pytest
import torch

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks.forecast import PredictOptions

ASKED = PredictOptions(scores=True)
MODELS = {
    "normal": ({"transform": "log"}, {"loss": "normal"}),
    "student-t": ({}, {"loss": "student-t", "method": "recursive"}),
    "negative-binomial": ({}, {"loss": "negative-binomial"}),
    "quantile": ({"transform": "log1p"}, {"method": "encoder-decoder"}),
    "mae": ({"transform": "diff"}, {"loss": "mae"}),
}


def rows_of(task, model, source=None):
    return [*task.predict(model.eval(), source or task.own_source, ASKED)]


@pytest.fixture
def table(write_table):
    def write(name="t.csv", spike=None):
        chance = random.Random(0)
        values = [chance.randint(1, 9) for _ in range(80)]
        if spike is not None:
            values[spike] = 300
        values[31] = ""
        return write_table("t,y", *(f"{n},{y}" for n, y in enumerate(values)), name=name)

    return write


@pytest.mark.parametrize("name", MODELS)
def test_a_spike_is_less_likely_than_all_before_it_and_changes_no_score_of_those(
    name, table, prepared
):
    data, model = MODELS[name]
    run = prepared(table(), time="t", lookback=6, model=model, **data)
    run.trainer.fit()
    plain = rows_of(run.task, run.trainer.model)
    assert [row["time"] for row in plain] == [str(n) for n in range(6, 80) if n != 31]
    with pytest.warns(UserWarning, match="1 value of a target is missing"):
        spiked = rows_of(run.task, run.trainer.model, Source.file(table("spike.csv", spike=60)))
    for before, after in zip(plain, spiked, strict=True):
        if int(before["time"]) >= 60:
            break
        ends = ("low", "high") if name == "negative-binomial" else ()  # drawn, many at once
        assert all(before[key] == after[key] for key in before if key not in ends)
    until = [row for row in spiked if int(row["time"]) <= 60]  # the last value is said to go on
    worst = max(until, key=lambda row: row["score"])
    assert worst["time"] == "60"
    assert worst["value"] == 300
    columns = ["time", "target", "value", "forecast", "low", "high", "score"]
    columns = [each for each in columns if name != "mae" or each not in ("low", "high")]
    assert [*worst] == columns
    assert run.task.heading(ASKED).split("\t") == columns


def test_scores_are_what_they_are_said_to_be(table, prepared):
    """From the first step of the forecast that is made at each step, by hand."""
    for name in ("normal", "quantile", "mae"):
        data, model = MODELS[name]
        run = prepared(table(), run=name, time="t", lookback=6, model=model, **data)
        trained = run.trainer.model.eval()
        trained.spread.fill_(1.5)
        row = rows_of(run.task, trained)[20]
        step = int(row["time"])
        window = next(w for w in run.splits.training if w.origin == step)
        levels = () if name == "mae" else (0.1, 0.5, 0.9)
        told = run.task.forecast(trained, [window], levels)
        assert row["forecast"] == pytest.approx(float(told.point[0, 0, 0]))
        y = row["value"]
        if name == "mae":
            error = float(run.task.scale_of("").seasonal_error)
            expected = abs(y - row["forecast"]) / error
        else:
            low, middle, high = told.quantiles[:, 0, 0, 0].tolist()
            assert (row["low"], row["high"]) == pytest.approx((low, high))
        if name == "normal":  # of logarithms: the density of y is that of log y, divided by y
            deviation = (math.log(high) - math.log(middle)) / 1.2815515655446004
            normal = torch.distributions.Normal(math.log(middle), deviation)
            expected = -float(normal.log_prob(torch.tensor(math.log(y)))) + math.log(y)
        if name == "quantile":
            end = high if y > middle else low
            expected = (math.log1p(y) - math.log1p(middle)) / (math.log1p(end) - math.log1p(middle))
        assert row["score"] == pytest.approx(expected, rel=1e-4)


def test_scores_are_of_tables_and_of_what_came(table, prepared, write_table):
    run = prepared(table(), time="t", lookback=6)
    with pytest.raises(OptionError, match="scores are of tables"):
        rows_of(run.task, run.trainer.model, Source.text("1,2,3,4,5,6,7"))
    with pytest.raises(OptionError, match="scores are of steps that came"):
        PredictOptions(scores=True, horizon=2)
    short = write_table("t,y", *(f"{n},1" for n in range(6)), name="short.csv")
    with pytest.raises(DataError, match=r"short\.csv, line 2: 6 steps, but a score needs 7"):
        rows_of(run.task, run.trainer.model, Source.file(short))
    assert "scores" not in run.task.predict_options


def test_where_the_median_is_an_end_of_the_interval_the_other_end_counts(table, prepared):
    """On the side where the interval has no width, by that of the other; of none, as a number."""
    told = {}
    for levels in (("0.1", "0.5"), ("0.5", "0.9"), ("0.5",)):
        model = {"quantiles": levels}
        run = prepared(table(), run="-".join(levels), time="t", lookback=6, model=model)
        trained = run.trainer.model.eval()
        assert not run.task.calibrate(trained, run.splits.held_out)
        error = float(run.task.scale_of("").seasonal_error)
        for row in rows_of(run.task, trained):
            width = error if len(levels) == 1 else row["high"] - row["low"]
            expected = abs(row["value"] - row["forecast"]) / width
            assert row["score"] == pytest.approx(expected, rel=1e-4)
            told.setdefault(levels, set()).add(row["value"] > row["forecast"])
    assert all(sides == {True, False} for sides in told.values())
