"""Forecasts of a run's data, as the page draws them: the library's own, and of nothing else."""

import pytest

from support.asking import ask
from unrolled.serving.runs import Runs
from unrolled.tasks import load


def test_forecasts_of_held_out_data_are_the_librarys(tasks_client, task_runs):
    loaded = load(task_runs["forecasts"])
    subject = loaded.task.subject(loaded.model)
    got = ask(tasks_client, "backtest", run="forecasts")
    (target,) = got["targets"]
    assert [target] == subject.backtest(loaded.held_out(1000))
    assert target["target"] == "y"
    first, second, *_ = target["forecasts"]
    assert second["start"] == first["start"] + 2
    for own in target["forecasts"]:
        assert own["times"] == target["times"][own["start"] : own["start"] + 2]
        assert len(own["forecast"]) == 2


def test_the_forecast_from_the_end_of_the_data_is_that_of_predict(tasks_client, task_runs):
    loaded = load(task_runs["forecasts"])
    options = loaded.task.option_classes.predict()
    rows = [*loaded.task.predict(loaded.model, loaded.task.own_source, options)]
    (target,) = ask(tasks_client, "backtest", run="forecasts")["ahead"]
    (own,) = target["forecasts"]
    assert own["times"] == [row["time"] for row in rows]
    assert own["forecast"] == pytest.approx([row["forecast"] for row in rows])
    assert own["start"] == len(target["truth"]) == len(target["times"])


def test_a_run_without_numbers_has_none(tasks_client):
    refused = ask(tasks_client, "backtest", 409, run="reviews")
    assert refused["error"]["code"] == "no_backtest"


def test_where_the_data_are_gone_nothing_is_drawn(make_run, serve, tmp_path):
    table = tmp_path / "days.csv"
    rows = [f"2024-01-{1 + n:02},{n % 4}" for n in range(28)]
    table.write_text("\n".join(["day,y", *rows, ""]))
    data = {"file": str(table), "time": "day", "target": ("y",), "horizon": 2, "lookback": 3}
    run = make_run("forecast", tmp_path / "run", data)
    table.unlink()
    client = serve(served=Runs([run]))
    answer = ask(client, "backtest", run="run")
    assert (answer["targets"], answer["ahead"]) == ([], [])
    (description,) = client.get("/api/runs").json()["runs"]
    assert description["made_up"]
    assert description["backtests"]


def test_the_input_to_begin_with_is_the_end_of_the_data(tasks_client, task_runs):
    runs = {run["name"]: run for run in tasks_client.get("/api/runs").json()["runs"]}
    forecasts = runs["forecasts"]
    assert not forecasts["made_up"]
    loaded = load(task_runs["forecasts"])
    series = loaded.held_out(1000)[0].series
    values = [float(value) for value in forecasts["example"].split(",")]
    assert values == pytest.approx(series.values[-len(values) :, 0].tolist())
    predicted = ask(tasks_client, "predict", run="forecasts", text=forecasts["example"])
    (target,) = ask(tasks_client, "backtest", run="forecasts")["ahead"]
    own = target["forecasts"][0]["forecast"]
    assert predicted["prediction"]["forecast"]["y"] == pytest.approx(own, rel=1e-5)
    assert predicted["prediction"]["times"] == target["forecasts"][0]["times"]
