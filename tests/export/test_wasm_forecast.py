"""A module forecasts what the model does: each way, head, scale and frame."""

import json
import shutil

import pytest
import torch

from support.node import run_node
from unrolled.errors import OptionError
from unrolled.export.c.program import program_of
from unrolled.export.wasm import files
from unrolled.export.wasm.page import web_file
from unrolled.tasks.forecast import ModelOptions
from unrolled.tasks.forecast.methods import make_forecaster
from unrolled.tasks.forecast.model import Inputs
from unrolled.tasks.forecast.transforms import curve_of
from unrolled.tasks.graphs import Windows

LOOKBACK, HORIZON, TARGETS = 9, 5, 2
CASES = {
    "quantiles of both": ({"cell": "gru"}, {"num_past": 1, "num_known": 2}, "none"),
    "each by itself": ({"independent": True, "loss": "normal"}, {"marks_missing": True}, "log"),
    "mean and deviation": (
        {"method": "segment", "segment": 2, "cell": "rnn", "normalize": "instance"},
        {"num_known": 1, "marks_missing": True},
        "log1p",
    ),
    "segments of a TCN": ({"method": "segment", "cell": "tcn", "loss": "mae"}, {}, "none"),
    "decoder": (
        {"method": "encoder-decoder", "num_layers": 2, "loss": "student-t"},
        {"num_known": 1},
        "none",
    ),
    "decoder of a TCN": ({"method": "encoder-decoder", "cell": "tcn"}, {}, "none"),
    "differences": (
        {"method": "recursive", "loss": "mse", "cell": "janet"},
        {"num_known": 1, "lag": 1, "marks_missing": True},
        "log-diff",
    ),
    "counts": ({"method": "recursive", "loss": "negative-binomial"}, {}, "none"),
}
RUN = """
import { readFileSync } from "node:fs";
const { Model } = await import(process.argv[1]);
const results = [];
for (const { model, x } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const one = await Model.load(model), again = await Model.load({ ...model, module: btoa("none") });
  const read = x.map((each) => each ?? NaN);
  const other = read.map((each) => 1.5 * each); // another window before it
  results.push({ said: [...one.run([...other, ...read])], slow: [...again.run(read)] });
  try {
    one.draw();
  } catch (error) {
    results.at(-1).drawn = error.message;
  }
}
process.stdout.write(JSON.stringify(results));
"""


def windows_of(name: str) -> tuple[Windows, Inputs, dict[str, torch.Tensor]]:
    """A forecaster with random weights, what it reads, and the same in numbers of the data."""
    options, sizes, transform = CASES[name]
    sizes = {"num_past": 0, "num_known": 0, "marks_missing": False} | sizes
    torch.manual_seed(0)
    options = ModelOptions(**{"cell": "lstm", "hidden_size": 7, "num_layers": 1} | options)
    model = make_forecaster(
        options, num_targets=TARGETS, lookback=LOOKBACK, horizon=HORIZON, **sizes
    ).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2).add_(0.1 * torch.randn_like(weight))
        model.spread.fill_(1.5)
    columns = torch.rand(2, sizes["num_past"] + sizes["num_known"], dtype=torch.float64) + 0.5
    is_number = options.learns not in ("normal", "student-t", "negative-binomial")
    nothing = torch.zeros(2, 0, dtype=torch.float64)
    windows = Windows(
        model, (columns[0], columns[1]), (nothing[0], nothing[1]), transform, is_number
    )
    given = {
        "past": torch.rand(LOOKBACK, TARGETS, dtype=torch.float64) * 5 + 0.1,
        "columns": torch.randn(LOOKBACK, columns.shape[1], dtype=torch.float64),
        "future": torch.randn(HORIZON, sizes["num_known"], dtype=torch.float64),
        "center": torch.tensor([1.0, -2.0], dtype=torch.float64),
        "width": torch.tensor([2.0, 0.5], dtype=torch.float64),
    }
    given["past"][2, 0] = given["past"][0, 1] = torch.nan
    past = (curve_of(transform).apply(given["past"]) - given["center"]) / given["width"]
    known = (given["columns"] - columns[0]) / columns[1]
    first = sizes["num_past"]
    future = (given["future"] - columns[0, first:]) / columns[1, first:]
    return windows, Inputs(*(each.float()[None] for each in (past, known, future))), given


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_a_module_forecasts_what_the_model_does_with_vectors_and_without(tmp_path):
    given, expected = [], {}
    for name in CASES:
        windows, inputs, data = windows_of(name)
        with torch.inference_mode():
            said = windows.model.head.moved(
                windows.model(inputs)[0].double(), data["center"], data["width"]
            )
        expected[name] = curve_of(windows.transform).undo(said) if windows.says_data else said
        description, _, is_prebuilt = files.described(program_of(windows, "model", "f32"))
        assert is_prebuilt
        x = [each for part in data.values() for each in part.flatten().tolist()]
        x = [None if each != each else each for each in x]
        given.append({"model": description, "x": x})
    (tmp_path / "given.json").write_text(json.dumps(given))
    (tmp_path / "unrolled.mjs").write_text(web_file("unrolled.js"))
    results = run_node(RUN, str(tmp_path / "unrolled.mjs"), str(tmp_path / "given.json"))
    for (name, wanted), result in zip(expected.items(), results, strict=True):
        got = torch.tensor(result["slow"], dtype=torch.float64).reshape(wanted.shape)
        torch.testing.assert_close(got, wanted, atol=2e-6, rtol=2e-6, msg=name)
        assert result["said"][len(result["slow"]) :] == result["slow"], name
        assert result["drawn"] == "no scores", name


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        ({"static": ("shop",)}, {}, "also reads what is known of a whole series: shop"),
        (
            {},
            {"method": "recursive", "loss": "normal"},
            "does not draw the paths of method recursi",
        ),
    ],
)
def test_what_a_page_cannot_be_given_is_named(data, model, message, write_series):
    graphs, _ = write_series(data, model)
    with pytest.raises(OptionError, match=message) as at:
        graphs.typed([])
    assert at.value.hint.startswith("export it with ")


def test_what_is_known_in_advance_is_a_number_where_the_data_have_none(write_series):
    graphs, windows = write_series({"known": ("price", "shop")}, {}, shop="")
    series = windows[-1].series
    series.given[38:, 0] = torch.nan
    series.given[:, 1] = torch.nan
    typed = graphs.typed(windows)
    assert [row[1:] for row in typed["ends"][""]] == [[36, None], [37, None], *[[None, None]] * 2]
    assert typed["ahead"] == {"": [[37, None]] * 2}
    assert typed["repeated"] == [""]
    json.dumps(typed, allow_nan=False)


@pytest.fixture
def write_series(tmp_path):
    """What makes a small forecaster that is not trained."""
    from unrolled.tasks import find_task, options_of, prepare

    def graphs(data, model, shop="a"):
        rows = "".join(f"{n % 7},{n},{shop or n % 3}\n" for n in range(40))
        (tmp_path / "rows.csv").write_text(f"y,price,shop\n{rows}")
        options = options_of("forecast")
        files = {"file": str(tmp_path / "rows.csv"), "target": ("y",), "horizon": 2, "lookback": 4}
        prepared = prepare(
            find_task("forecast"),
            options.DataOptions(**files, **data),
            tmp_path / "run",
            model=options.ModelOptions(hidden_size=4, num_layers=1, **model),
            training=options.TrainingOptions(epochs=1),
        )
        windows = [*prepared.splits.held_out, *prepared.splits.test]
        return prepared.task.graphs(prepared.trainer.model), windows

    return graphs
