"""The measurements of a run as files: metrics.jsonl, and TensorBoard's events if it is installed.

Not here: what is measured (`trainer.py`), and showing it to a person (`reporter.py`).
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from unrolled.data.files import open_plain, read_plain, write_atomically
from unrolled.errors import RunError
from unrolled.training.checkpoint import read_log_mark
from unrolled.training.events import Events
from unrolled.training.run import Run, changed, reading, writing

__all__ = ["MetricsLog", "loss_curves", "read_metrics"]

_OR_DELETE = "put back the file as the run left it, or delete it to go on without what it measured"


class MetricsLog:
    """The open log of a run that goes on from a checkpoint.

    Args:
        run: Where the files are.
        length: Bytes of metrics.jsonl at the checkpoint; the lines after it are of updates that
            will be made again, and are dropped.
        digest: SHA-256 of those bytes; None where the checkpoint does not say it.
        update: The checkpoint's update.
        say: Takes a sentence that the user should read.

    Attributes:
        path: Of metrics.jsonl.
        mended: Whether lines are missing that were there at the checkpoint. Then another one is due
            before the first line is written, as the old one is of a longer log.

    Raises:
        RunError: metrics.jsonl cannot be read or written, or is not what the run left.
    """

    def __init__(
        self, run: Run, length: int, digest: str | None, update: int, say: Callable[[str], None]
    ) -> None:
        self.path = run.metrics_path
        self._say = say
        beginning = _kept(self.path, length, digest)
        self.mended = len(beginning) < length
        if self.mended:
            lines = beginning.count(b"\n")
            say(
                f"{self.path} was cut since the last checkpoint: {lines:,} whole lines are kept, "
                "the others are lost; what is learned does not depend on them"
            )
        self._digest = sha256(beginning)
        with writing(self.path):
            self._lines = open_plain(self.path, os.O_WRONLY | os.O_APPEND)
        self._events: Events | None = None
        self._events = self._open_events(run, update)

    @property
    def digest(self) -> str:
        """The SHA-256 of all lines."""
        return self._digest.hexdigest()

    def write(self, kind: str, metrics: Mapping[str, float]) -> None:
        """Append one measurement, a JSON object with `kind` first. JSON has no infinity: null."""
        finite = {name: x if math.isfinite(x) else None for name, x in metrics.items()}
        line = json.dumps({"kind": kind, **finite}).encode() + b"\n"
        with writing(self.path):
            self._digest.update(line)
            self._lines.write(line)
            self._lines.flush()
        if self._events is not None:
            named = {f"{kind}/{name}": x for name, x in metrics.items() if name != "update"}
            try:
                self._events.add(int(metrics["update"]), named)
            except OSError as error:
                self._give_up_events(error)

    def sync(self) -> int:
        """Bring everything to the disk and return the length of metrics.jsonl in bytes."""
        with writing(self.path):
            os.fsync(self._lines.fileno())
        return os.fstat(self._lines.fileno()).st_size

    def close(self) -> None:
        """Close the files."""
        with writing(self.path):  # what a full disk refused is tried once more
            self._lines.close()
        if self._events is not None:
            self._events.close()

    def _open_events(self, run: Run, update: int) -> Events | None:
        """Return a writer of TensorBoard's events, which hides those after `update`; else None."""
        try:
            return Events(run.tensorboard_path, purge_step=update + 1)
        except ImportError:
            extra = 'pip install "unrolled[tensorboard]"'
            self._say(f"TensorBoard is not installed ({extra}); all metrics are in {self.path}")
        except OSError as error:
            self._give_up_events(error)
        return None

    def _give_up_events(self, error: OSError) -> None:
        """Go on without TensorBoard: all that it is told is in metrics.jsonl too."""
        if self._events is not None:
            self._events.close()
        self._events = None
        reason = error.strerror or error
        folder = self.path.with_name("tensorboard")
        self._say(f"{folder}: cannot be written: {reason}; all metrics are in {self.path}")


def _kept(path: Path, length: int, digest: str | None) -> bytes:
    """Return what of a log was there at the checkpoint, and leave nothing else in its file.

    The file is replaced and not cut, as what else is linked to it is not of this run.
    """
    try:
        with reading(path, _OR_DELETE):
            content = read_plain(path)
    except RunError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        content = None
    beginning = (content or b"")[:length]
    if len(beginning) < length:
        beginning = beginning[: beginning.rfind(b"\n") + 1]
        for number, line in enumerate(beginning.splitlines(), 1):
            _entry(path, number, line)
    elif digest is not None and sha256(beginning).hexdigest() != digest:
        raise RunError(changed(path).message, _OR_DELETE)
    if beginning != content or path.lstat().st_nlink > 1:
        with writing(path), write_atomically(path) as file:
            file.write(beginning)
    return beginning


def read_metrics(run: Run) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl, as far as the run has come.

    Those that were there at the last checkpoint are as they were written.

    Raises:
        RunError: The file is missing, cannot be read, or is not what the run left.
    """
    path = run.metrics_path
    mark = read_log_mark(run.checkpoint_path)  # first: the log is never behind its checkpoint
    hint = "put back the file as the run left it, or remove it"
    with reading(path, hint):
        content = read_plain(path)
    if mark is not None and sha256(content[: mark[0]]).hexdigest() != mark[1]:
        raise RunError(changed(path).message, hint)
    lines = content.splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]  # the last may be in the making
    return [_entry(path, number, line) for number, line in enumerate(whole, 1)]


def _entry(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        _ = entry["kind"], float(entry["update"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"{path}: line {number} is not what `unrolled` wrote"
        raise RunError(message, "restore the file, or remove it") from error
    return dict(entry)


def loss_curves(run: Run) -> dict[str, list[tuple[float, float]]]:
    """Return a run's losses as (update, loss), "training" and "held out", as far as it has come.

    Raises:
        RunError: metrics.jsonl is damaged.
    """
    names = {"train": "training", "held_out": "held out"}
    curves: dict[str, list[tuple[float, float]]] = {}
    if not os.path.lexists(run.metrics_path):
        return curves
    for entry in read_metrics(run):
        name = names.get(entry["kind"])
        if name is not None and isinstance(entry.get("loss"), int | float):
            curves.setdefault(name, []).append((entry["update"], entry["loss"]))
    return curves
