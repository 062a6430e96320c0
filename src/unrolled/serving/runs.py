"""The runs that the server shows, each loaded once, and again when it has been trained further.

A model in memory is never changed: a run that is retrained while visitors look at it is loaded as
a new version beside the old one. If its files cannot be read at that moment, the old one stays.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from unrolled.data.vocabulary import CharVocabulary, Vocabulary
from unrolled.errors import OptionError, RunError, UnrolledError
from unrolled.kernels import Packed
from unrolled.layers.recording import recording
from unrolled.layers.recurrent import RecurrentLayer
from unrolled.networks.language_model import LanguageModel
from unrolled.tasks import Task, task_class
from unrolled.tasks.lm.task import load_language_model
from unrolled.tasks.runs import load
from unrolled.training import Run

__all__ = ["LanguageRun", "Runs", "TaskRun"]

_SECONDS_BETWEEN_LOOKS = 1.0
_log = logging.getLogger("unrolled.serving")


@dataclass(frozen=True, eq=False)
class LanguageRun:
    """A language model as it was when it was loaded.

    Args:
        name: By which visitors know the run.
        version: Of its weights: their file's time of change, in nanoseconds.
        model: In eval mode.
        vocabulary: The model's.
        packed: The kernels' packed weights, one copy for all who write with it.
    """

    name: str
    version: int
    model: LanguageModel
    vocabulary: Vocabulary
    packed: Packed = field(default_factory=dict)

    @cached_property
    def signals(self) -> list[str]:
        """What is recorded of each layer, by name."""
        with recording() as records:
            self.model(torch.zeros(1, 1, dtype=torch.int64))
        return [*records[0].values] if records else []

    def describe(self) -> dict[str, Any]:
        """Return what the page has to know, in types that JSON has."""
        config, layer = self.model.config, self.model.layer
        cell = layer.cell if isinstance(layer, RecurrentLayer) else None
        characters = isinstance(self.vocabulary, CharVocabulary)
        symbols = [self.vocabulary.symbols(id) for id in range(len(self.vocabulary))]
        return {
            "name": self.name,
            "version": str(self.version),
            "task": "lm",
            "cell": config.cell,
            "equations": cell.name if cell else None,
            "gates": [*cell.gates] if cell else [],
            "states": [*cell.states] if cell else [],
            "signals": self.signals,
            "hidden_size": config.hidden_size,
            "num_layers": config.num_layers,
            "num_parameters": self.model.num_parameters,
            "tokens": self.vocabulary.kind,
            "vocabulary_size": config.vocabulary_size,
            "characters": "".join(symbols) if characters else None,
        }


@dataclass(frozen=True, eq=False)
class TaskRun:
    """A run of any other task, which predicts from one input at a time."""

    name: str
    version: int
    task: Task[Any]
    model: nn.Module
    config: dict[str, Any]

    @property
    def medium(self) -> str | None:
        """What a captioner reads, "picture" or "recording"; None for other tasks."""
        return str(cast(Any, self.task).kind) if self.task.name == "caption" else None

    def describe(self) -> dict[str, Any]:
        """Return what the page has to know, in types that JSON has."""
        model = self.config["model"]
        return {
            "name": self.name,
            "version": str(self.version),
            "task": self.task.name,
            "cell": model.get("cell"),
            "hidden_size": model.get("hidden_size"),
            "num_layers": model.get("num_layers"),
            "num_parameters": sum(p.numel() for p in self.model.parameters()),
            "predict_options": sorted(self.task.predict_options),
            "medium": self.medium,
        }


class Runs:
    """The runs by name, as they are now.

    Args:
        paths: Their folders; the names are the folders' own, numbered where they are equal.

    Raises:
        RunError: A folder is no run, or cannot be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise OptionError("no run to serve", "name the folder that `unrolled train` made")
        self._paths: dict[str, Path] = {}
        for path in paths:
            base = path.absolute().name
            number = 2
            name = base
            while name in self._paths:
                name, number = f"{base} ({number})", number + 1
            self._paths[name] = path
        self._loaded = {name: _load(name, path) for name, path in self._paths.items()}
        self._looked = dict.fromkeys(self._paths, time.monotonic())
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """In the order in which they were given."""
        return [*self._paths]

    def get(self, name: str) -> LanguageRun | TaskRun:
        """Return the run called `name`.

        Raises:
            KeyError: There is none.
        """
        run = self._loaded[name]
        now = time.monotonic()
        if now - self._looked[name] < _SECONDS_BETWEEN_LOOKS:
            return run
        if not self._lock.acquire(blocking=False):
            return run  # while another visitor waits for what is being loaded
        try:
            if now - self._looked[name] >= _SECONDS_BETWEEN_LOOKS:
                self._loaded[name] = self._refreshed(self._loaded[name], self._paths[name])
                self._looked[name] = time.monotonic()
        finally:
            self._lock.release()
        return self._loaded[name]

    def _refreshed(self, run: LanguageRun | TaskRun, path: Path) -> LanguageRun | TaskRun:
        try:
            if _version(path) == run.version:
                return run
            return _load(run.name, path)
        except (UnrolledError, OSError) as error:
            _log.warning("%s: still served as it was loaded: %s", run.name, error)
            return run


def _version(path: Path) -> int:
    return Run(path).weights_path.stat().st_mtime_ns


def _load(name: str, path: Path) -> LanguageRun | TaskRun:
    run = Run.open(path)
    try:
        version = _version(path)
    except OSError as error:
        hint = "wait until the training has measured its first weights"
        raise RunError(f"{run.weights_path}: cannot be read: {error.strerror}", hint) from error
    if run.task == "lm":
        model, vocabulary, _ = load_language_model(path)
        loaded = LanguageRun(name, version, model, vocabulary)
        _ = loaded.signals  # now, for it builds the cell's kernel, and not when a visitor waits
        return loaded
    task, any_model = load(path, task_class(run.task))
    return TaskRun(name, version, task, any_model, run.config)
