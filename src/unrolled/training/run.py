"""A run: the folder that holds everything about one training, and nothing else does.

    config.json          what was trained on what, with which options: enough to build it again
    cell.py              the file of a cell of somebody's own, if it has one: code, run when trusted
    vocabulary.json      what was fitted to the data: symbols, classes, scales
    weights.safetensors  the weights that are kept: the best so far, or the last
    last.ckpt            everything to go on exactly where the run was
    metrics.jsonl        one line a measurement
    results.json         what the weights that were kept are worth, at the end
    tensorboard/         the same measurements for TensorBoard
    report.html          what `unrolled inspect` found, unless it was told another place

A folder that `Loaded.save_pretrained` wrote is one too: its weights are called model.safetensors,
as others call them, and it has no checkpoint to go on from.

What is read is what was written: config.json has checksums of itself and of the files that are
written with it, the others have one inside. A folder may come from somebody else, so links in it
are not followed.

Not here: what is inside the files (`checkpoint.py`, `metrics_log.py`, each task's own module).
"""

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from unrolled.data.files import open_plain, read_json, read_plain, to_json, write_atomically
from unrolled.errors import PROGRAM, RunError, field

__all__ = ["FORMAT", "Run", "changed", "checksum", "reading", "writing"]

FORMAT = 3  # goes up when a run's folder can no longer be read by older versions, or they by us

_LOCK = ".lock"
_CHOOSE = f"choose another {field('run_path')}"
_FILES = {
    *("config.json", "cell.py", "vocabulary.json", "weights.safetensors", "last.ckpt"),
    *("metrics.jsonl", "results.json", "report.html"),
}
_SECTIONS = {"format", "unrolled", "task", "data", "model", "training", "sha256"}
_PUT_BACK = "put back the file as the run left it, or train again"
_TEMPORARY = re.compile(r"\.(.+)\.\d+")  # what `write_atomically` calls an unfinished file


class Run:
    """A run's folder. Made by `Run.create`, found again by `Run.open`.

    Args:
        path: The folder.

    Attributes:
        made_folder: Whether the folder was made for the run, so that it goes with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made_folder = False
        self.config_path = path / "config.json"
        self.vocabulary_path = path / "vocabulary.json"
        self.checkpoint_path = path / "last.ckpt"
        self.metrics_path = path / "metrics.jsonl"
        self.results_path = path / "results.json"
        self.tensorboard_path = path / "tensorboard"
        self.cell_path = path / "cell.py"
        self.published_weights_path = path / "model.safetensors"
        self.card_path = path / "README.md"

    @property
    def weights_path(self) -> Path:
        """The file of the weights, under the name that it has in this folder."""
        own, published = self.path / "weights.safetensors", self.published_weights_path
        return published if os.path.lexists(published) and not os.path.lexists(own) else own

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
            stillborn = Run(path)._stillborn()
            if any(file.name != _LOCK and file not in stillborn for file in path.iterdir()):
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
            RunError: There is none, it is damaged, or a version of `unrolled` made it that is not
                this one's kin.
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
        _ = run.config  # for its errors
        return run

    @cached_property
    def config(self) -> dict[str, Any]:
        """What config.json holds.

        Raises:
            RunError: It is damaged or of another format, or was changed without leave.
        """
        path = self.config_path
        with reading(path):
            config = read_json(path)
        if not isinstance(config, dict):
            raise RunError(f"{path}: expected a JSON object", _PUT_BACK)
        if config.get("format") != FORMAT:
            message = f"{self.path}: run of format {config.get('format')}, expected {FORMAT}"
            made_by = f"unrolled {config.get('unrolled')}"
            raise RunError(message, f"use {made_by}, which made it, or train again")
        checksums = config.get("sha256", {})
        names = {each.name for each in (path, self.vocabulary_path, self.cell_path)}
        if not isinstance(checksums, dict) or (config.keys() - _SECTIONS) | (
            checksums.keys() - names
        ):
            raise changed(path, self)
        if checksums.get(path.name, checksum(config)) != checksum(config):
            raise changed(path, self)
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

    @cached_property
    def identity(self) -> str | None:
        """A checksum of what cannot change while a run is trained: task, cell, data and seed.

        What a run's owner may change is not in it: how long and how fast, and where the data are.
        None before there is a config.json, or where it does not say it.
        """
        if not self.config_path.exists():
            return None
        try:
            data, model = self.config["data"], self.config["model"]
            files = [file["sha256"] for file in data["files"]]
            seed = self.config["training"]["seed"]
            content = {"task": self.task, "cell": model["cell"], "seed": seed}
            return checksum({**content, "data": files or data["options"]})
        except (LookupError, TypeError):
            return None

    def save_config(
        self, config: dict[str, Any], files: Mapping[Path, bytes] | None = None
    ) -> None:
        """Make the folder a run: write the files that belong to it, and config.json last.

        config.json gets the format, this package's version, `config`, and checksums of all.

        Args:
            config: In types that JSON has.
            files: Those of `vocabulary_path` and `cell_path`.
        """
        files = files or {}
        for path, content in files.items():
            _write(path, content)
        config = {"format": FORMAT, "unrolled": version("unrolled"), **config}
        checksums = {path.name: sha256(content).hexdigest() for path, content in files.items()}
        checksums[self.config_path.name] = checksum(config)
        _write(self.config_path, to_json({**config, "sha256": checksums}, indent=2))

    def go_on(self, training: dict[str, Any]) -> None:
        """Give the run other options of training, and take away the results that it had ended with.

        Args:
            training: In types that JSON has.
        """
        config = {**self.config, "training": training}
        checksums = {**config.get("sha256", {}), self.config_path.name: checksum(config)}
        config["sha256"] = checksums
        with self.locked():
            _write(self.config_path, to_json(config, indent=2))
            with writing(self.results_path):
                self.results_path.unlink(missing_ok=True)
        self.config = config

    def read(self, path: Path) -> bytes:
        """Return a file that was written with config.json, if it is as it was.

        Raises:
            RunError: It cannot be read, or has changed.
        """
        with reading(path):
            content = read_plain(path)
        expected = self.config.get("sha256", {}).get(path.name)
        if expected not in (None, sha256(content).hexdigest()):
            raise changed(path, self)
        return content

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing to this run inside the `with` block.

        The lock goes with the process that holds it, however that ends.

        Raises:
            RunError: Another process holds it.
        """
        lock = FileLock(self.path / _LOCK, blocking=False)
        with writing(self.path / _LOCK):
            if os.path.lexists(self.path / _LOCK):
                open_plain(self.path / _LOCK).close()  # for its errors: of a link, a pipe, a device
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
        """Remove what a killed process left: unfinished files, and a run that never became one.

        Whoever calls this holds the lock.
        """
        with writing(self.path):
            for file in [*_unfinished(self.path), *self._stillborn()]:
                file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the run, and its folder if it was made for the run. Other files in it stay.

        At any moment what is there is a run that can be resumed, or what a new one may replace.
        Whoever calls this holds the lock.
        """
        with suppress(OSError):  # it is for what has already failed
            shutil.rmtree(self.tensorboard_path, ignore_errors=True)
            before = (self.results_path, self.metrics_path, self.weights_path, self.checkpoint_path)
            after = (self.vocabulary_path, self.cell_path)
            for file in (*before, self.config_path, *after, *_unfinished(self.path)):
                file.unlink(missing_ok=True)
            (self.path / _LOCK).unlink(missing_ok=True)
            if self.made_folder:
                self.path.rmdir()

    def _stillborn(self) -> list[Path]:
        """Return the files of a process that was killed between its lock and its config.json."""
        lock = self.path / _LOCK
        if self.config_path.exists() or not lock.exists() or lock.stat().st_size:
            return []  # without a lock of ours, which is empty, a cell.py is not one of ours
        return [self.vocabulary_path, self.cell_path, *_unfinished(self.path)]


def checksum(content: dict[str, Any]) -> str:
    """Return the SHA-256 of what a JSON object says, but for its entry `sha256`.

    The order of its entries and the blanks between them do not count.
    """
    counted = {name: value for name, value in content.items() if name != "sha256"}
    return sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def changed(path: Path, run: Run | None = None) -> RunError:
    """Return the error of a file that is not as it was written.

    Args:
        path: The file.
        run: Its run, if config.json has the file's checksum.
    """
    hint = "put back the file as the run left it"
    if run is not None:
        hint += f"; if you changed it yourself, take {path.name} out of sha256 in {run.config_path}"
    return RunError(f"{path}: has changed since `unrolled` wrote it, or is damaged", hint)


def _unfinished(folder: Path) -> list[Path]:
    """Return what processes left that were killed while they wrote a file of a run."""
    files = ((file, _TEMPORARY.fullmatch(file.name)) for file in folder.iterdir())
    return [file for file, match in files if match and match[1] in _FILES]


def _write(path: Path, content: bytes) -> None:
    with writing(path), write_atomically(path) as file:
        file.write(content)


@contextmanager
def reading(path: Path, hint: str = _PUT_BACK) -> Iterator[None]:
    """Turn the system's refusal to read `path`, or what it should not hold, into a `RunError`."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}", hint) from error
    except ValueError as error:
        raise RunError(f"{path}: damaged: {error}", hint) from error


@contextmanager
def writing(path: Path, option: str = "run_path") -> Iterator[None]:
    """Turn the system's refusal to write `path` into a `RunError`.

    Args:
        path: What is written.
        option: The name of the option that says where.
    """
    try:
        yield
    except OSError as error:
        hint = f"check the permissions and the space on the disk, or choose another {field(option)}"
        raise RunError(f"{path}: cannot be written: {error.strerror}", hint) from error
