import json
from pathlib import Path

import pytest

from unrolled.comparison import Contestant, Plan
from unrolled.metrics import Metric

METRICS = [
    Metric("accuracy", "higher").to_dict(),
    Metric("loss", "lower", "nats/example").to_dict(),
    Metric("num_examples", None).to_dict(),
]
VALUES = {"gru": (0.70, 0.72, 0.71), "lstm": (0.90, 0.93, 0.91), "rnn": (0.705, 0.71, 0.72)}


def write_run(path: Path, *, seed: int, accuracy: float, **changes: object) -> None:
    """Write what a training leaves."""
    path.mkdir(parents=True)
    config = {"format": 3, "data": {"files": [{"sha256": "0"}]}, "model": {"cell": "gru"}}
    (path / "config.json").write_text(json.dumps(config))
    results = {
        "cell": path.name.rpartition("-")[0],
        "hidden_size": 10,
        "parameters": 990,
        "seed": seed,
        "updates": 30,
        "elapsed_seconds": 12.5,
        "peak_memory_bytes": 3 * 10**8,
        "part": "test",
        "meanings": METRICS,
        "metrics": {"loss": 1 - accuracy, "accuracy": accuracy, "num_examples": 40},
        "baselines": {"most frequent class": {"loss": 0.69, "accuracy": 0.5}},
    }
    (path / "results.json").write_text(json.dumps(results | changes))
    lines = [
        {"kind": "held_out", "update": 10 * i, "elapsed_seconds": 4.0 * i, "loss": 1 - accuracy / i}
        for i in (1, 2, 3)
    ]
    lines.insert(1, {"kind": "train", "update": 10, "done": 0.3, "loss": 0.1})
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def plan() -> Plan:
    arguments = ("data/<reviews>.csv", "--epochs", "3")
    return Plan("classify", arguments, tuple(Contestant(name) for name in VALUES), 3, 1000)


@pytest.fixture
def folder(plan: Plan, tmp_path: Path) -> Path:
    """The folder of a comparison that is over."""
    for trial in plan.trials(tmp_path):
        accuracy = VALUES[trial.contestant.cell][trial.seed]
        write_run(trial.path, seed=trial.seed, accuracy=accuracy)
    return tmp_path
