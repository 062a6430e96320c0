"""The measurements of a run as files: metrics.jsonl, and TensorBoard's events if it is installed.

Not here: what is measured (`trainer.py`), and showing it to a person (`reporter.py`).
"""

import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from unrolled.errors import RunError
from unrolled.training.run import Run, writing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["MetricsLog", "loss_curves"]


class MetricsLog:
    """The open log of a run that goes on from a checkpoint.

    Args:
        run: Where the files are.
        length: Bytes of metrics.jsonl at the checkpoint; the lines after it are of updates that
            will be made again, and are dropped.
        update: The checkpoint's update.

    Attributes:
        path: Of metrics.jsonl.
        has_events: Whether TensorBoard is installed.
    """

    def __init__(self, run: Run, length: int, update: int) -> None:
        self.path = run.metrics_path
        with writing(self.path):
            self._lines = self.path.open("ab")
        if self._lines.tell() < length:
            self._lines.close()
            message = f"{self.path}: shorter than at the last checkpoint ({length} bytes)"
            raise RunError(message, "put the file back as the run left it")
        self._lines.truncate(length)
        self._events = _event_writer(run, update)
        self.has_events = self._events is not None

    def write(self, kind: str, metrics: Mapping[str, float]) -> None:
        """Append one measurement, a JSON object with `kind` first. JSON has no infinity: null."""
        finite = {name: x if math.isfinite(x) else None for name, x in metrics.items()}
        with writing(self.path):
            self._lines.write(json.dumps({"kind": kind, **finite}).encode() + b"\n")
            self._lines.flush()
            if self._events is not None:
                for name in metrics.keys() - {"update"}:
                    self._events.add_scalar(f"{kind}/{name}", metrics[name], int(metrics["update"]))

    def sync(self) -> int:
        """Bring everything to the disk and return the length of metrics.jsonl in bytes."""
        with writing(self.path):
            os.fsync(self._lines.fileno())
            if self._events is not None:
                self._events.flush()
        return os.fstat(self._lines.fileno()).st_size

    def close(self) -> None:
        """Close the files."""
        with writing(self.path):  # what a full disk refused is tried once more
            self._lines.close()
            if self._events is not None:
                self._events.close()


def _event_writer(run: Run, update: int) -> "SummaryWriter | None":
    """Return a writer of TensorBoard's events that hides those after `update`; None without it."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and an extra
    except ImportError:
        return None
    purge_step = update + 1 if run.tensorboard_path.exists() else None
    return SummaryWriter(str(run.tensorboard_path), purge_step=purge_step)


def loss_curves(run: Run) -> dict[str, list[tuple[float, float]]]:
    """Return a run's losses as (update, loss), "training" and "held out", as far as it has come.

    Raises:
        RunError: metrics.jsonl is damaged.
    """
    names = {"train": "training", "held_out": "held out"}
    curves: dict[str, list[tuple[float, float]]] = {}
    if not run.metrics_path.exists():
        return curves
    for number, line in enumerate(run.metrics_path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            name, point = names.get(entry["kind"]), (entry["update"], entry["loss"])
        except (ValueError, KeyError, TypeError) as error:
            message = f"{run.metrics_path}: line {number} is not what `unrolled` wrote"
            raise RunError(message, "restore the file, or remove it") from error
        if name is not None and point[1] is not None:
            curves.setdefault(name, []).append(point)
    return curves
