"""What is learned instead of a target, and how it is undone."""

import math

import numpy as np
import pytest
import torch

from unrolled.data import Source
from unrolled.errors import DataError, OptionError
from unrolled.tasks import load
from unrolled.tasks.forecast import PredictOptions

METHODS = {
    "direct": {"loss": "quantile"},
    "segment": {"method": "segment", "segment": 5},
    "encoder-decoder": {"method": "encoder-decoder", "loss": "normal"},
    "recursive": {"method": "recursive"},
    "recursive-own": {"method": "recursive", "loss": "mae"},
    "recursive-truth": {"method": "recursive", "loss": "mse", "feedback": "truth"},
}
FAST = {"epochs": 15, "learning_rate": 0.1, "batch_size": 16}


def told(run, source=None):
    return [*run.task.predict(run.model, source or run.task.own_source, PredictOptions())]


@pytest.mark.parametrize(
    ("name", "transform"), [*((name, "diff") for name in METHODS), ("direct", "log-diff")]
)
def test_a_trend_goes_on_beyond_all_that_was_learned_from(name, transform, write_table, prepared):
    """By no linear forecast: what the network says of differences is put onto the last value."""
    values = [3.0 * n + 50 if transform == "diff" else 5 * 1.04**n for n in range(120)]
    path = write_table("t,y", *(f"{n},{y!r}" for n, y in enumerate(values[:100])))
    model = METHODS[name] | {"dropout": 0.0}
    model |= {} if "recursive" in name else {"linear": False}
    run = prepared(
        path, time="t", horizon=5, lookback=6, transform=transform, model=model, training=FAST
    )
    run.trainer.fit()
    run.finish()
    rows = told(load(run.trainer.run.path))
    naive = np.abs(np.array(values[100:105]) - values[99])
    errors = np.abs(np.array(values[100:105]) - [row["forecast"] for row in rows])
    assert (errors < 0.3 * naive).all()
    if "low" in rows[0]:
        assert all(row["low"] <= row["forecast"] <= row["high"] for row in rows)


@pytest.mark.parametrize("transform", ["diff", "log-diff"])
def test_the_layer_reads_differences_of_what_is_learned_from(transform, wave_table, prepared):
    path = wave_table()
    rows = path.read_text().splitlines()
    rows[31] = rows[31].split(",")[0] + ","  # step 30
    path.write_text("\n".join(rows) + "\n")
    run = prepared(path, lookback=10, calendar=False, transform=transform)
    window = next(w for w in run.splits.training if w.origin == 34)
    values = window.series.values[:, 0].numpy()
    learned = values if transform == "diff" else np.log(values)
    filled = learned.copy()
    filled[30] = filled[29]
    steps = np.diff(filled[: window.learned])
    width = math.sqrt((steps**2).mean())
    features = run.trainer.model.features(run.task.inputs([window]))[0]
    expected = np.concatenate([[0.0], np.diff(filled[24:34]) / width])
    np.testing.assert_allclose(features[:, 0].numpy(), expected, atol=2e-6)
    assert features[:, 1].tolist() == [float(step == 30) for step in range(24, 34)]


@pytest.mark.parametrize(
    ("transform", "value", "expected"),
    [
        ("log", "0", "line 3: 'y' is 0, which has no logarithm"),
        ("log-diff", "-2", "line 3: 'y' is -2, which has no logarithm"),
        ("log1p", "-1", "line 3: 'y' is -1, and 1 more than that has no logarithm"),
    ],
)
def test_a_value_without_a_logarithm_is_refused_wherever_it_is_read(
    transform, value, expected, write_table, prepared
):
    rows = [f"{n},{1 + n % 5}" for n in range(60)]
    run = prepared(write_table("t,y", *rows), time="t", lookback=4, transform=transform)
    path = write_table("t,y", rows[0], f"1,{value}", *rows[2:], name="wrong.csv")
    with pytest.raises(DataError, match=expected):
        prepared(path, run="other", time="t", transform=transform)
    with pytest.raises(DataError, match=expected):
        run.task.read_examples(path)
    model = run.trainer.model.eval()
    with pytest.raises(DataError, match=expected):
        [*run.task.predict(model, Source.file(path), PredictOptions())]
    with pytest.raises(DataError, match=r"line 1: a value of 'y' is .* has no logarithm"):
        [*run.task.predict(model, Source.text(f"1,2,{value},1"), PredictOptions())]


def test_counts_with_none_among_them_have_a_logarithm_of_one_more(write_table, prepared):
    path = write_table("t,y", *(f"{n},{n % 3}" for n in range(60)))
    run = prepared(path, time="t", lookback=6, transform="log1p")
    scale = run.task.scale_of("")
    learned = torch.tensor([math.log(1 + n % 3) for n in range(36)], dtype=torch.float64)
    torch.testing.assert_close(scale.center, learned.mean()[None])
    run.trainer.fit()
    results = run.finish()
    assert results.metrics["mae"] < results.baselines["naive"]["mae"]


def test_differences_are_said_from_the_last_value_on_alone(wave_table, prepared):
    with pytest.raises(OptionError, match="transform diff says steps from the last value on"):
        prepared(wave_table(), transform="diff", model={"normalize": "instance"})
    path = wave_table()
    with pytest.raises(OptionError, match="transform is not for loss negative-binomial"):
        prepared(path, transform="diff", model={"loss": "negative-binomial"})
