"""Forecasters within a report: what the file computes by itself is what Python says."""

import math
import shutil

import pytest

from support.living import asked, bare_file, content_of, loaded_run, same
from support.runs import run_of
from unrolled.data import Source
from unrolled.serving.gradient import look_back
from unrolled.serving.predictions import predict_text
from unrolled.serving.reading import read, unit_view
from unrolled.serving.runs import ServedRun

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")

UNIT, STEPS = 2, 90
DATA = {"time": "day", "horizon": 5, "lookback": 14}
TWO = {"target": ("a", "b")}
KINDS = {
    "direct": ({**TWO, "calendar": True}, {"num_layers": 2}),
    "normal": ({"target": ("a",), "transform": "log-diff"}, {"loss": "normal", "cell": "gru"}),
    "counts": ({"target": ("n",)}, {"loss": "negative-binomial", "cell": "janet"}),
    "segment": ({**TWO, "calendar": True}, {"method": "segment", "normalize": "instance"}),
    "decoder": (
        {**TWO, "transform": "log1p", "calendar": True},
        {"method": "encoder-decoder", "loss": "student-t", "num_layers": 2},
    ),
    "seasonal": (
        {"target": ("a",), "transform": "season-diff", "season": 7},
        {"independent": True, "loss": "huber"},
    ),
    "recursive": (
        {**TWO, "transform": "diff", "calendar": True},
        {"method": "recursive", "loss": "mse"},
    ),
    "cycles": (
        {"target": ("a",), "transform": "season-diff", "season": 3},
        {"method": "recursive", "loss": "mae"},
    ),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Return a table of days with two series, the second with gaps, and counts."""
    path = tmp_path_factory.mktemp("forecast") / "days.csv"
    lines = ["day,a,b,n,known"]
    for t in range(STEPS):
        a, b = 20 + 5 * math.sin(t / 2) + 0.1 * t, 4 + 3 * math.cos(t / 3)
        gap = "" if t % 11 == 4 else f"{b:.3f}"
        lines.append(f"2024-{1 + t // 28:02}-{1 + t % 28:02},{a:.3f},{gap},{t * t % 7},{t % 2}")
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.fixture(scope="module")
def forecaster(table, tmp_path_factory):
    """What makes a run of a kind."""
    folder = tmp_path_factory.mktemp("runs")

    def make(name, data, **model):
        data = {"file": str(table), **DATA, **data}
        return loaded_run(run_of("forecast", data, folder / name, **{"hidden_size": 5} | model))

    return make


def typed(targets, gaps=True):
    """Return a line for so many targets, with more steps than are looked at and values missing."""
    rows = [[21 + 3 * math.sin(t / 2 + c) for t in range(17)] for c in range(targets)]
    words = [[f"{value:.4g}" for value in row] for row in rows]
    if gaps:
        words[0][9], words[-1][3] = "?", "NaN"
    return " : ".join(", ".join(row) for row in words)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_typed_is_read_and_forecast_as_in_python(forecaster, name):
    data, model = KINDS[name]
    loaded = forecaster(name, data, **model)
    run, position = ServedRun("run", 0, loaded.task, loaded.model), 1
    text = typed(len(data["target"])) if name != "counts" else "0,1,2,?,3,1,0,0,4,6,1,2,5,3,1"
    page = bare_file(loaded)
    questions = [
        ("read", {"text": text, "position": position}),
        ("predict", {"text": text}),
        ("gradient", {"text": text, "position": position}),
        *(("unit", {"text": text, "part": part, "unit": UNIT}) for part in range(len(run.parts))),
    ]
    answered, predicted, gradient, *units = asked(page, *questions)
    reading = read(run.subject, Source.text(text))
    assert answered["pieces"] == [*reading.pieces]
    expected = predict_text(run, text, loaded.task.option_classes.predict())
    if name == "counts":  # whose interval is that of draws
        expected.pop("low"), expected.pop("high")
    same(predicted["prediction"], expected, share=2e-6)
    reach = look_back(run, reading, position)
    states = run.subject.recurrent.cell.states
    same(gradient["reach"], {state: reach.reach[state] for state in states}, 1e-7, share=1e-3)
    for part, unit in enumerate(units):
        view = unit_view(run.subject, reading, part, UNIT, run.step.graph)
        groups = {"x": view.terms.x, "u": view.terms.u, "values": view.values}
        groups |= {"before": view.before, "inner": view.inner}
        for group, values in groups.items():
            same(unit[group], {name: value.tolist() for name, value in values.items()})


WRONG = {
    "1,2,3": "forecast_targets",
    "1,2:1,2,3": "forecast_lengths",
    "1,2:1,2": "forecast_few",
    "1,2:x,2": "forecast_number",
    "1,2:1e39,2": "forecast_number",
    ":".join([",".join("?" * 14)] * 2): "forecast_gone",
    typed(2, gaps=False).replace("21,", "-1,"): "forecast_log",
}


def test_what_cannot_be_read_is_refused_with_what_is_wrong(forecaster):
    data, model = KINDS["decoder"]
    loaded = forecaster("wrong", data, **model)
    asked_of = [("read", {"text": text}) for text in WRONG]
    told = asked(bare_file(loaded), *asked_of, ("read", {"text": " "}))
    assert [each.get("failed") for each in told[:-1]] == [*WRONG.values()]
    assert told[-1]["pieces"] == []
    words = loaded.task.option_classes.predict()
    for text in WRONG:  # Python refuses the same
        with pytest.raises(Exception, match="line 1"):
            predict_text(ServedRun("run", 0, loaded.task, loaded.model), text, words)


def test_a_count_that_is_none_is_refused(forecaster):
    data, model = KINDS["counts"]
    loaded = forecaster("no counts", data, **model)
    told = asked(bare_file(loaded), *(("read", {"text": f"{x}{',1' * 14}"}) for x in ("1.5", "-1")))
    assert [each["failed"] for each in told] == ["forecast_count"] * 2


@pytest.mark.parametrize(
    ("name", "data", "model", "why"),
    [
        ("columns", {"target": ("a",), "known": ("known",)}, {}, "columns"),
        ("paths", {"target": ("a",)}, {"method": "recursive"}, "paths"),
        ("tcn", {"target": ("a",)}, {"cell": "tcn", "num_layers": 2}, "layer"),
    ],
)
def test_forecasters_that_no_file_computes_stand_alone_and_say_why(
    forecaster, name, data, model, why
):
    content = content_of(bare_file(forecaster(name, data, **model)))
    assert content["run"]["outside"]["why"] == why
    assert content["run"]["views"] == ["report"]
