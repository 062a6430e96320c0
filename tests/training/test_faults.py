"""A run that fails or is killed at any file operation ends with the bits of one that was not.

Three operations of about 130 are tried in each way; UNROLLED_FAULTS=all tries every one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.training.checkpoint import load_checkpoint

WORKER = Path(__file__).with_name("fault_worker.py")
ALL = os.environ.get("UNROLLED_FAULTS") == "all"
STEP = 10 if ALL else 43
TIMES = {"elapsed_seconds", "tokens_per_second", "peak_memory_bytes", "sha256"}


def faults(text: Path, folder: Path, how: str, numbers) -> dict[int, list[int]]:
    """Return the exit codes of the two processes for each operation that failed."""
    command = [sys.executable, str(WORKER), str(text), str(folder), how, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    return {number: codes for number, *codes in lines}


def outcome(run: Path) -> dict:
    """Everything that does not measure time."""
    checkpoint = load_checkpoint(run / "last.ckpt")
    timeless = [
        {name: value for name, value in json.loads(line).items() if name not in TIMES}
        for line in [*(run / "metrics.jsonl").read_text().splitlines()]
    ]
    results = json.loads((run / "results.json").read_text())
    return {
        "files": sorted(path.name for path in run.iterdir()),
        "model": {name: tensor.tolist() for name, tensor in checkpoint["model"].items()},
        "optimizer": str(checkpoint["optimizer"]),
        "random": checkpoint["processes"][0]["random"]["torch"].tolist(),
        "metrics": timeless,
        "results": {name: value for name, value in results.items() if name not in TIMES},
        **{
            name: (run / name).read_bytes()
            for name in ("config.json", "vocabulary.json", "weights.safetensors")
        },
    }


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory):
    """The text, what comes of it, and how many operations it takes."""
    folder = tmp_path_factory.mktemp("unharmed")
    text = folder / "text.txt"
    text.write_text("".join(f"{n} times {n} is {n * n}; " for n in range(12)))
    assert faults(text, folder, "kill", [0]) == {0: [0]}
    count = int((folder / "count").read_text())
    assert count > 80
    return text, outcome(folder / "0"), count


@pytest.mark.parametrize(("how", "code"), [("kill", 9), ("fail", 1)])
@pytest.mark.parametrize("start", range(1, STEP + 1) if ALL else [7])
def test_a_fault_at_any_file_operation_changes_nothing(unharmed, tmp_path, how, code, start):
    text, expected, count = unharmed
    numbers = range(start, count + 1, STEP)
    codes = faults(text, tmp_path, how, numbers)
    for number in numbers:
        assert codes[number] in ([code, 0], [0, 0] if how == "fail" else None), number
        assert outcome(tmp_path / str(number)) == expected, number
