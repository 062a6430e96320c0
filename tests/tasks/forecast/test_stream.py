"""One observation at a time, and the whole history read at once."""

from datetime import datetime, timedelta

import numpy as np
import pytest
import torch

from unrolled.errors import DataError, OptionError, ShapeError
from unrolled.tasks.forecast.forecasting import forecast
from unrolled.tasks.forecast.rows import says_one_number
from unrolled.tasks.forecast.scaling import Scaling
from unrolled.tasks.forecast.windows import Sizes, Window

PLAIN = {"normalize": "none"}
MODELS = {
    "direct": ({}, PLAIN),
    "direct-mse": ({}, PLAIN | {"linear": False, "loss": "mse", "cell": "gru"}),
    "direct-diff": ({"transform": "diff"}, {"linear": False}),
    "direct-linear-log-diff": ({"transform": "log-diff"}, {"loss": "normal"}),
    "direct-season-diff": ({"transform": "season-diff", "season": 5}, {"loss": "normal"}),
    "recursive": ({}, PLAIN | {"method": "recursive", "loss": "mae"}),
    "recursive-tcn": ({}, PLAIN | {"method": "recursive", "loss": "mse", "cell": "tcn"}),
    "recursive-paths": ({"transform": "log"}, PLAIN | {"method": "recursive"}),
    "recursive-diff": ({"transform": "diff"}, {"method": "recursive", "loss": "mse"}),
    "recursive-paths-diff": ({"transform": "diff"}, {"method": "recursive", "loss": "normal"}),
    "recursive-season-diff": (
        {"transform": "log-season-diff", "season": 2},
        {"method": "recursive", "loss": "mse"},
    ),
    "recursive-paths-season-diff": (
        {"transform": "season-diff", "season": 2},
        {"method": "recursive"},
    ),
    "recursive-counts": ({}, {"method": "recursive", "loss": "negative-binomial"}),
}
WINDOWS = {
    "last": ({}, {}),
    "instance-tcn": ({"transform": "log"}, {"normalize": "instance", "cell": "tcn"}),
    "segment": ({"horizon": 4}, {"method": "segment", "segment": 2, "loss": "mse"}),
    "encoder-decoder": ({}, {"method": "encoder-decoder", "loss": "normal"}),
    "recursive-paths-last": ({}, {"method": "recursive", "loss": "student-t"}),
}
ROWS = [
    f"{s},{n},{'' if n % 13 in (0, 7) else 1 + (n * n) % 7 + k},{n % 4},{w},{s == 'A':d}"
    for k, (s, w) in enumerate((("A", "north"), ("B", "south")))
    for n in range(60)
]


@pytest.fixture
def two_series(write_table, prepared):
    """Return what trains on two series with missing values, first ones too, and known columns."""

    def trained(data, model):
        path = write_table("s,t,y,k,region,size", *ROWS)
        more = {"known": ("k",), "static": ("region,size",), "lookback": 8} | data
        run = prepared(path, time="t", id="s", model=model, **more)
        run.trainer.fit()
        series = next(w.series for w in run.splits.test if w.series.id == "B")
        return run.task, run.trainer.model.eval(), series

    return trained


def at_once(task, model, series, step, levels):
    """Return the forecast, and quantiles, from a window of all steps before `step`."""
    fitted = task.fitted
    scaling = Scaling(
        task.options, fitted.scales, fitted.columns, step, fitted.calendar.season, fitted.statics
    )
    sizes = Sizes(step, task.sizes.horizon)
    with torch.inference_mode():
        window = Window(series, step, sizes, len(series), task.calendar)
        point, quantiles = forecast(scaling, model, [window], levels)
    return point[0], None if quantiles is None else quantiles[:, 0]


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_says_what_the_whole_history_says(name, two_series):
    """With missing values, first ones too, known columns and what is known of the series."""
    task, trained, series = two_series(*MODELS[name])
    stream, other = (task.stream(trained, "B", static=("south", 0)) for _ in range(2))
    levels = () if says_one_number(trained.options) else (0.1, 0.9)
    for step in range(24):
        known = series.known[step : step + 4]
        values, more = series.values[step].tolist(), {"future": known[1:]}
        more["columns"] = known[0].tolist()
        said = stream.push(values, **more)
        if levels:
            told = other.push_quantiles(values, levels, **more)
            assert torch.equal(told.point, said)
        if step + 1 in (8, 15, 24):  # after a missing one; long after the lookback
            expected, quantiles = at_once(task, trained, series, step + 1, levels)
            torch.testing.assert_close(said, expected, rtol=2e-5, atol=2e-5)
            if levels:
                torch.testing.assert_close(told.quantiles, quantiles, rtol=2e-5, atol=2e-5)
                low, high = told.quantiles
                assert (low < high).any()
    with pytest.raises(ShapeError, match="expected a value of each of region, size, got 0"):
        task.stream(trained, "B")


def test_who_leaves_out_what_the_calendar_says_is_told_where_it_comes_from(wave_table, prepared):
    """The columns of a day are those that the table was read with."""
    run = prepared(wave_table(), model=PLAIN)
    calendar, series = run.task.calendar, run.splits.test[0].series
    stream = run.task.stream(run.trainer.model.eval())
    told = "the sine of the week, the sine of the year, the cosine of the week, the cosine of the "
    with pytest.raises(ShapeError, match=f"expected 1 values and 4 columns, got 1 and 0.*{told}"):
        stream.push([3.0])
    days = [datetime(2024, 1, 1) + timedelta(n) for n in range(4)]  # the first ones of the table
    columns = calendar.features(np.array([calendar.place(day) for day in days]))
    assert np.array_equal(columns, series.known[:4].numpy())
    with pytest.raises(ShapeError, match=r"future must be \(3, 4\).*calendar\.features"):
        stream.push([3.0], columns=columns[0])
    with pytest.raises(DataError, match="future has numbers that are not finite"):
        stream.push([3.0], columns=columns[0], future=torch.full((3, 4), torch.inf))
    assert stream.push([3.0], columns=columns[0], future=torch.tensor(columns[1:])).shape == (3, 1)


@pytest.mark.parametrize("name", WINDOWS)
def test_a_model_of_windows_says_what_it_says_of_a_table_that_ends_there(name, two_series):
    task, trained, series = two_series(*WINDOWS[name])
    lookback, horizon = task.sizes
    levels = () if says_one_number(trained.options) else (0.1, 0.9)
    stream = task.stream(trained, "B", static=("south", 0))
    for step in range(20):
        known = series.known[step : step + 1 + horizon]
        more = {"columns": known[0].tolist(), "future": known[1:]}
        if levels:
            point, quantiles = stream.push_quantiles(series.values[step].tolist(), levels, **more)
        else:
            point, quantiles = stream.push(series.values[step].tolist(), **more), None
        assert point.shape == (horizon, 1)
        if step + 1 < lookback:
            assert point.isnan().all()
            assert quantiles is None or quantiles.isnan().all()
            continue
        window = Window(series, step + 1, task.sizes, len(series), task.calendar)
        expected = task.forecast(trained, [window], levels)
        assert torch.equal(point, expected.point[0])
        assert quantiles is None or torch.equal(quantiles, expected.quantiles[:, 0])


def test_where_all_that_a_window_looks_at_is_missing_nothing_is_known(wave_table, prepared):
    run = prepared(wave_table(), calendar=False)
    stream = run.task.stream(run.trainer.model.eval())
    lookback = run.task.sizes.lookback
    said = [stream.push([value]) for value in [1.0] * lookback + [float("nan")] * lookback + [2.0]]
    known = [bool(point.isfinite().all()) for point in said]
    assert known == [False] * (lookback - 1) + [True] * lookback + [False, True]


@pytest.mark.parametrize("name", ["direct", "recursive-paths", "recursive-counts"])
def test_a_value_that_a_model_is_not_of_is_refused_and_not_read(name, write_table, prepared):
    data, model = MODELS[name]
    path = write_table("t,y", *(f"{n},{1 + (n * n) % 7}" for n in range(60)))
    run = prepared(path, time="t", lookback=8, model=model, **data)
    trained = run.trainer.model.eval()
    stream, other = run.task.stream(trained), run.task.stream(trained)
    wrong = {float("inf"): "'y' is not a finite number", "x": "'y' is not a finite number"}
    wrong |= {0.0: "'y' is 0, which has no log", -1.0: "'y' is -1"} if "paths" in name else {}
    wrong |= {2.5: "'y' has 2.5, which is no count", -1.0: "no count"} if "counts" in name else {}
    for value in (3.0, 4.0):
        for number, expected in wrong.items():
            with pytest.raises(DataError, match=expected):
                stream.push([number])
        said = stream.push([value])
        assert torch.equal(said, other.push([value]))


def test_quantiles_that_a_model_does_not_have_are_refused_and_the_step_not_read(
    write_table, prepared
):
    path = write_table("t,y", *(f"{n},{1 + (n * n) % 7}" for n in range(60)))
    run = prepared(path, time="t", lookback=8, model=PLAIN)
    trained = run.trainer.model.eval()
    stream, other = run.task.stream(trained), run.task.stream(trained)
    told = stream.push_quantiles([3.0], (0.1, 0.5, 0.9))
    assert torch.equal(told.point, told.quantiles[1])
    low, high = run.task.stream(trained).push_quantiles([3.0], np.array([0.9, 0.1])).quantiles
    assert (low > high).all()  # in the order in which they are asked for
    assert torch.equal(told.point, other.push([3.0]))
    with pytest.raises(OptionError, match=r"of 0.1, 0.95 are asked for, but the model has 0.1, 0"):
        stream.push_quantiles([4.0], (0.1, 0.95))
    for levels in ((), (0.0, 0.5), (0.5, float("nan")), 0.5, ("most",), torch.zeros(0)):
        with pytest.raises(OptionError, match="must be numbers between 0 and 1, got"):
            stream.push_quantiles([4.0], levels)
    assert torch.equal(stream.push([4.0]), other.push([4.0]))
    number = prepared(path, run="number", time="t", lookback=8, model=PLAIN | {"loss": "mse"})
    with pytest.raises(OptionError, match="this one says one number"):
        number.task.stream(number.trainer.model.eval()).push_quantiles([3.0], (0.1,))
