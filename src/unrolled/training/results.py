"""What came out of a run: results.json, written when a training has ended.

Not here: the measurements themselves, which are each task's own.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unrolled.data.files import write_atomically
from unrolled.metrics import Metric
from unrolled.training.run import Run, writing

__all__ = ["Results", "peak_memory_bytes"]

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
        part: What was measured on: "test", or "held_out" where there is no test part.
        meanings: What each figure is, the one that models are ranked by first.
        metrics: The figures of the weights that were kept, and what else was measured.
        baselines: The same figures of predictors that learned next to nothing, by their names.
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

    def save(self, run: Run) -> None:
        """Write the run's results.json."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        with writing(run.results_path), write_atomically(run.results_path) as file:
            file.write(text.encode("utf-8"))


def peak_memory_bytes() -> int | None:
    """Return the most memory that this process has had; None where the system does not tell."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    except (OSError, ValueError):
        return None
    return 1024 * int(kilobytes)
