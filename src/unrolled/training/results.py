"""What came out of a run: results.json, written when a training has ended.

Not here: the measurements themselves, which are each task's own.
"""

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from unrolled.data.files import write_atomically
from unrolled.training.run import Run, writing
from unrolled.training.trainer import Trainer

if sys.platform != "win32":
    import resource

__all__ = ["Results", "results_of"]


@dataclass(frozen=True)
class Results:
    """The measurements of a trained model, and what it took.

    Args:
        task: The name of the task.
        unit: Of metrics["loss"], such as "nats/token".
        cell: The name of the layer.
        hidden_size: H, units of every layer.
        parameters: How many numbers were learned.
        seed: Of the run.
        updates: That were made.
        elapsed_seconds: Of training and evaluation.
        peak_memory_bytes: The most that this process has had, training included; None where the
            system does not tell.
        part: What was measured on: "test", or "held_out" where there is no test part.
        metrics: Of the weights that were kept.
        baselines: The same metrics of predictors that learned next to nothing, by their names.
    """

    task: str
    unit: str
    cell: str
    hidden_size: int
    parameters: int
    seed: int
    updates: int
    elapsed_seconds: float
    peak_memory_bytes: int | None
    part: str
    metrics: dict[str, Any]
    baselines: dict[str, dict[str, Any]]

    def save(self, run: Run) -> None:
        """Write the run's results.json."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        with writing(run.results_path), write_atomically(run.results_path) as file:
            file.write(text.encode("utf-8"))


def results_of(
    trainer: Trainer,
    unit: str,
    part: str,
    metrics: dict[str, Any],
    baselines: dict[str, dict[str, Any]] | None = None,
) -> Results:
    """Return the results of a training that has ended; `trainer.run` says what it was."""
    config = trainer.run.config
    return Results(
        task=config["task"],
        unit=unit,
        cell=config["model"]["cell"],
        hidden_size=config["model"]["hidden_size"],
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        seed=trainer.options.seed,
        updates=trainer.progress.update,
        elapsed_seconds=trainer.progress.elapsed_seconds,
        peak_memory_bytes=_peak_memory_bytes(),
        part=part,
        metrics=metrics,
        baselines=baselines or {},
    )


def _peak_memory_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # there in bytes, elsewhere in KiB
