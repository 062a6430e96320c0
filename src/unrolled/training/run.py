"""A run: the folder that holds everything about one training, and nothing else does.

    config.json          what was trained on what, with which options: enough to build it again
    cell.py              the file of a cell of somebody's own, if it has one: code, run when trusted
    vocabulary.json      what was fitted to the data: symbols, classes, scales
    weights.safetensors  the best weights so far, by held-out loss
    last.ckpt            everything to go on exactly where the run was
    metrics.jsonl        one line a measurement
    results.json         what the weights that were kept are worth, at the end
    tensorboard/         the same measurements for TensorBoard
    report.html          what `unrolled inspect` found, unless it was told another place

Not here: what is inside the files (`checkpoint.py`, `metrics_log.py`, each task's own module).
"""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from unrolled.data.files import write_atomically
from unrolled.errors import PROGRAM, RunError, field

__all__ = ["FORMAT", "Run", "writing"]

FORMAT = 3  # goes up when a run's folder can no longer be read by older versions, or they by us

_LOCK = ".lock"
_CHOOSE = f"choose another {field('run_path')}"


class Run:
    """A run's folder. Made by `Run.create`, found again by `Run.open`.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.json"
        self.vocabulary_path = path / "vocabulary.json"
        self.weights_path = path / "weights.safetensors"
        self.checkpoint_path = path / "last.ckpt"
        self.metrics_path = path / "metrics.jsonl"
        self.results_path = path / "results.json"
        self.tensorboard_path = path / "tensorboard"
        self.cell_path = path / "cell.py"

    @staticmethod
    def check_vacant(path: Path) -> None:
        """Raise `RunError` if there is something at `path` that a new run would overwrite."""
        with writing(path):
            if not path.exists():
                return
            if not path.is_dir():
                raise RunError(f"{path}: is a file, not a folder", _CHOOSE)
            if (path / "config.json").exists():
                hint = f"go on with `{PROGRAM} resume {shlex.quote(str(path))}`, or {_CHOOSE}"
                raise RunError(f"{path}: there is a run already", hint)
            if any(file.name != _LOCK for file in path.iterdir()):
                raise RunError(f"{path}: the folder is not empty", _CHOOSE)

    @classmethod
    def create(cls, path: Path) -> "Run":
        """Make the folder. It is a run as soon as `save_config` has been called.

        Raises:
            RunError: There is something in the way, or the folder cannot be made.
        """
        cls.check_vacant(path)
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Return the run at `path`.

        Raises:
            RunError: There is none, or a version of `unrolled` made it that is not this one's kin.
        """
        run = cls(path)
        hint = f"name the folder that `{PROGRAM} train` made"
        try:
            if not path.exists():
                raise RunError(f"{path}: no such folder", hint)
            if not run.config_path.is_file():
                raise RunError(f"{path}: not a run, it has no config.json", hint)
        except OSError as error:  # no permission to look, a name that is too long
            raise RunError(f"{path}: cannot be read: {error.strerror}", hint) from error
        if run.config.get("format") != FORMAT:
            made_by = f"unrolled {run.config.get('unrolled')}"
            message = f"{path}: run of format {run.config.get('format')}, expected {FORMAT}"
            raise RunError(message, f"use {made_by}, which made it, or train again")
        return run

    @cached_property
    def config(self) -> dict[str, Any]:
        """What config.json holds."""
        try:
            config = json.loads(self.config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.config_path}: cannot be read: {error}") from error
        if not isinstance(config, dict):
            raise RunError(f"{self.config_path}: expected a JSON object")
        return config

    @property
    def task(self) -> str:
        """The name of what was learned.

        Raises:
            RunError: config.json does not say it.
        """
        task = self.config.get("task")
        if not isinstance(task, str):
            raise RunError(f"{self.config_path}: names no task", "train again")
        return task

    def save_config(self, config: dict[str, Any]) -> None:
        """Write config.json: the format, this package's version, and `config`."""
        config = {"format": FORMAT, "unrolled": version("unrolled"), **config}
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        with writing(self.config_path), write_atomically(self.config_path) as file:
            file.write(text.encode("utf-8"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing to this run inside the `with` block.

        The lock goes with the process that holds it, however that ends.

        Raises:
            RunError: Another process holds it.
        """
        lock = FileLock(self.path / _LOCK, blocking=False)
        with writing(self.path):
            try:
                lock.acquire()
            except Timeout:  # an OSError too
                message = f"{self.path}: another process is training it"
                raise RunError(message, "wait for its end, or stop it") from None
            except NotImplementedError:  # some network's file system, which has no locks
                pass
        try:
            yield
        finally:
            lock.release()

    def remove_leftovers(self) -> None:
        """Remove the unfinished files of a process that was killed while it wrote them."""
        for path in (self.weights_path, self.checkpoint_path):
            for unfinished in self.path.glob(f".{path.name}.*"):
                unfinished.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write `path` into a `RunError`."""
    try:
        yield
    except OSError as error:
        hint = f"check the permissions and the space on the disk, or {_CHOOSE}"
        raise RunError(f"{path}: cannot be written: {error.strerror}", hint) from error
