"""A run of a forecaster, from its table to its forecasts."""

import json
import random
import re

import pytest
import torch

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks import load, resume
from unrolled.tasks.forecast import PredictOptions
from unrolled.training import LengthOptions

METHODS = {
    "direct": {},
    "recursive": {"method": "recursive"},
    "recursive-own": {"method": "recursive", "loss": "mse"},
    "segment": {"method": "segment", "loss": "normal"},
    "encoder-decoder": {"method": "encoder-decoder", "cell": "gru", "loss": "student-t"},
    "encoder-decoder-tcn": {"method": "encoder-decoder", "cell": "tcn", "independent": True},
    "instance": {"normalize": "instance", "cell": "tcn", "loss": "huber"},
    "apart": {"independent": True, "linear": False, "cell": "gru"},
}


def predicted(run, path=None, **options):
    source = run.task.own_source if path is None else Source.file(path)
    return list(run.task.predict(run.model, source, PredictOptions(**options)))


def trained(prepared, path, **options):
    run = prepared(path, **options)
    run.trainer.fit()
    results = run.finish()
    return load(run.trainer.run.path), results


@pytest.mark.parametrize("name", METHODS)
def test_every_method_forecasts_what_comes_after_the_table(name, write_table, prepared):
    rows = ["day,a,b", *(f"2024-01-{n:02d},{n % 7},{20 + n % 5}" for n in range(1, 32))]
    options = {"target": ("a,b",), "lookback": 7, "horizon": 3, "test": 0.15, "held_out": 0.15}
    run, results = trained(prepared, write_table(*rows), model=METHODS[name], **options)
    assert {"naive", "seasonal naive", "drift", "ETS", "linear"} == results.baselines.keys()
    told = predicted(run)
    days = ["2024-02-01", "2024-02-02", "2024-02-03"]
    assert [(r["time"], r["target"]) for r in told] == [(d, t) for d in days for t in "ab"]
    says_one = METHODS[name].get("loss") in ("mse", "huber")
    assert ("low" in told[0]) != says_one
    assert says_one or all(row["low"] <= row["forecast"] <= row["high"] for row in told)
    assert predicted(run) == told
    assert predicted(run, horizon=2) == told[:4] or name == "recursive"  # draws for two steps
    evaluated = run.task.evaluate(run.model, run.task.read(run.task.options).test)
    assert results.metrics == evaluated


def test_a_forecast_of_counts_is_of_counts(write_table, prepared):
    rows = [f"{n},{(n * 7) % 5}" for n in range(60)]
    path = write_table("t,y", *rows)
    options = {"time": "t", "lookback": 8}
    for method in ("direct", "recursive"):
        model = {"loss": "negative-binomial", "method": method}
        run, _ = trained(prepared, path, run=method, model=model, **options)
        for row in predicted(run):
            assert row["forecast"] > 0
            assert row["low"] == round(row["low"])
    path = write_table("t,y", "0,1", "1,2", "2,1.5", *rows[3:], name="half.csv")
    with pytest.raises(DataError, match=r"step 3 has 1\.5, which is no count"):
        prepared(path, run="half", model=model, **options)


def test_logarithms_are_learned_and_undone(write_table, prepared):
    rows = [f"{n},{1.1**n:.6f}" for n in range(60)]
    run, results = trained(
        prepared, write_table("t,y", *rows), time="t", lookback=6, transform="log", horizon=2
    )
    last, _ = predicted(run)
    assert last["forecast"] == pytest.approx(1.1**60, rel=0.1)
    assert results.metrics["mae"] < results.baselines["naive"]["mae"]


def test_a_horizon_may_be_longer_where_paths_are_drawn(wave_table, prepared):
    path = wave_table()
    run, _ = trained(prepared, path, model={"method": "recursive"})
    assert len(predicted(run, horizon=9)) == 9
    run, _ = trained(prepared, path, run="direct")
    with pytest.raises(OptionError, match="horizon is 9, but the model makes 3 steps"):
        predicted(run, horizon=9)


def test_an_interval_is_one_of_those_that_were_learned(wave_table, prepared):
    path = wave_table()
    model = {"quantiles": ("0.05,0.25,0.5", "0.75,0.95")}
    run, results = trained(prepared, path, model=model)
    wide, half = predicted(run), predicted(run, interval=0.5)
    assert all(w["low"] < h["low"] < h["high"] < w["high"] for w, h in zip(wide, half, strict=True))
    assert results.metrics["interval"] == "from 0.05 to 0.95: coverage should be 0.9"
    with pytest.raises(
        OptionError, match=r"interval 0\.8 has ends at 0\.1 and 0\.9, but the model"
    ):
        predicted(run, interval=0.8)
    run, _ = trained(prepared, path, run="one", model={"loss": "mae"})
    with pytest.raises(OptionError, match="interval is for models with intervals"):
        predicted(run, interval=0.8)


def test_what_is_typed_is_forecast_as_if_it_were_the_end_of_the_table(wave_table, prepared):
    path = wave_table()
    run, _ = trained(prepared, path, lookback=10)
    rows = path.read_text().splitlines()[-10:]
    line = ",".join(row.split(",")[1] for row in rows)
    (typed,) = run.task.predict(run.model, Source.text(line), PredictOptions())
    told = predicted(run)
    assert typed["times"] == [row["time"] for row in told]
    assert typed["forecast"]["y"] == pytest.approx([row["forecast"] for row in told])
    assert run.task.to_text(typed).splitlines() == [run.task.to_text(row) for row in told]
    assert run.task.heading(PredictOptions()) == "time\ttarget\tforecast\tlow\thigh"
    for text, expected in (
        ("1,2", "line 1: 2 steps, but a forecast looks at 10"),
        ("1,x", "line 1: a value of 'y' is not a finite number"),
        ("1:2", "line 1: 2 targets, expected 1"),
    ):
        with pytest.raises(DataError, match=expected):
            list(run.task.predict(run.model, Source.text(text), PredictOptions()))


def test_what_is_known_in_advance_must_reach_to_the_horizon(write_table, prepared):
    rows = [f"{n},{n % 4},{n % 2}" for n in range(50)]
    path = write_table("t,y,k", *rows, "50,,1", "51,,0")
    run, _ = trained(prepared, path, time="t", known=("k",), lookback=4, horizon=3)
    expected = "table.csv, line 53: 'k' ends before the horizon: it is not known for 52"
    with pytest.raises(DataError, match=expected):
        predicted(run)
    assert [row["time"] for row in predicted(run, horizon=2)] == ["50", "51"]


def test_another_table_with_a_new_series_is_forecast_and_measured(write_table, prepared):
    rows = [f"{s},{n},{n % 4 + 10 * s}" for s in (1, 2) for n in range(40)]
    run, _ = trained(prepared, write_table("s,t,y", *rows), time="t", id="s", lookback=4)
    rows = [f"3,{n},{n % 4 + 500}" for n in range(20)]
    path = write_table("s,t,y", *rows, name="new.csv")
    with pytest.warns(UserWarning, match="1 series is new, and scaled by all its steps"):
        told = predicted(run, path)
    assert [(row["id"], row["time"]) for row in told] == [("3", "20"), ("3", "21"), ("3", "22")]
    assert all(450 < row["forecast"] < 550 for row in told)
    examples, notes = run.task.read_examples(path)
    assert len(examples) == 14
    assert "1 series is new, and scaled by the steps before the first forecast" in notes
    assert run.task.evaluate(run.model, examples)["mae"] < 5


def test_on_a_random_walk_no_model_is_said_to_be_better_than_naive(write_table, prepared):
    for seed in range(3):
        chance, level, rows = random.Random(seed), 0.0, ["t,y"]
        for step in range(400):
            rows.append(f"{step},{level:.4f}")
            level += chance.gauss(0, 1)
        path = write_table(*rows, name=f"{seed}.csv")
        options = {"time": "t", "horizon": 2, "lookback": 10, "training": {"epochs": 5}}
        _, results = trained(prepared, path, run=f"r{seed}", **options)
        assert not results.metrics["verdict"].startswith("better")


def test_a_series_with_a_cycle_is_said_to_be_better_than_naive(write_table, prepared):
    chance = random.Random(0)
    rows = [f"{n},{(0, 3, 1, 7)[n % 4] + chance.gauss(0, 1):.3f}" for n in range(400)]
    path = write_table("t,y", *rows)
    _, results = trained(prepared, path, time="t", lookback=8, season=4, training={"epochs": 10})
    assert results.metrics["verdict"] == "better than the seasonal naive forecast, beyond chance"
    assert results.metrics["mase"] < results.baselines["seasonal naive"]["mase"]


def test_a_constant_series_is_said_and_ranked_by_another_metric(write_table, prepared):
    rows = [f"{n},5" for n in range(50)]
    run, results = trained(prepared, write_table("t,y", *rows), time="t", lookback=4)
    assert run.task.metrics[0].name == "smape"
    assert results.metrics["mae"] == pytest.approx(0, abs=1e-3)
    config = json.loads((run.run.path / "config.json").read_text())
    assert config["training"]["select"] in ("smape", "last")


def test_the_report_shows_forecasts_beside_the_truth(wave_table, prepared, tmp_path):
    from unrolled.inspection.report import Facts, report

    run, _ = trained(prepared, wave_table(), lookback=10)
    examples = [*run.read().held_out, *run.read().test]
    subject = run.task.subject(run.model)
    written = report(subject, lambda subject: subject.passages(examples), Facts("waves"))
    page = written.page.markup()
    assert "What does it forecast?" in page
    assert "Forecasts of y beside the truth." in page
    typed = next(iter(subject.read(Source.text(subject.example()))))
    assert len(typed) == 10


@pytest.mark.parametrize("method", ["direct", "segment", "encoder-decoder"])
@pytest.mark.parametrize("independent", [True, False])
def test_a_new_network_adds_nothing_to_the_linear_forecast(
    wave_table, prepared, method, independent
):
    """Its columns that are known in advance, here the calendar, neither."""
    run = prepared(
        wave_table(), model={"method": method, "independent": independent, "loss": "mae"}
    )
    model = run.trainer.model.eval()
    inputs = run.task.inputs(run.splits.test)
    frame = model.frame(inputs.past)
    expected = model.linear_part(inputs.past, frame) * frame.width + frame.offset
    torch.testing.assert_close(model(inputs)[..., 0], expected)


def test_series_that_are_too_short_are_left_out_of_a_prediction_with_a_warning(
    write_table, prepared
):
    rows = [f"A,{n},{n % 4}" for n in range(50)]
    path = write_table("id,t,y", *rows, "B,1,5", *(f"C,{n},{n % 3}" for n in range(50)))
    run, _ = trained(prepared, path, time="t", id="id")
    with pytest.warns(
        UserWarning, match="1 series is left out; the first: .* 1 step of series 'B'"
    ):
        told = predicted(run, path)
    assert [row["id"] for row in told] == ["A"] * 3 + ["C"] * 3


def test_numbers_of_any_size_are_scaled(write_table, prepared):
    scales = []
    for size in (1.0, 1e-200, 1e30):
        rows = [f"{n},{size * (n % 4)!r}" for n in range(50)]
        path = write_table("t,y", *rows, name=f"{size}.csv")
        scale = prepared(path, run=f"{size}", time="t").task.scale_of("")
        scales.append(float(scale.width / size))
    assert scales == pytest.approx([scales[0]] * 3)


@pytest.mark.parametrize(
    "model", [{}, {"loss": "normal"}, {"loss": "student-t", "transform": "log"}]
)
def test_intervals_hold_their_share_of_held_out_values(write_table, prepared, model):
    """A model that is far too sure: its training has no noise, what is held out has."""
    chance = random.Random(0)
    rows = [f"{n},{20 + n % 4 + (chance.gauss(0, 1) if n >= 200 else 0):.4f}" for n in range(400)]
    model = dict(model)
    transform = model.pop("transform", "none")
    options = {"time": "t", "lookback": 8, "split": "200,100,100", "transform": transform}
    run = prepared(write_table("t,y", *rows), model=model, **options)
    run.trainer.fit()
    results = run.finish()
    held_out = run.task.evaluate(run.trainer.model, run.splits.held_out)
    spread = run.trainer.model.spread.clone()
    run.trainer.model.spread.fill_(1.0)
    sure = run.task.evaluate(run.trainer.model, run.splits.held_out)
    assert sure["coverage"] < 0.5
    assert 0.79 <= held_out["coverage"] <= 0.86
    assert 0.7 < results.metrics["coverage"] < 0.95
    assert held_out["mae"] == pytest.approx(sure["mae"])
    loaded = load(run.trainer.run.path)
    assert loaded.task.evaluate(loaded.model, run.splits.held_out) == held_out
    run.finish()
    assert torch.equal(run.trainer.model.spread, spread)


def test_paths_hold_their_share_of_held_out_values_too(write_table, prepared):
    chance = random.Random(0)
    rows = [f"{n},{chance.gauss(0, 1):.4f}" for n in range(200)]
    model = {"method": "recursive", "loss": "normal"}
    run = prepared(write_table("t,y", *rows), model=model, time="t", lookback=8, calendar=False)
    run.trainer.fit()
    with torch.no_grad():
        run.trainer.model.answer.bias[1] -= 3
    assert run.task.evaluate(run.trainer.model.eval(), run.splits.held_out)["coverage"] < 0.4
    said = run.task.calibrate(run.trainer.model, run.splits.held_out)
    assert said.startswith(f"intervals are {run.trainer.model.spread.item():.3g} times as wide")
    coverage = run.task.evaluate(run.trainer.model, run.splits.held_out)["coverage"]
    assert 0.8 <= coverage <= 0.9


def test_numbers_and_counts_have_no_interval_to_set(write_table, prepared):
    path = write_table("t,y", *(f"{n},{n % 4}" for n in range(60)))
    for loss in ("mae", "negative-binomial"):
        run = prepared(path, run=loss, time="t", model={"loss": loss})
        assert not run.task.calibrate(run.trainer.model.eval(), run.splits.held_out)
        assert run.trainer.model.spread.tolist() == [1]


def test_the_report_speaks_the_language_that_is_asked_for(wave_table, prepared):
    from unrolled.inspection.report import Facts, report

    run = prepared(wave_table(), lookback=10)
    subject = run.task.subject(run.trainer.model.eval())
    examples = [*run.splits.held_out, *run.splits.test]
    facts = Facts("waves")
    written = report(subject, lambda each: each.passages(examples), facts, language="pt-BR")
    page = written.page.markup()
    for words in ("O que ele prevê?", "Previsões de y ao lado", '"previsão"', '"intervalo"'):
        assert words in page
    assert "What does it forecast?" not in page


def test_numbers_that_are_no_counts_are_refused_in_every_table(write_table, prepared):
    counts = [f"{n},{n * n % 7}" for n in range(60)]
    run = prepared(
        write_table("t,y", *counts),
        time="t",
        lookback=6,
        model={"loss": "negative-binomial"},
    )
    model = run.trainer.model.eval()
    for value in ("-2", "2.5"):
        rows = [*counts[:55], f"55,{value}", *counts[56:]]
        other = write_table("t,y", *rows, name="other.csv")
        expected = f"line 2: step 56 has {value}, which is no count"
        for asked in (PredictOptions(), PredictOptions(scores=True)):
            with pytest.raises(DataError, match=expected):
                [*run.task.predict(model, Source.file(other), asked)]
        with pytest.raises(DataError, match=expected):
            run.task.evaluate(model, run.task.read_examples(other)[0])
    with pytest.raises(DataError, match="step 2 has -1, which is no count"):
        [*run.task.predict(model, Source.text("1,-1,2,3,4,5"), PredictOptions())]


def test_a_new_series_is_scaled_by_what_its_first_forecast_sees(write_table, prepared):
    """However late its first value comes; by all of it where its end is forecast."""
    rows = [f"A,{n},{n % 5}" for n in range(60)]
    run = prepared(write_table("s,t,y", *rows), time="t", id="s", lookback=6)
    late = [f"B,{n},{'' if n < 8 else 1000 + n}" for n in range(40)]
    early = [f"C,{n},{1000 + n}" for n in range(40)]
    path = write_table("s,t,y", *late, *early, name="other.csv")
    windows, notes = run.task.read_examples(path)
    assert "2 series are new, and scaled by the steps before the first forecast" in notes
    first = {w.series.id: run.task.scaling.scale(w.series) for w in reversed(windows)}
    assert (float(first["B"].center), float(first["C"].center)) == (1008.0, 1002.5)
    assert next(w.origin for w in windows) == 9
    missing = pytest.warns(UserWarning, match="8 target values are missing")
    new = pytest.warns(UserWarning, match="2 series are new, and scaled by all their steps")
    with missing, new:
        ends = [*run.task.ends(Source.file(path))]
    scales = [run.task.scaling.scale(window.series) for window in ends]
    assert [float(scale.center) for scale in scales] == [1023.5, 1019.5]


def test_series_that_are_too_short_are_counted_wherever_a_table_is_read(write_table, prepared):
    rows = [f"A,{n},{n % 5}" for n in range(60)]
    run = prepared(write_table("s,t,y", *rows), time="t", id="s", lookback=6)
    path = write_table("s,t,y", *rows, *(f"B,{n},1" for n in range(6)), name="other.csv")
    expected = "1 series is left out; the first: .* line 62: 6 steps of series 'B', but a "
    notes = run.task.read_examples(path)[1]
    assert any(re.match(f"{expected}window has 9", note) for note in notes)
    assert not any("new" in note for note in notes)
    asked = PredictOptions(scores=True)
    with pytest.warns(UserWarning, match=f"{expected}score needs 7"):
        rows = [*run.task.predict(run.trainer.model.eval(), Source.file(path), asked)]
    assert {row["id"] for row in rows} == {"A"}


def test_a_run_from_another_keeps_the_scales_of_its_new_series(write_table, prepared):
    """So that it can go on, and its series be looked into."""
    first = [f"{s},{n},{n % 5},{s}x" for s in "AB" for n in range(60)]
    second = [f"C,{n},{100 + n % 5},new" for n in range(60)]
    options = {"time": "t", "id": "s", "static": ("k",), "lookback": 6}
    run = prepared(write_table("s,t,y,k", *first), run="first", **options)
    run.trainer.fit()
    run.finish()
    path = write_table("s,t,y,k", *first, *second, name="more.csv")
    training = {"start_from": str(run.trainer.run.path)}
    again = prepared(path, run="second", training=training, **options)
    assert "1 word is new, and read as missing; the first: 'new' in 'k'" in again.splits.notes
    again.trainer.fit()
    again.finish()
    resumed = resume(again.trainer.run.path, length=LengthOptions(epochs=3.0))
    assert resumed.task.scale_of("C").center.tolist() == pytest.approx([102.0], abs=0.1)
    resumed.trainer.fit()
    loaded = load(again.trainer.run.path)
    with pytest.warns(UserWarning, match="1 word is new"):
        told = predicted(loaded)
    assert [row["forecast"] > 50 for row in told if row["id"] == "C"] == [True] * 3
