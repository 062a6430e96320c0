"""The forecaster with scikit-learn's face."""

import copy
import pickle
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from unrolled.data.source import Source
from unrolled.errors import DataError, OptionError
from unrolled.sklearn import SequenceForecaster
from unrolled.sklearn.index import check_index
from unrolled.tasks import load

STEPS = np.arange(140)
SINE = 5 + np.sin(STEPS * 2 * np.pi / 7)
QUICK = {"horizon": 4, "season": 7, "hidden_size": 4, "updates": 20, "random_state": 0}


def known_in_advance(num=160):
    """A column, and a series that is twice the column of the same step."""
    X = np.random.default_rng(0).normal(size=(num, 1))
    return X, 2 * X[:, 0] + 10


@pytest.fixture(scope="module")
def fitted():
    return SequenceForecaster(**QUICK).fit(SINE)


@pytest.fixture(scope="module")
def with_known():
    X, y = known_in_advance()
    options = QUICK | {"updates": 600, "learning_rate": 0.02, "dropout": 0.0, "loss": "mae"}
    return SequenceForecaster(**options).fit(X[:150], y[:150])


def test_it_goes_on_from_the_training_and_from_other_series(fitted):
    expected = 5 + np.sin(np.arange(140, 144) * 2 * np.pi / 7)
    assert fitted.predict() == pytest.approx(expected, abs=0.05)
    assert (fitted.horizon_, fitted.lookback_) == (4, 14)
    later = fitted.predict(SINE[:-3])
    assert later == pytest.approx(SINE[-3:].tolist() + expected[:1].tolist(), abs=0.05)
    assert np.array_equal(fitted.predict(SINE), fitted.predict())
    assert np.array_equal(fitted.predict(horizon=2), fitted.predict()[:2])
    assert np.array_equal(fitted.predict(SINE.tolist()), fitted.predict())
    with pytest.raises(OptionError, match="horizon is 5, but the model makes 4"):
        fitted.predict(horizon=5)


def test_the_forms_of_series_and_of_forecasts():
    two = np.stack([SINE, 2 * SINE], 1)
    table = SequenceForecaster(**QUICK).fit(two)
    assert table.predict().shape == (4, 2)
    assert table.predict_interval(two[:50]).shape == (2, 4, 2)
    several = SequenceForecaster(**QUICK).fit([SINE, 100 * SINE[:90]])
    assert several.predict().shape == (2, 4)
    assert several.predict()[1] == pytest.approx(100 * SINE[90:94], rel=0.05)
    # another series is scaled by itself
    assert several.predict([1000 * SINE[:60]]) == pytest.approx(1000 * SINE[None, 60:64], rel=0.05)
    assert several.predict(SINE[:60]).shape == (4,)
    cube = SequenceForecaster(**QUICK).fit(np.stack([two, two]))
    assert cube.predict().shape == (2, 4, 2)


def test_what_is_known_in_advance_decides(with_known):
    X, y = known_in_advance()
    assert with_known.predict(X[150:]) == pytest.approx(y[150:154], abs=0.6)
    assert with_known.predict(X[150:152], horizon=2) == pytest.approx(y[150:152], abs=0.6)
    assert np.array_equal(with_known.predict(X[:154], y[:150]), with_known.predict(X[150:]))
    assert with_known.predict(X[:104], y[:100]) == pytest.approx(y[100:104], abs=0.6)
    assert with_known.score(X, y) > -0.5


def test_intervals_hold_the_forecast(fitted):
    low, high = fitted.predict_interval()
    assert (low <= fitted.predict()).all()
    assert (fitted.predict() <= high).all()
    with pytest.raises(OptionError, match=r"interval 0\.5 has ends at 0\.25"):
        fitted.predict_interval(coverage=0.5)
    with pytest.raises(OptionError, match="interval must be"):
        fitted.predict_interval(coverage=1.5)
    levels = SequenceForecaster(**QUICK, quantiles=(0.25, 0.5, 0.75)).fit(SINE)
    assert np.array_equal(levels.predict_interval(coverage=0.5), levels.predict_interval())
    number = SequenceForecaster(**QUICK, loss="mae").fit(SINE)
    with pytest.raises(OptionError, match="says one number"):
        number.predict_interval()


def test_the_score_is_minus_mase_by_hand():
    learned = SINE + np.random.default_rng(1).normal(size=140)
    model = SequenceForecaster(**QUICK).fit(learned)
    y = learned[::-1][:40]
    errors = [
        np.abs(model.predict(y[:origin]) - y[origin : origin + 4])
        for origin in range(model.lookback_, 37)
    ]
    scale = np.abs(learned[7:] - learned[:-7]).mean()  # nothing is held out of so few
    assert model.score(y) == pytest.approx(-np.mean(errors) / scale, rel=1e-5)


def test_nothing_after_the_place_of_a_forecast_changes_it(fitted):
    spiked = np.concatenate([SINE[:60], [1e6] * 4])
    assert np.array_equal(fitted.predict(spiked[:60]), fitted.predict(SINE[:60]))


def test_missing_numbers_are_not_learned_from():
    y = SINE.copy()
    y[::9] = np.nan
    model = SequenceForecaster(**QUICK).fit(y)
    assert np.isfinite(model.predict()).all()
    assert model.predict() == pytest.approx(
        5 + np.sin(np.arange(140, 144) * 2 * np.pi / 7), abs=0.5
    )


def test_few_steps_are_all_learned_from():
    few = SequenceForecaster(**QUICK | {"lookback": 8}).fit(SINE[:13])
    assert few.predict().shape == (4,)
    held_out = SequenceForecaster(**QUICK | {"lookback": 8}, held_out=0.2)
    with pytest.raises(DataError, match="y: 9 steps to learn from before the parts"):
        held_out.fit(SINE[:13])


def test_a_grid_over_series_and_over_time():
    grid = GridSearchCV(SequenceForecaster(**QUICK), {"method": ["direct", "segment"]}, cv=2)
    assert grid.fit([SINE + k for k in range(4)]).best_score_ < 0
    split = TimeSeriesSplit(2)
    over_time = GridSearchCV(SequenceForecaster(**QUICK), {"hidden_size": [2, 4]}, cv=split)
    assert over_time.fit(SINE).best_estimator_.predict().shape == (4,)


@pytest.mark.parametrize("copy_of", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_say_the_same(fitted, copy_of):
    other = copy_of(fitted)
    assert np.array_equal(other.predict(), fitted.predict())
    assert other.model_ is not fitted.model_
    with pytest.raises(NotFittedError):
        clone(fitted).predict()


def test_a_saved_run_forecasts_a_table(with_known, fitted, tmp_path):
    fitted.save(tmp_path / "run")
    run = load(tmp_path / "run")
    (tmp_path / "table.csv").write_text("\n".join(["y", *map(str, SINE)]))
    options = run.task.option_classes.predict()
    rows = run.task.predict(run.model, Source.file(tmp_path / "table.csv"), options)
    assert [row["forecast"] for row in rows] == pytest.approx(fitted.predict())
    with_known.save(tmp_path / "known")
    X, y = known_in_advance()
    pairs = [f"{a},{b}" for a, b in zip(X[:150, 0], y, strict=False)]
    pairs += [f"{a}," for a in X[150:154, 0]]
    (tmp_path / "known.csv").write_text("\n".join(["x,y", *pairs]))
    run = load(tmp_path / "known")
    rows = run.task.predict(run.model, Source.file(tmp_path / "known.csv"), options)
    assert [row["forecast"] for row in rows] == pytest.approx(with_known.predict(X[150:154]))


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    SequenceForecaster(**QUICK | {"updates": 1}).fit(SINE).predict()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((SINE[:4],), DataError, "y: 4 steps to learn from, but a window has"),
        (([SINE, SINE[:5]],), DataError, r"y\[1\]: 5 steps of series '1'"),
        (([SINE, SINE[:, None] * [1, 2]],), DataError, r"y\[1\]: 2 columns, y\[0\] has 1"),
        ((np.full(50, np.nan),), DataError, "y: no value"),
        ((np.array([1.0, np.inf] * 40),), ValueError, "infinity"),
        ((SINE[:, None], SINE[:-1]), DataError, "X: 140 rows, expected one for each of 139"),
        (([SINE[:, None]] * 2, [SINE]), DataError, "X has 2 series, and y 1"),
        ((7,), DataError, "expected a series of numbers, got 7"),
        ((["a", "b"],), ValueError, "could not convert"),
        (([],), ValueError, "0 sample|empty"),
    ],
)
def test_what_cannot_be_used_is_named(given, error, message):
    with pytest.raises(error, match=message):
        SequenceForecaster(**QUICK).fit(*given)


def test_what_was_not_fitted_to_is_named(fitted, with_known):
    with pytest.raises(DataError, match=r"y has 2 columns, but .* was fitted to 1"):
        fitted.predict(np.zeros((30, 2)))
    with pytest.raises(DataError, match="y: 5 steps, but a forecast looks at 14"):
        fitted.predict(SINE[:5])
    with pytest.raises(DataError, match="steps are a keyword: horizon=12"):
        fitted.predict(12)
    with pytest.raises(DataError, match="was fitted to y alone"):
        fitted.predict(SINE[:, None], SINE)
    with pytest.raises(DataError, match="the model also reads x"):
        with_known.predict()
    with pytest.raises(DataError, match="X: 3 rows, expected one for each of 4 steps to come"):
        with_known.predict(np.zeros((3, 1)))
    with pytest.raises(DataError, match="was fitted to X and y"):
        with_known.score(SINE)
    with pytest.raises(DataError, match="which has no logarithm"):
        SequenceForecaster(**QUICK, transform="log").fit(SINE - 5)
    with pytest.raises(DataError, match="no series has the 18 steps of a window"):
        fitted.score(SINE[:17])


def test_frames_are_the_arrays_that_they_hold():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2024-01-01", periods=len(SINE))
    column = pandas.Series(SINE, index=days)
    assert np.array_equal(
        SequenceForecaster(**QUICK).fit(column).predict(),
        SequenceForecaster(**QUICK).fit(SINE).predict(),
    )
    frame = pandas.DataFrame({"a": SINE, "b": 2 * SINE})
    panel = pandas.concat({"first": frame, "second": frame})  # two levels of index
    assert SequenceForecaster(**QUICK).fit(frame).predict().shape == (4, 2)
    forecaster = SequenceForecaster(**QUICK).fit(panel)
    assert forecaster.predict(panel).shape == (2, 4, 2)
    deeper = pandas.concat({"all": panel})  # sktime's pd_multiindex_hier
    assert np.array_equal(forecaster.predict(deeper), forecaster.predict(panel))


def test_forecasts_come_out_as_what_was_given_with_the_index_of_the_steps_to_come():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2024-01-01", periods=len(SINE), name="day")
    column = pandas.Series(SINE, index=days, name="sales")
    fitted = SequenceForecaster(**QUICK).fit(column)
    said = fitted.predict_frame()
    assert np.array_equal(said, fitted.predict())
    assert (said.name, said.index.name) == ("sales", "day")
    assert [*said.index] == [days[-1] + pandas.Timedelta(days=n) for n in (1, 2, 3, 4)]
    assert said.index.equals(pickle.loads(pickle.dumps(fitted)).predict_frame().index)
    after = {
        "business days": (pandas.bdate_range("2024-01-01", periods=140), "2024-07-15"),
        "months": (pandas.period_range("2010-01", periods=140, freq="M"), "2021-09"),
        "hours": (pandas.date_range("2024-10-21", periods=140, freq="h", tz="Europe/Berlin"), None),
        "even numbers": (range(0, 280, 2), 280),
    }
    for index, first in after.values():
        one = fitted.predict_frame(pandas.Series(SINE[:140], index=index), horizon=2)
        assert str(one.index[0]).startswith(str(first or "2024-10-26 20:00:00+02:00"))
        assert len(one) == 2
    frame = pandas.DataFrame({"a": SINE, "b": 2 * SINE}, index=days)
    panel = pandas.concat({"one": frame, "two": frame[:100]}, names=["shop", "day"])
    several = SequenceForecaster(**QUICK).fit(panel)
    told = several.predict_frame()
    assert told.index.names == ["shop", "day"]
    assert [*told.columns] == ["a", "b"]
    assert told.loc["two"].index[0] == days[100]
    assert np.array_equal(told.loc["two"], several.predict()[1])
    deeper = several.predict_frame(pandas.concat({"all": panel}, names=["firm"]))
    assert np.array_equal(deeper.loc[("all", "one")], several.predict(panel)[0])
    listed = several.predict_frame([frame, frame[:100]], horizon=1)
    assert [each.index[0] for each in listed] == [days[-1] + pandas.Timedelta(days=1), days[100]]
    mixed = panel.swaplevel().sort_index().swaplevel()  # rows of both shops in turns
    mixed = pandas.concat([panel.iloc[:1], mixed.drop(panel.index[0])])
    told = several.predict_frame(mixed)
    assert np.array_equal(told.loc["two"], several.predict(mixed)[1])
    assert told.loc["two"].index[0] == days[100]
    for wrong, message in (
        (SINE, "these are arrays"),
        (
            pandas.Series(SINE, index=[*range(0, 139 * 10**6, 10**6), 139 * 10**6 + 1]),
            "nothing tells what comes after",
        ),
        (column.rename(index=str), r"nothing tells what comes after '2024-.*to_datetime"),
    ):
        with pytest.raises(DataError, match=message):
            fitted.predict_frame(wrong)


def indexed(days, dtype="datetime64[us]", nanoseconds=()):
    """What pandas has of a series with these days of January 2024, or moments, as its index."""

    class Index(list):
        is_monotonic_increasing = days == sorted(days)

        def to_pydatetime(self):
            return [*self]

        def astype(self, _):
            whole = [(day - datetime(1970, 1, 1)) // timedelta(microseconds=1) for day in self]
            return [1000 * number + nano for number, nano in zip(whole, nanoseconds, strict=True)]

    index = Index(day if isinstance(day, datetime) else datetime(2024, 1, day) for day in days)
    index.dtype = np.dtype(dtype)
    return SimpleNamespace(index=index)


def test_rows_whose_index_does_not_rise_step_by_step_are_refused():
    check_index("y", indexed([1, 2, 3, 4]))
    check_index("y", indexed([1, 2, 3, 8], "float64"))
    check_index("y", SINE)
    refused = {
        "y: rows are steps, and their index is not in rising order": [2, 1, 3, 4],
        "two are of 2024-01-02": [1, 2, 2, 3],
        "5 of them lie between the row of 2024-01-08 .* where most are daily": [1, 2, 3, 8, 9],
    }
    for message, days in refused.items():
        with pytest.raises(DataError, match=message):
            check_index("y", indexed(days))
    for dtype in ("int64", "timedelta64[ns]"):  # as a shuffled split leaves it
        with pytest.raises(DataError, match="not in rising order"):
            check_index("y", indexed([4, 1, 2, 3], dtype))
    with pytest.raises(DataError, match="two are of 2024-01-02"):
        check_index("y", indexed([2, 2]))


def test_an_index_that_lacks_a_value_or_goes_beyond_dates_says_so():
    lacking = indexed([1, 3, 2])
    lacking.index.hasnans = True
    with pytest.raises(DataError, match="some have nothing in their index"):
        check_index("y", lacking)

    def to_pydatetime():
        raise ValueError("year 33658 is out of range")

    far = indexed([1, 2, 3])
    far.index.to_pydatetime = to_pydatetime
    with pytest.raises(DataError, match="dates beyond the years 1 to 9999"):
        check_index("y", far)


def test_steps_of_nanoseconds_are_as_far_apart_as_they_are():
    kind = "datetime64[ns]"
    check_index("y", indexed([1] * 4, kind, [0, 250, 500, 750]))
    check_index("y", indexed([1, 2, 3], kind, [0, 0, 0]))
    with pytest.raises(DataError, match="two are of 2024-01-01"):
        check_index("y", indexed([1] * 3, kind, [0, 5, 5]))
    match = "2 of them lie between the row of 2024-01-01 .* most are 5 nanoseconds apart"
    with pytest.raises(DataError, match=match):
        check_index("y", indexed([1] * 4, kind, [0, 5, 10, 20]))


def test_steps_of_a_zone_and_months_that_end_on_a_business_day_are_taken():
    zone, hour = ZoneInfo("Europe/Berlin"), timedelta(hours=1)
    begin = datetime(2024, 10, 26, tzinfo=UTC)
    hours = [(begin + n * hour).astimezone(zone) for n in range(72)]  # 2 o'clock comes twice
    check_index("y", indexed(hours))
    with pytest.raises(DataError, match=r"2 of them lie .* most are hourly"):
        check_index("y", indexed(hours[:30] + hours[31:]))
    work = [datetime(2024, 3, day, tzinfo=zone) for day in range(11, 32)]
    work = [day for day in [*work, datetime(2024, 4, 1, tzinfo=zone)] if day.weekday() < 5]
    check_index("y", indexed(work))  # clocks change on the 31st
    ends = [(1, 31), (2, 29), (3, 29), (4, 30), (5, 31), (6, 28), (7, 31)]
    months = [datetime(2024, month, day) for month, day in ends]
    check_index("y", indexed(months))
    with pytest.raises(DataError, match=r"2 of them lie .* most are monthly, on workdays"):
        check_index("y", indexed(months[:3] + months[4:]))


def test_an_index_of_texts_is_one_of_dates_where_all_are_dates():
    """As a table has it whose dates were not parsed."""

    def texts(*rows):
        index = type("Index", (list,), {"is_monotonic_increasing": False})(rows)
        index.dtype = np.dtype(object)
        return SimpleNamespace(index=index)

    check_index("y", texts("a", "c", "b"))
    check_index("y", texts("3", "1", "2"))
    check_index("y", texts("2024-03", "c", "b"))
    check_index("y", texts("2024-03-01", "2024-03-02", "2024-03-03"))
    check_index("y", texts("1999 Q4", "2000 Q1", "2000 Q2"))
    refused = {
        "not in rising order": ("2024-03-02", "2024-03-01", "2024-03-03"),
        "two are of 2024-02": ("2024-01", "2024-02", "2024-02"),
        "3 of them lie between the row of 2024-06 and": (
            "2024-01",
            "2024-02",
            "2024-03",
            "2024-06",
        ),
    }
    for message, rows in refused.items():
        with pytest.raises(DataError, match=message):
            check_index("y", texts(*rows))


def test_a_frame_that_was_shuffled_or_has_gaps_or_holds_dates_is_refused():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2024-01-01", periods=len(SINE))
    column = pandas.Series(SINE, index=days)
    months = pandas.Series(SINE, index=pandas.period_range("2010-01", periods=140, freq="M"))
    SequenceForecaster(**QUICK).fit(months)
    for made in ({"freq": "h", "tz": "Europe/Lisbon"}, {"freq": "BME"}):  # an hour comes twice
        times = pandas.date_range("2024-10-26", periods=len(SINE), **made)
        check_index("y", pandas.Series(SINE, index=times))
    check_index("y", pandas.DataFrame([[1, 2]], columns=["a", "a"]))
    wrong = [column.sample(frac=1), column.drop(days[30:40]), pandas.DataFrame({"d": days})]
    for given in wrong:
        with pytest.raises(DataError):
            SequenceForecaster(**QUICK).fit(given)
