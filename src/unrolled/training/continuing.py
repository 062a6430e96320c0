"""What a checkpoint says of the run that goes on from it, those of older versions included.

How it is written and read is in `checkpoint.py`.
"""

from typing import Any

from unrolled.errors import RunError
from unrolled.metrics import Metric
from unrolled.training.checkpoint import of_another_run, require_finite
from unrolled.training.run import Run
from unrolled.training.schedule import Progress

__all__ = ["check_continues", "log_mark_in", "progress_in"]


def check_continues(run: Run, checkpoint: dict[str, Any], world_size: int) -> None:
    """Raise `RunError` unless so many processes can go on with a run from a checkpoint.

    It must be the run's own and of as many processes, and all of its weights finite.
    """
    if run.identity is not None and checkpoint.get("run") not in (None, run.identity):
        raise of_another_run(run.checkpoint_path)
    made_by = len(checkpoint["processes"])
    if made_by != world_size:
        message = f"{run.path}: trained by {made_by} process(es), resumed by {world_size}"
        hint = f"torchrun --nproc-per-node {made_by}" if made_by > 1 else "without torchrun"
        raise RunError(message, f"resume {hint}")
    replaced = checkpoint.get("replaced")
    for weights in (checkpoint["model"], checkpoint["average"], *(replaced or ())[:1]):
        hint = "training had diverged, or the file is damaged: train again"
        require_finite(run.checkpoint_path, weights, hint)


def progress_in(checkpoint: dict[str, Any], metric: Metric) -> Progress:
    """Return how far the run had come, its weights being ranked by `metric`."""
    progress = Progress(**checkpoint["progress"])
    if progress.best_update is not None and progress.kept_update is None:
        progress.kept_update = progress.best_update  # an older version's, which chose by loss
        progress.best_figure = progress.best_loss if metric.name == "loss" else None
        progress.top_figure = progress.best_figure
    return progress


def log_mark_in(checkpoint: dict[str, Any]) -> tuple[int, str | None]:
    """Return how long metrics.jsonl was, in bytes, and its SHA-256, which older versions lack."""
    length = checkpoint["log_length"]
    if not isinstance(length, int) or length < 0:
        raise ValueError(f"log_length {length!r}")
    return length, checkpoint.get("log_sha256")
