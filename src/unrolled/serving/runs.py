"""The runs that the server shows, each loaded once, and again when it has been trained further.

A model in memory is never changed: a run that is retrained while visitors look at it is loaded as
a new version beside the old one. If its files cannot be read at that moment, the old one stays. A
run that cannot be loaded at all, or is gone, is tried again, and stands in nobody's way.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unrolled.errors import RunError, UnrolledError
from unrolled.inspection import (
    Passage,
    StepEquations,
    Subject,
    bounds,
    kinds,
    step_equations,
)
from unrolled.inspection.reading import Measured, first_passages, measure, steps_to_measure
from unrolled.kernels import EquationsError, WeightCache
from unrolled.layers import TCN, observing_values
from unrolled.networks import count_parameters
from unrolled.serving.steps import describe_step
from unrolled.tasks import Loaded, Task, load
from unrolled.training import Run

__all__ = ["Runs", "ServedRun"]

_SECONDS_BETWEEN_LOOKS = 1.0
_WORTH_READING = 3  # blanks in an example
_log = logging.getLogger("unrolled.serving")


@dataclass(frozen=True, eq=False)
class ServedRun:
    """A run as it was when it was loaded.

    Args:
        name: By which visitors know it.
        version: Of its weights: their file's time of change, in nanoseconds.
        task: What it learned.
        model: In eval mode.
        notes: What whoever uses it should know, in sentences.
        weight_cache: The kernels' packed weights, one copy for all who use it.
        read_held_out: Returns the first held-out examples, of so many steps.
    """

    name: str
    version: int
    task: Task[Any]
    model: nn.Module
    notes: tuple[str, ...] = ()
    weight_cache: WeightCache = field(default_factory=WeightCache)
    read_held_out: Callable[[int], list[Any]] = lambda _: []

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

    @property
    def windows(self) -> list[list[int]] | None:
        """For each level of a convolution, how many steps back what it sees of the one below."""
        if self.subject.recurrent is not None:
            return None
        layer = self.subject.layer
        with observing_values() as records:
            self.subject.layer(torch.zeros(1, 1, self.subject.input_size))
        windows, seen = [], 1
        for record in records:
            dilation = 2**record.layer if isinstance(layer, TCN) else 1
            field = record.receptive_field or 1
            windows.append([*range(0, field - seen + 1, dilation)])
            seen = field
        return windows

    @cached_property
    def step(self) -> StepEquations:
        """The cell's step as equations.

        Raises:
            EquationsError: The cell's step cannot be captured as a graph.
        """
        assert self.subject.recurrent is not None
        return step_equations(self.subject.recurrent.cell)

    @cached_property
    def held_out(self) -> list[Passage]:
        """The first of the held-out part, as much as the gradient's reach is measured on.

        Nothing where the data cannot be read now: they may lie on another machine.
        """
        passages = self.subject.passages(self.held_out_examples)
        return first_passages(passages, steps_to_measure(self.task.steps_backward))[0]

    @cached_property
    def held_out_examples(self) -> list[Any]:
        """As many of the held-out part; none where it cannot be read."""
        try:
            return self.read_held_out(steps_to_measure(self.task.steps_backward))
        except (UnrolledError, OSError) as error:
            _log.warning("%s: its held-out part is not shown: %s", self.name, error)
            return []

    @cached_property
    def measured(self) -> Measured | None:
        """How far its gradient reaches on the held-out part, None where that cannot be told."""
        return measure(self.subject, self.held_out, self.task.steps_backward)

    @cached_property
    def backtest(self) -> list[dict[str, Any]]:
        """Its forecasts beside what came, from the first held-out examples on."""
        return self.subject.backtest(self.held_out_examples)

    @cached_property
    def ahead(self) -> list[dict[str, Any]]:
        """Its forecasts from the ends of its data; none where they cannot be read."""
        try:
            return self.subject.ahead()
        except (UnrolledError, OSError) as error:
            _log.warning("%s: no forecast of its data is shown: %s", self.name, error)
            return []

    @cached_property
    def _inputs(self) -> list[str]:
        """Held-out examples that one can type."""
        if self.task.medium is not None:
            return []
        return [*filter(None, map(self.subject.as_input, self.held_out_examples[:50]))]

    @property
    def example(self) -> str | None:
        """An input to begin with: of the held-out part, or what the model makes up."""
        inputs = self._inputs
        if inputs:  # one that has some words, rather than the very first
            return next((text for text in inputs if text.count(" ") >= _WORTH_READING), inputs[0])
        return self.subject.example()

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the page has to know, in types that JSON has."""
        options, subject = self.task.options.model, self.subject
        recurrent = subject.recurrent
        form = subject.form._asdict()
        answers = "forecasts" if subject.forecasts else "answers"
        return {
            "name": self.name,
            "version": str(self.version),
            "task": self.task.name,
            "cell": options.kind.name,
            "keeps": recurrent.cell.keeps if recurrent else None,
            "gates": [*recurrent.cell.gates] if recurrent else [],
            "states": [*recurrent.cell.states] if recurrent else [],
            "memory": recurrent.cell.carrier if recurrent else "y",
            "parts": self.parts,
            "windows": self.windows,
            "signals": self._signals(),
            "step": self._step(),
            "hidden_size": options.hidden_size,
            "num_layers": options.num_layers,
            "num_parameters": count_parameters(self.model),
            "unit": subject.unit,
            "reads": self.task.medium or ("text" if subject.is_text else "numbers"),
            "form": form | {"kind": self.task.medium or form["kind"]},
            "example": self.example,
            "made_up": not self._inputs,
            "backtests": self.subject.backtests,
            "says": answers if len(subject.labels) > 1 else None,
            "writes": self.task.prompt is not None,
            "characters": self.task.characters,
            "predict_options": sorted(self.task.predict_options),
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
        return describe_step(step)


class Runs:
    """The runs by name, as they are now.

    Args:
        paths: Their folders; the names are the folders' own, numbered where they are equal.
            None for a server of the lecture alone.
        trust_code: Whether cells of somebody's own, which the folders hold, may be run.
        clock: Seconds, for tests.

    Raises:
        RunError: None of the folders is a run that can be read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        trust_code: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trust_code = trust_code
        self._clock = clock
        self._paths: dict[str, Path] = {}
        for path in paths:
            base = os.fsencode(path.absolute().name).decode(errors="replace")
            number = 2
            name = base
            while name in self._paths:
                name, number = f"{base} ({number})", number + 1
            self._paths[name] = path
        self._loaded: dict[str, ServedRun] = {}
        self._broken: dict[str, RunError] = {}
        for name, path in self._paths.items():
            try:
                self._loaded[name] = _load(name, path, trust_code)
            except RunError as error:
                self._broken[name] = error
        if self._broken and not self._loaded:
            raise next(iter(self._broken.values()))
        self._looked = dict.fromkeys(self._paths, clock())
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Of those that can be shown, in the order in which they were given."""
        return [name for name in self._paths if name in self._loaded]

    @property
    def notes(self) -> list[str]:
        """What is to be known of those that can be shown, in sentences."""
        return [note for name in self.names for note in self._loaded[name].notes]

    @property
    def broken(self) -> dict[str, RunError]:
        """The others, and what was wrong when they were looked at last."""
        broken = dict(self._broken)
        return {name: broken[name] for name in self._paths if name in broken}

    def get(self, name: str) -> ServedRun:
        """Return the run called `name`.

        Raises:
            KeyError: There is none that can be shown.
        """
        self.look(name)
        return self._loaded[name]

    def all(self) -> list[ServedRun]:
        """Return the runs that can be shown now, in the order in which they were given."""
        for name in self._paths:
            self.look(name)
        loaded = dict(self._loaded)
        return [loaded[name] for name in self._paths if name in loaded]

    def look(self, name: str) -> None:
        """See whether the run called `name` has changed, unless that was done a moment ago.

        Raises:
            KeyError: There is none.
        """
        if self._clock() - self._looked[name] < _SECONDS_BETWEEN_LOOKS:
            return
        if not self._lock.acquire(blocking=False):
            return  # while another visitor waits for what is being loaded
        try:
            if self._clock() - self._looked[name] >= _SECONDS_BETWEEN_LOOKS:
                self._refresh(name)
        finally:
            self._looked[name] = self._clock()
            self._lock.release()

    def _refresh(self, name: str) -> None:
        path, run = self._paths[name], self._loaded.get(name)
        is_gone = not Run(path).config_path.exists()
        try:
            if run is None or is_gone or _version(path) != run.version:
                self._loaded[name] = _load(name, path, self._trust_code, run)
                self._broken.pop(name, None)
        except (RunError, OSError) as error:
            if run is not None and not is_gone:
                _log.warning("%s: still served as it was loaded: %s", name, error)
            elif isinstance(error, RunError):
                self._loaded.pop(name, None)
                self._broken[name] = error


def _version(path: Path) -> int:
    return Run(path).weights_path.stat().st_mtime_ns


def _load(name: str, path: Path, trust_code: bool, before: ServedRun | None = None) -> ServedRun:
    """Load a run; whatever is wrong with it is a `RunError`.

    Args:
        name: By which visitors know it.
        path: Its folder.
        trust_code: Whether a cell of somebody's own may be run.
        before: The run with other weights, whose data need not be read again.
    """
    try:
        return _loaded_run(name, path, trust_code, before)
    except RunError:
        raise
    except UnrolledError as error:
        raise RunError(f"{path}: {error.message}", error.hint) from error
    except Exception as error:  # a folder is made by others: it may hold anything
        raise RunError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error


def _loaded_run(name: str, path: Path, trust_code: bool, before: ServedRun | None) -> ServedRun:
    run = Run.open(path)
    try:
        version = _version(path)
    except OSError as error:
        hint = "wait until the training has measured its first weights"
        raise RunError(f"{run.weights_path}: cannot be read: {error.strerror}", hint) from error
    loaded = load(path, trust_code=trust_code)
    served = ServedRun(
        *(name, version, loaded.task, loaded.model, loaded.notes),
        read_held_out=_reader_of(loaded, before),
    )
    # now: it builds the cell's kernel, for which no visitor waits, and what cannot be told of a
    # run would fail whenever it is asked for
    content = [served.description, served.subject.labels]
    try:
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:  # half a surrogate pair in a vocabulary, for one
        raise RunError(f"{path}: cannot be shown: {error}", "train it again") from None
    return served


def _reader_of(loaded: Loaded, before: ServedRun | None) -> Callable[[int], list[Any]]:
    """Return what reads the held-out examples: not again where another version has read them."""
    if before is None or before.task.options != loaded.task.options:
        return loaded.held_out
    examples = before.held_out_examples
    return lambda _: examples
