"""The runs that the server shows, each loaded once, and again when it has been trained further.

A model in memory is never changed: a run that is retrained while visitors look at it is loaded as
a new version beside the old one. If its files cannot be read at that moment, the old one stays.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unrolled.errors import PROGRAM, OptionError, RunError, UnrolledError
from unrolled.inspection import StepEquations, Subject, bounds, kinds, step_equations
from unrolled.kernels import EquationsError, WeightCache
from unrolled.layers import observing_values
from unrolled.networks import count_parameters
from unrolled.options import option_fields
from unrolled.tasks import Task, load
from unrolled.training import Run

__all__ = ["Runs", "ServedRun"]

_SECONDS_BETWEEN_LOOKS = 1.0
_log = logging.getLogger("unrolled.serving")


@dataclass(frozen=True, eq=False)
class ServedRun:
    """A run as it was when it was loaded.

    Args:
        name: By which visitors know it.
        version: Of its weights: their file's time of change, in nanoseconds.
        task: What it learned.
        model: In eval mode.
        weight_cache: The kernels' packed weights, one copy for all who use it.
    """

    name: str
    version: int
    task: Task[Any]
    model: nn.Module
    weight_cache: WeightCache = field(default_factory=WeightCache)

    @cached_property
    def subject(self) -> Subject:
        """What views look into."""
        return self.task.subject(self.model)

    @cached_property
    def parts(self) -> list[dict[str, Any]]:
        """The layers and directions that are recorded, with the names of what is recorded."""
        subject = self.subject
        features = torch.zeros(1, 1, subject.input_size)
        with observing_values() as records:
            subject.layer(features)
        return [
            {"layer": record.layer, "reverse": record.reverse, "signals": [*record.values]}
            for record in records
        ]

    @cached_property
    def step(self) -> StepEquations:
        """The cell's step as equations.

        Raises:
            EquationsError: The cell's step cannot be captured as a graph.
        """
        assert self.subject.recurrent is not None
        return step_equations(self.subject.recurrent.cell)

    @cached_property
    def example(self) -> str | None:
        """An input to begin with, where one can be had without any data."""
        return self.subject.example()

    def describe(self) -> dict[str, Any]:
        """Return what the page has to know, in types that JSON has."""
        options, subject = self.task.options.model, self.subject
        recurrent = subject.recurrent
        form = subject.form._asdict()
        answers = "forecasts" if subject.forecasts else "answers"
        predicting = self.task.option_classes.predict
        return {
            "name": self.name,
            "version": str(self.version),
            "task": self.task.name,
            "cell": options.kind.name,
            "keeps": recurrent.cell.keeps if recurrent else None,
            "gates": [*recurrent.cell.gates] if recurrent else [],
            "states": [*recurrent.cell.states] if recurrent else [],
            "memory": recurrent.cell.states[-1] if recurrent else "y",
            "parts": self.parts,
            "signals": self._signals(),
            "step": self._step(),
            "hidden_size": options.hidden_size,
            "num_layers": options.num_layers,
            "num_parameters": count_parameters(self.model),
            "unit": subject.unit,
            "reads": self.task.medium or ("text" if subject.is_text else "numbers"),
            "form": form | {"kind": self.task.medium or form["kind"]},
            "example": self.example,
            "says": answers if len(subject.labels) > 1 else None,
            "writes": self.task.prompt is not None,
            "characters": self.task.characters,
            "predict_options": sorted(each.name for each in option_fields(predicting)),
        }

    def _signals(self) -> list[dict[str, Any]]:
        """Return what is recorded: its name, what it is in the cell, the ends of its range."""
        recurrent = self.subject.recurrent
        if recurrent is None:
            return [{"name": "y", "kind": "output", "range": None}]
        kind_of, within = kinds(recurrent.cell), bounds(recurrent.cell)
        names, states = self.parts[0]["signals"], recurrent.cell.states
        ordered = [*(name for name in names if name not in states), *reversed(states)]
        return [
            {"name": name, "kind": kind_of.get(name, "value"), "range": within.get(name)}
            for name in ordered
        ]

    def _step(self) -> dict[str, Any] | None:
        """Return the equations of a step and the graph that they are of, or why there are none."""
        if self.subject.recurrent is None:
            return None
        try:
            step = self.step
        except EquationsError as error:
            return {"refused": error.message}
        return {
            "nodes": [
                {
                    "id": node.id,
                    "operation": node.operation,
                    "inputs": node.inputs,
                    "symbol": step.symbols.get(node.id),
                    "constant": step.constants.get(node.id),
                }
                for node in step.graph.nodes
            ],
            "equations": [asdict(equation) for equation in step.equations],
        }


class Runs:
    """The runs by name, as they are now.

    Args:
        paths: Their folders; the names are the folders' own, numbered where they are equal.
        trust_code: Whether cells of somebody's own, which the folders hold, may be run.
        clock: Seconds, for tests.

    Raises:
        RunError: A folder is not a run, or cannot be read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        trust_code: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not paths:
            hint = f"name the folder that `{PROGRAM} train` made"
            raise OptionError("no run to serve", hint)
        self._trust_code = trust_code
        self._clock = clock
        self._paths: dict[str, Path] = {}
        for path in paths:
            base = path.absolute().name
            number = 2
            name = base
            while name in self._paths:
                name, number = f"{base} ({number})", number + 1
            self._paths[name] = path
        self._loaded = {name: _load(name, path, trust_code) for name, path in self._paths.items()}
        self._looked = dict.fromkeys(self._paths, clock())
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """In the order in which they were given."""
        return [*self._paths]

    def get(self, name: str) -> ServedRun:
        """Return the run called `name`.

        Raises:
            KeyError: There is none.
        """
        run = self._loaded[name]
        now = self._clock()
        if now - self._looked[name] < _SECONDS_BETWEEN_LOOKS:
            return run
        if not self._lock.acquire(blocking=False):
            return run  # while another visitor waits for what is being loaded
        try:
            if now - self._looked[name] >= _SECONDS_BETWEEN_LOOKS:
                self._loaded[name] = self._refreshed(self._loaded[name], self._paths[name])
                self._looked[name] = self._clock()
        finally:
            self._lock.release()
        return self._loaded[name]

    def _refreshed(self, run: ServedRun, path: Path) -> ServedRun:
        try:
            if _version(path) == run.version:
                return run
            return _load(run.name, path, self._trust_code)
        except (UnrolledError, OSError) as error:
            _log.warning("%s: still served as it was loaded: %s", run.name, error)
            return run


def _version(path: Path) -> int:
    return Run(path).weights_path.stat().st_mtime_ns


def _load(name: str, path: Path, trust_code: bool) -> ServedRun:
    run = Run.open(path)
    try:
        version = _version(path)
    except OSError as error:
        hint = "wait until the training has measured its first weights"
        raise RunError(f"{run.weights_path}: cannot be read: {error.strerror}", hint) from error
    loaded = load(path, trust_code=trust_code)
    served = ServedRun(name, version, loaded.task, loaded.model)
    _ = served.parts  # now: it builds the cell's kernel, for which no visitor waits
    return served
