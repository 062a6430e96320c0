"""Forecasters as files of ONNX: in the numbers of the data, missing ones too."""

import json
import math

import numpy as np
import onnxruntime
import pytest
import torch

from unrolled.errors import OptionError
from unrolled.export import to_onnx
from unrolled.export.c.program import program_of
from unrolled.tasks import load
from unrolled.tasks.forecast import ModelOptions
from unrolled.tasks.forecast.methods import make_forecaster


@pytest.fixture
def gaps(write_table):
    """Two targets, a column that is known and one of the past, each missing now and then."""
    generator, rows = np.random.default_rng(0), ["y,z,price,rain,region,size"]
    for step in range(120):
        wave = [1e3 + 5 * math.sin(step), 1 + generator.random(), 8.0, generator.random()]
        values = ["" if (step + k) % 11 == 0 else f"{value:.6f}" for k, value in enumerate(wave)]
        rows.append(",".join([*values, "north", "5"]))
    return write_table(*rows)


@pytest.mark.parametrize(
    ("data", "model"),
    [
        (
            {"known": ("price",), "past": ("rain",), "transform": "season-diff", "season": 4},
            {"cell": "gru"},
        ),
        (
            {"known": ("price",), "transform": "log-diff", "static": ("region", "size")},
            {"method": "encoder-decoder", "cell": "gru"},
        ),
        ({"transform": "log"}, {"method": "segment", "cell": "rnn", "normalize": "instance"}),
    ],
)
def test_a_file_says_what_the_model_says(data, model, gaps, prepared, tmp_path):
    trained = prepared(gaps, time=None, target=("y", "z"), lookback=9, model=model, **data)
    trained.trainer.fit()
    (file,) = to_onnx(tmp_path / "run", tmp_path / "f.onnx")
    assert 0 <= file.difference < 1e-6
    loaded = load(tmp_path / "run")
    windows = loaded.read().test[:3]
    said = loaded.task.forecast(loaded.model, windows, (0.1, 0.5, 0.9)).quantiles
    session = onnxruntime.InferenceSession(str(file.path), providers=["CPUExecutionProvider"])
    content = json.loads((tmp_path / "f.json").read_text())
    scale = content["vocabulary"]["series"][""]
    read = {
        "past": [w.series.values[w.origin - 9 : w.origin].numpy() for w in windows],
        "columns": [
            torch.cat([w.series.past, w.series.known[: len(w.series)]], 1)[
                w.origin - 9 : w.origin
            ].numpy()
            for w in windows
        ],
        "future": [w.series.known[w.origin : w.origin + 3].numpy() for w in windows],
        "numbers": [[5.0]] * 3,
        "words": [[1]] * 3,
        "center": [scale["center"]] * 3,
        "width": [scale["width"]] * 3,
    }
    names = [each.name for each in session.get_inputs()]
    assert names == [name for name in read if name in names]
    assert ("columns" in names) == ("known" in data)
    assert np.isnan(read["past"]).any()
    (scores,) = session.run(["scores"], {name: np.array(read[name]) for name in names})
    np.testing.assert_allclose(scores, said.movedim(0, -1).numpy(), rtol=1e-6)


def test_what_has_no_graph_is_said(gaps, prepared):
    trained = prepared(gaps, time=None, model={"method": "recursive"})
    with pytest.raises(OptionError, match="method recursive reads what it said itself"):
        trained.task.graphs(trained.trainer.model).whole()
    trained = prepared(gaps, time=None, run="direct")
    with pytest.raises(OptionError, match="stream: a forecast looks at a whole window"):
        trained.task.graphs(trained.trainer.model).steps()
    trained = prepared(gaps, time=None, run="season", season=4, transform="season-diff")
    with pytest.raises(OptionError, match="transform season-diff is not written in C"):
        program_of(trained.task.graphs(trained.trainer.model.eval()).parts(), "model", "f32")


@pytest.mark.parametrize("lookback", [1, 2, 7, 8])
def test_a_missing_value_is_read_as_the_one_before(lookback):
    sizes = {"num_targets": 2, "num_past": 0, "num_known": 0, "horizon": 1, "lookback": lookback}
    model = make_forecaster(ModelOptions(normalize="none"), **sizes, marks_missing=True)
    generator = torch.Generator().manual_seed(0)
    past = torch.randn(40, lookback, 2, generator=generator)
    past[torch.rand(past.shape, generator=generator) < 0.5] = torch.nan
    expected = past.clone()
    expected[:, 0] = expected[:, 0].nan_to_num(0.0)
    for step in range(1, lookback):
        before, here = expected[:, step - 1], expected[:, step]
        expected[:, step] = torch.where(here.isnan(), before, here)
    assert torch.equal(model.filled(past, model.frame(past)), expected)
