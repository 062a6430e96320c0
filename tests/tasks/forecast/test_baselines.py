import numpy as np
import pytest
import torch

from unrolled.tasks.forecast.baselines import baseline_forecasts, last_values


def forecasts_of(run, name):
    examples = run.splits.test
    return baseline_forecasts(run.splits.training, examples)[name](examples)[..., 0], examples


@pytest.fixture
def run(wave_table, prepared):
    return prepared(wave_table(), lookback=14)


def test_naive_forecasts_repeat_what_was_seen(run):
    said, examples = forecasts_of(run, "naive")
    seasonal, _ = forecasts_of(run, "seasonal naive")
    drift, _ = forecasts_of(run, "drift")
    values = examples[0].series.values[:, 0]
    for row, window in enumerate(examples):
        at = window.origin
        assert said[row].tolist() == [values[at - 1]] * 3
        assert seasonal[row].tolist() == values[at - 7 : at - 4].tolist()
        slope = float(values[at - 1] - values[0]) / (at - 1)
        expected = [float(values[at - 1]) + slope * k for k in (1, 2, 3)]
        assert drift[row].tolist() == pytest.approx(expected)


def test_what_is_missing_is_taken_from_before(write_table, prepared):
    rows = [f"2024-01-{n:02d},{n}" for n in range(1, 32)]
    rows[22] = "2024-01-23,"
    rows[29] = "2024-01-30,"
    run = prepared(write_table("day,y", *rows), lookback=5, horizon=1, test=0.05, held_out=0)
    (said, examples) = forecasts_of(run, "naive")
    seasonal, _ = forecasts_of(run, "seasonal naive")
    (row,) = [index for index, window in enumerate(examples) if window.origin == 30]
    assert said[row].tolist() == [29]
    assert seasonal[row].tolist() == [24]
    values = torch.tensor([[np.nan], [1.0], [np.nan]])
    assert last_values(values)[1:, 0].tolist() == [1, 1]


def test_smoothing_and_least_squares_continue_a_line_and_a_cycle(run):
    """The series is a sine of a week on a line: both have all that it takes."""
    for name in ("ETS", "linear"):
        said, examples = forecasts_of(run, name)
        for row, window in zip(said, examples, strict=True):
            truth = window.series.values[window.origin : window.origin + 3, 0]
            assert row.tolist() == pytest.approx(truth.tolist(), abs=0.05), name


def test_smoothing_of_one_place_knows_nothing_of_later_ones(wave_table, prepared):
    path = wave_table()
    before, examples = forecasts_of(prepared(path, run="a", lookback=14), "ETS")
    rows = path.read_text().splitlines()
    for later in ("50", "-50"):  # of which there is no logarithm
        rows[71] = rows[71].split(",")[0] + f",{later}"
        path.write_text("\n".join(rows) + "\n")
        after, _ = forecasts_of(prepared(path, run=f"b{later}", lookback=14), "ETS")
        assert bool(after.isfinite().all())
        for row, window in enumerate(examples):
            assert window.origin > 70 or torch.equal(before[row], after[row])
    assert not torch.equal(before, after)


def test_smoothing_multiplies_where_that_is_better(write_table, prepared):
    """A cycle that grows with its level: exponentials of a line and a cycle."""
    rows = [f"{n},{100 * 1.03**n * (1 + 0.5 * (n % 4 == 0)):.4f}" for n in range(60)]
    run = prepared(write_table("t,y", *rows), time="t", season=4, lookback=8)
    said, examples = forecasts_of(run, "ETS")
    for row, window in zip(said, examples, strict=True):
        truth = window.series.values[window.origin : window.origin + 3, 0]
        assert row.tolist() == pytest.approx(truth.tolist(), rel=0.03)


def test_least_squares_are_not_ruled_by_windows_in_which_nothing_happens(write_table, prepared):
    """A pause with the last digit at play, in a series that else has a cycle of 5."""
    rows = [f"{n},{(0, 3, 1, 7, 4)[n % 5]}" for n in range(80)]
    rows[20:40] = [f"{n},{5 + 1e-9 * (n % 2)}" for n in range(20, 40)]
    run = prepared(write_table("t,y", *rows), time="t", lookback=5)
    said, examples = forecasts_of(run, "linear")
    for row, window in zip(said, examples, strict=True):
        truth = window.series.values[window.origin : window.origin + 3, 0]
        assert (row - truth).abs().max() < 2


def test_it_is_said_where_smoothing_is_left_out(wave_table, prepared, monkeypatch):
    monkeypatch.setattr("unrolled.tasks.forecast.baselines._MOST_SMOOTHED", 70)
    run = prepared(wave_table(), lookback=14)
    assert "ETS" not in baseline_forecasts(run.splits.training, run.splits.test)
    note = "too many steps for exponential smoothing: no ETS beside the model"
    assert note in run.splits.notes


def test_a_later_value_below_0_takes_no_logarithms_away(write_table, prepared):
    rows = [f"{n},{100 * 1.03**n * (1 + 0.5 * (n % 4 == 0)):.4f}" for n in range(60)]
    options = {"time": "t", "season": 4, "lookback": 8}
    before, examples = forecasts_of(prepared(write_table("t,y", *rows), run="a", **options), "ETS")
    rows[55] = "55,-50"
    after, _ = forecasts_of(prepared(write_table("t,y", *rows), run="b", **options), "ETS")
    assert bool(after.isfinite().all())
    early = [row for row, window in enumerate(examples) if window.origin <= 55]
    assert early
    assert torch.equal(before[early], after[early])
