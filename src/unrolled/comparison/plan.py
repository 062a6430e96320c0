"""What a comparison trains: contestants, seeds, and the command of each training.

Not here: running them (`runner.py`).
"""

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.comparison.options import CompareOptions
from unrolled.data.files import read_json, to_json, write_first
from unrolled.errors import OptionError, RunError, field
from unrolled.networks import layer_for_tasks
from unrolled.training import reading, writing

__all__ = ["AGAIN", "Contestant", "Plan", "Trial", "parse_contestants"]

FORMAT = 1
_CONTESTANTS = field("contestants")
_ANOTHER = f"choose another {field('folder')}"
AGAIN = "delete this folder, and compare again"
OUTPUTS = ("comparison.json", "comparison.html")
"""What is written beside the trainings, at the end."""

_OURS = {
    "--cell": f"{_CONTESTANTS} names the cells",
    "--seed": f"{field('num_seeds')} says how many seeds there are: 0, 1, ...",
    "--run": f"{field('folder')} names the folder of all runs",
    "--parameters": f"{field('num_parameters')} is the same for all contestants",
    "--hidden-size": f"{field('num_parameters')} decides it for each contestant",
}


@dataclass(frozen=True)
class Contestant:
    """A cell, and options that it alone is trained with.

    Args:
        cell: The name of the layer.
        options: Words after `unrolled train`, such as ("--kernel-size", "6").
    """

    cell: str
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in tables: as it was given."""
        return shlex.join((self.cell, *self.options))

    @property
    def folder(self) -> str:
        """The name without what a folder's name may not hold."""
        words = (word.removeprefix("--") for word in (self.cell, *self.options))
        return "-".join(re.sub(r"[^\w.]+", "_", word) for word in words)


def parse_contestants(text: str) -> list[Contestant]:
    """Return the contestants of a list with commas between them.

    Args:
        text: Cells, each with options of its own if need be.

    Raises:
        OptionError: One of them is empty, comes twice, is not a layer, or has an option that must
            be the same for all; or there is none.

    Example:
        >>> [c.name for c in parse_contestants("gru, lstm --initialize chrono")]
        ['gru', 'lstm --initialize chrono']
    """
    contestants = []
    for part in text.split(","):
        try:
            words = shlex.split(part)
        except ValueError as error:
            raise OptionError(f"{_CONTESTANTS}: {part.strip()!r}: {error}") from None
        if not words or words[0].startswith("-"):
            hint = f"such as {_CONTESTANTS} gru,lstm or {_CONTESTANTS} 'gru,tcn --kernel-size 6'"
            raise OptionError(f"{_CONTESTANTS}: expected the name of a cell, got {part!r}", hint)
        _check_layer(words[0])
        check_options(words[1:])
        contestants.append(Contestant(words[0], tuple(words[1:])))
    folders = [contestant.folder for contestant in contestants]
    for contestant in contestants:
        if folders.count(contestant.folder) > 1:
            raise OptionError(f"{_CONTESTANTS}: {contestant.name} comes twice", "name it once")
    return contestants


def _check_layer(cell: str) -> None:
    """Raise `OptionError` if there is no such layer: now, and not when its turn comes."""
    try:
        layer_for_tasks(cell)
    except OptionError as error:
        raise OptionError(*error.render(lambda _: _CONTESTANTS)) from None


def check_options(words: Sequence[str]) -> None:
    """Raise `OptionError` if one of the words is an option that the comparison itself sets."""
    for word in words:
        name = word.partition("=")[0]
        if name in _OURS:
            raise OptionError(f"{name} is set by the comparison, for all trainings", _OURS[name])


@dataclass(frozen=True)
class Trial:
    """One training of a comparison.

    Args:
        contestant: What is trained.
        seed: Random seed; with the same one, all contestants read the data in the same order.
        path: The run's folder.
        command: The arguments of `unrolled` that begin it.
    """

    contestant: Contestant
    seed: int
    path: Path
    command: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.contestant.name}, seed {self.seed}"

    @property
    def results_path(self) -> Path:
        """The file that is there when the training is over."""
        return self.path / "results.json"

    @property
    def log_path(self) -> Path:
        """The file that has all the training said."""
        return self.path.with_name(f"{self.path.name}.log")

    def next_command(self) -> tuple[str, ...]:
        """Return the arguments that begin it, or go on with it where it was interrupted."""
        if (self.path / "config.json").exists():
            trust = ("--trust-code",) if ":" in self.contestant.cell else ()  # named by the user
            return ("resume", str(self.path), *trust)
        return self.command


@dataclass(frozen=True)
class Plan:
    """A comparison: every contestant is trained once with each seed.

    Args:
        task: The name after `unrolled train`.
        arguments: Files and options of the task, the same for every contestant.
        contestants: What is compared.
        num_seeds: Trainings of each contestant.
        num_parameters: The budget of every model.
    """

    task: str
    arguments: tuple[str, ...]
    contestants: tuple[Contestant, ...]
    num_seeds: int
    num_parameters: int

    def __post_init__(self) -> None:
        CompareOptions(num_seeds=self.num_seeds, num_parameters=self.num_parameters)  # refuses
        check_options(self.arguments)

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of `unrolled` that make this comparison, but for its folder."""
        cells = ",".join(contestant.name for contestant in self.contestants)
        budget = ("--parameters", str(self.num_parameters), "--seeds", str(self.num_seeds))
        return ("compare", self.task, *self.arguments, "--cells", cells, *budget)

    def trials(self, folder: Path) -> list[Trial]:
        """Return the trainings: all contestants with seed 0, then all with seed 1 ..."""
        return [
            self._trial(contestant, seed, folder / f"{contestant.folder}-{seed}")
            for seed in range(self.num_seeds)
            for contestant in self.contestants
        ]

    def _trial(self, contestant: Contestant, seed: int, path: Path) -> Trial:
        command = ("train", self.task, *self.arguments, "--cell", contestant.cell)
        budget = ("--parameters", str(self.num_parameters), "--seed", str(seed))
        command += (*contestant.options, *budget, "--run", str(path))
        return Trial(contestant, seed, path, command)

    def settle(self, folder: Path) -> None:
        """Make the comparison's folder, or make sure that an old one is of the same comparison.

        Seeds and contestants may have been added since; what each is trained on may not change.

        Raises:
            RunError: The folder belongs to something else, or cannot be written.
        """
        path = folder / "plan.json"
        mine = {
            "format": FORMAT,
            "task": self.task,
            "arguments": list(self.arguments),
            "parameters": self.num_parameters,
        }
        with writing(folder, "folder"):
            if not os.path.lexists(path):
                _write_first(path, mine)
        with reading(path, _ANOTHER):  # of several that begin at once the first one decides
            self._require_same(folder, mine, read_json(path))
        for output in (folder / name for name in OUTPUTS):
            if output.is_dir():  # now, rather than after hours of training
                raise RunError(f"{output}: is a folder, in the place of a file", _ANOTHER)

    def _require_same(self, folder: Path, mine: dict[str, Any], other: Any) -> None:
        for name, value in mine.items():
            other_value = other.get(name) if isinstance(other, dict) else None
            if other_value != value:
                message = f"{folder}: a comparison with other {name}: {_shown(other_value)}"
                raise RunError(f"{message}, not {_shown(value)}", _ANOTHER)


def _write_first(path: Path, content: dict[str, Any]) -> None:
    """Write a plan into a folder that has nothing but what others write at the same time."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    files = [file.name for file in folder.iterdir()]
    unfinished = f".{path.name}."  # also of a process that was killed while it wrote the plan
    if path.name not in files and any(not name.startswith(unfinished) for name in files):
        raise RunError(f"{folder}: not empty, and not a comparison", _ANOTHER)
    if path.name not in files:
        write_first(path, to_json(content, indent=2))


def _shown(value: Any) -> str:
    return shlex.join(value) if isinstance(value, list) else str(value)
