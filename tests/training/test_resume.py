"""A run killed at any moment and resumed ends with the bits of the uninterrupted one.

UNROLLED_KILLS says at how many random moments (2 by default, to be quick); `make explore` takes
others than those of the default run.
"""

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unrolled.training.checkpoint import load_checkpoint

KILLS = int(os.environ.get("UNROLLED_KILLS", "2"))
WORKER = Path(__file__).with_name("worker.py")


def trainer_of(text_path, run_path):
    spec = importlib.util.spec_from_file_location("worker", WORKER)
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    return worker.trainer_of(text_path, run_path)


def outcome(run_path: Path) -> dict:
    """Everything that does not measure time."""
    checkpoint = load_checkpoint(run_path / "last.ckpt")
    times = {"elapsed_seconds", "tokens_per_second"}
    metrics = (run_path / "metrics.jsonl").read_text().splitlines()
    return {
        "weights": (run_path / "weights.safetensors").read_bytes(),
        "model": {name: tensor.tolist() for name, tensor in checkpoint["model"].items()},
        "optimizer": str(checkpoint["optimizer"]),
        "random": checkpoint["processes"][0]["random"]["torch"].tolist(),
        "metrics": [
            {name: value for name, value in json.loads(line).items() if name not in times}
            for line in metrics
        ],
        "config": (run_path / "config.json").read_bytes(),
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The text, what comes of it, and how many seconds training takes."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    text_path = folder / "text.txt"
    text_path.write_text("".join(f"{n} times {n} is {n * n}; " for n in range(200)))
    result = trainer_of(text_path, folder / "run").fit()
    return text_path, outcome(folder / "run"), result.elapsed_seconds


@pytest.mark.parametrize("kill", range(KILLS))
def test_killed_and_resumed_ends_with_the_same_bits(uninterrupted, tmp_path, kill):
    text_path, expected, seconds = uninterrupted
    run_path = tmp_path / "run"
    command = [sys.executable, str(WORKER), str(text_path), str(run_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # "ready"
        time.sleep(random.uniform(0, seconds))
        process.kill()
    if not (run_path / "config.json").exists() and run_path.exists():
        shutil.rmtree(run_path)  # killed in the instant before it became a run
    trainer_of(text_path, run_path).fit()
    assert outcome(run_path) == expected
    assert [path.name for path in run_path.glob(".*")] == [".lock"]
