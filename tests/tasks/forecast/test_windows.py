"""No forecast and no scale knows of what comes after it."""

import pytest
import torch

from unrolled.errors import DataError
from unrolled.tasks.forecast import ForecastTask


def spans(windows):
    return [(w.origin - w.sizes.lookback, w.origin, w.origin + w.sizes.horizon) for w in windows]


def test_a_window_belongs_to_the_part_in_which_its_whole_horizon_lies(wave_table, prepared):
    splits = prepared(wave_table(100), lookback=10, split="60,20,20").splits
    assert spans(splits.training) == [(n - 10, n, n + 3) for n in range(10, 58)]
    assert spans(splits.held_out) == [(n - 10, n, n + 3) for n in range(60, 78)]
    assert spans(splits.test) == [(n - 10, n, n + 3) for n in range(80, 98)]
    assert "4 windows would forecast steps of two parts, and are left out" in splits.notes


def test_parts_are_fractions_of_each_series_and_at_least_a_horizon(wave_table, prepared):
    splits = prepared(wave_table(100), lookback=5, held_out=0.01, test=0.3).splits
    assert [w.origin for w in splits.held_out] == [67]
    assert [splits.test[0].origin, splits.test[-1].origin] == [70, 97]


def test_windows_that_are_measured_lie_a_stride_apart(wave_table, prepared):
    splits = prepared(wave_table(100), lookback=5, split="60,20,20", stride=5).splits
    assert [w.origin for w in splits.test] == [80, 85, 90, 95]
    assert len(splits.training) == 53


@pytest.mark.parametrize("transform", ["none", "log1p", "diff", "log-diff"])
def test_what_comes_later_changes_no_forecast_and_no_scale(transform, wave_table, prepared):
    """A spike in the test part, and one in the held-out part, as those who peek would notice."""
    whole = prepared(wave_table(), run="whole", transform=transform)
    path = wave_table(name="spike.csv")
    rows = path.read_text().splitlines()
    for step in (50, 70):  # held out; measured on
        rows[1 + step] = rows[1 + step].split(",")[0] + ",1e6"
    path.write_text("\n".join(rows) + "\n")
    spiked = prepared(path, run="spiked", transform=transform)
    assert spiked.task.to_dict() == whole.task.to_dict()
    for one, other in zip(
        whole.trainer.model.state_dict().values(),
        spiked.trainer.model.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, other)
    whole.trainer.model.eval()
    for part in ("training", "held_out", "test"):
        pairs = zip(getattr(whole.splits, part), getattr(spiked.splits, part), strict=True)
        for mine, theirs in pairs:
            if any(theirs.origin - theirs.sizes.lookback <= s < theirs.origin for s in (50, 70)):
                continue
            one, other = (
                prepared.task.forecast(whole.trainer.model, [window], (0.1, 0.9))
                for prepared, window in ((whole, mine), (spiked, theirs))
            )
            assert torch.equal(one.point, other.point)
            assert torch.equal(one.quantiles, other.quantiles)


def test_the_known_future_is_read_and_the_past_of_others_is_not(write_table, prepared):
    """A spike in the horizon of a column that is known in advance moves it, of another one not."""
    rows = [f"{n},{n % 5},{n % 3},{n % 2}" for n in range(60)]
    outcomes = {}
    for name, row in (("none", None), ("known", "50,0,99,0"), ("past", "50,0,2,99")):
        changed = [row if row is not None and n == 50 else each for n, each in enumerate(rows)]
        path = write_table("t,y,k,p", *changed, name=f"{name}.csv")
        run = prepared(path, run=name, time="t", known=("k",), past=("p",), lookback=6)
        window = next(w for w in run.splits.test if w.origin == 49)
        if not outcomes:
            model = run.trainer.model.eval()
            torch.nn.init.normal_(model.known[2].weight)
        outcomes[name] = run.task.forecast(model, [window], ()).point
    assert torch.equal(outcomes["none"], outcomes["past"])
    assert not torch.equal(outcomes["none"], outcomes["known"])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"lookback": 60}, "48 steps to learn from.*, of 80, but a window has 63: 60 to look at"),
        ({"split": "60,20,20"}, "80 steps, but split has 100"),
    ],
)
def test_too_few_steps_are_refused(wave_table, prepared, data, expected):
    with pytest.raises(DataError, match=expected):
        prepared(wave_table(80), **data)


def test_series_that_are_too_short_are_left_out_and_counted(write_table, prepared):
    rows = [f"A,{n},{n % 4}" for n in range(50)] + [f"B,{n},{n % 4}" for n in range(6)]
    path = write_table("id,t,y", *rows, *(f"C,{n},{n % 3}" for n in range(50)))
    run = prepared(path, time="t", id="id")
    assert run.task.sizes.lookback == 6
    assert {window.series.id for window in run.splits.training} == {"A", "C"}
    assert any(note.startswith("1 series is left out; the first: ") for note in run.splits.notes)


def test_a_target_that_is_missing_is_neither_learned_from_nor_measured(wave_table, prepared):
    path = wave_table()
    rows = path.read_text().splitlines()
    rows[21] = rows[21].split(",")[0] + ","
    path.write_text("\n".join(rows) + "\n")
    task: ForecastTask
    run = prepared(path, lookback=6)
    task, model = run.task, run.trainer.model.eval()
    assert task.fitted.marks_missing
    window = next(w for w in run.splits.training if w.origin == 19)
    _, count = task.loss(model, [window])
    assert count == 2
    figures = task.evaluate(model, [window])
    truth = window.series.values[19:22, 0]
    point = task.forecast(model, [window], (0.1, 0.9)).point[0, :, 0]
    assert figures["mae"] == pytest.approx(float((point - truth).abs()[[0, 2]].mean()))


def test_a_split_with_a_part_shorter_than_a_forecast_is_refused(wave_table, prepared):
    with pytest.raises(DataError, match="split 60,2,18: a part has fewer steps than a forecast, 3"):
        prepared(wave_table(80), split="60,2,18")


def test_a_series_without_a_target_to_learn_from_is_left_out_and_counted(write_table, prepared):
    rows = [f"A,{n},{n % 4}" for n in range(50)]
    rows += [f"B,{n},{n % 4 if n > 35 else ''}" for n in range(50)]
    run = prepared(write_table("id,t,y", *rows), time="t", id="id", lookback=6)
    splits = run.splits
    windows = [*splits.training, *splits.held_out, *splits.test]
    assert {window.series.id for window in windows} == {"A"}
    (note,) = [note for note in run.splits.notes if "left out; the first" in note]
    assert "no window of series 'B' has a target to learn from" in note
