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
FIRST, STEP = (1, 1) if ALL else (7, 43)
TIMES = {"elapsed_seconds", "tokens_per_second", "peak_memory_bytes", "sha256"}


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
def tried(tmp_path_factory):
    """The folder of the runs, and the exit codes of the two processes of each, by its name."""
    folder = tmp_path_factory.mktemp("runs")
    text = folder / "text.txt"
    text.write_text("".join(f"{n} times {n} is {n * n}; " for n in range(12)))
    command = [sys.executable, str(WORKER), str(text), str(folder), str(FIRST), str(STEP)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    return folder, {name: [*map(int, codes)] for name, *codes in rows}


@pytest.mark.parametrize(("how", "code"), [("kill", 9), ("fail", 1)])
def test_a_fault_at_any_file_operation_changes_nothing(tried, how, code):
    folder, codes = tried
    assert codes["unharmed"] == [0]
    expected = outcome(folder / "unharmed")
    count = int((folder / "count").read_text())
    assert count > 80
    for number in range(FIRST, count + 1, STEP):
        name = f"{how}-{number}"
        assert codes[name] in ([code, 0], [0, 0] if how == "fail" else None), number
        assert outcome(folder / name) == expected, number
