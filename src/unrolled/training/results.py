"""What came out of a run: results.json, written when a training has ended.

Not here: the measurements themselves, which are each task's own.
"""

import json
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from unrolled.data.files import read_json, to_json, write_atomically
from unrolled.errors import PROGRAM, RunError
from unrolled.metrics import Metric
from unrolled.training.run import Run, changed, checksum, reading, writing

__all__ = ["Results", "peak_memory_bytes", "read_results"]

_STATUS = Path("/proc/self/status")  # of Linux


@dataclass(frozen=True)
class Results:
    """The measurements of a trained model, and what it took.

    Args:
        task: The name of the task.
        cell: The name of the layer.
        hidden_size: H, units of every layer.
        parameters: How many numbers were learned.
        seed: Of the run.
        updates: That were made.
        elapsed_seconds: Of training and evaluation.
        peak_memory_bytes: The most that this process has had, training included; None where the
            system does not tell.
        part: What was measured on: "test", or "held_out" where there is no test part; "none" where
            there is neither, and no figure.
        meanings: What each figure is, the one that models are ranked by first.
        metrics: The figures of the weights that were kept, and what else was measured.
        baselines: The same figures of predictors that learned next to nothing, by their names.
        selected_by: The metric that chose the weights that were kept on the held-out part; "last"
            where they are the last ones.
        kept_update: The update that they are of.
        num_held_out: How many examples, or tokens of a text, were held out.
        calibrated: What was set by them after the training, a sentence; None where nothing was.
    """

    task: str
    cell: str
    hidden_size: int
    parameters: int
    seed: int
    updates: int
    elapsed_seconds: float
    peak_memory_bytes: int | None
    part: str
    meanings: list[Metric]
    metrics: dict[str, Any]
    baselines: dict[str, dict[str, Any]]
    selected_by: str
    kept_update: int | None
    num_held_out: int
    calibrated: str | None = None

    def save(self, run: Run) -> None:
        """Write the run's results.json, with a checksum."""
        content = asdict(self)
        content = json.loads(json.dumps(content))  # as it is read: lists, and names that are text
        content["sha256"] = checksum(content)
        with writing(run.results_path), write_atomically(run.results_path) as file:
            file.write(to_json(content, indent=2))


def read_results(run: Run) -> dict[str, Any]:
    """Return what the run's results.json holds.

    Raises:
        RunError: There is none, or it is not as it was written.
    """
    path = run.results_path
    hint = f"remove it, and write it again by `{PROGRAM} resume {shlex.quote(str(run.path))}`"
    with reading(path, hint):
        content = read_json(path)
    known = {each.name for each in fields(Results)} | {"sha256"}
    if not isinstance(content, dict) or content.keys() - known:
        raise RunError(f"{path}: not what `unrolled` wrote", hint)
    if content.get("sha256", "") not in ("", checksum(content)):
        raise RunError(changed(path).message, hint)
    return content


def peak_memory_bytes() -> int | None:
    """Return the most memory that this process has had; None where the system does not tell."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    except (OSError, ValueError):
        return None
    return 1024 * int(kilobytes)
