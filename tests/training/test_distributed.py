import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unrolled.errors import RunError
from unrolled.tasks import resume
from unrolled.training import ALONE, initialize_distributed

WORKER = Path(__file__).with_name("distributed_worker.py")
NOT_COMPARED = {"kind", "elapsed_seconds", "tokens_per_second"}


def metrics(run_path: Path) -> list[dict]:
    lines = (run_path / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in NOT_COMPARED} for line in lines]


def torchrun(*arguments: str | Path, cwd: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    finished = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=cwd)
    assert finished.returncode == 0, finished.stderr


@pytest.fixture(scope="module")
def by_two(tmp_path_factory) -> Path:
    """A folder with a text and the runs that two processes trained on it together."""
    folder = tmp_path_factory.mktemp("by_two")
    text = folder / "text.txt"
    text.write_text("".join(f"{n} times {n} is {n * n}; " for n in range(200)))
    torchrun(WORKER, text, folder, cwd=folder)
    return folder


@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_two_processes_train_as_one_with_twice_the_columns(by_two, double_precision):
    spec = importlib.util.spec_from_file_location("worker", WORKER)
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    worker.prepare(by_two / "text.txt", by_two / "alone", ALONE).fit()
    one, two = metrics(by_two / "alone"), metrics(by_two / "whole")
    assert [line["update"] for line in one] == [line["update"] for line in two]
    for line_of_one, line_of_two in zip(one, two, strict=True):
        assert line_of_two == pytest.approx(line_of_one, rel=1e-9)

    # stopped by the second process alone, and resumed
    stopped, whole = by_two / "stopped", by_two / "whole"
    assert metrics(stopped) == two
    weights = "weights.safetensors"
    assert (stopped / weights).read_bytes() == (whole / weights).read_bytes()

    with pytest.raises(RunError, match=r"trained by 2 process.*torchrun --nproc-per-node 2"):
        resume(stopped)


def test_a_process_that_dies_is_started_again_and_the_weights_are_the_same(by_two):
    """The other process sees another folder under the run's name: an empty one, all the time."""
    (by_two / "elsewhere").mkdir()
    kills = by_two / "elsewhere" / "kills.txt"
    kills.write_text("1 23")
    worker = WORKER.with_name("restart_worker.py")
    torchrun("--max-restarts=1", worker, by_two / "text.txt", "killed", kills, cwd=by_two)
    assert kills.read_text() == ""  # it was killed
    assert [path.name for path in (by_two / "elsewhere").iterdir()] == ["kills.txt"]
    weights = "weights.safetensors"
    assert (by_two / "killed" / weights).read_bytes() == (by_two / "whole" / weights).read_bytes()


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with initialize_distributed() as processes:
        assert processes == ALONE
        assert processes.sum(1.5, 2) == [1.5, 2]
        assert processes.gather("mine") == ["mine"]
        assert processes.from_first(lambda: 7) == 7
