"""What a comparison trains: contestants, seeds, and the command of each training.

Not here: running them (`runner.py`).
"""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.data.files import write_atomically
from unrolled.errors import OptionError, RunError

__all__ = ["Contestant", "Plan", "Trial", "parse_contestants"]

FORMAT = 1
_OURS = {
    "--cell": "--cells names the cells",
    "--seed": "--seeds says how many: 0, 1, ...",
    "--run": "--out names the folder of all runs",
    "--parameters": "every contestant has the same",
    "--hidden-size": "--parameters decides it, for every cell anew",
}


@dataclass(frozen=True)
class Contestant:
    """A cell, and options that it alone is trained with.

    Args:
        cell: The name of the layer.
        options: Of `unrolled train`, such as ("--kernel-size", "6").
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
        OptionError: One of them is empty, comes twice, is no cell's name, or has an option that
            must be the same for all; or there is none.

    Example:
        >>> [c.name for c in parse_contestants("gru, lstm --initialize chrono")]
        ['gru', 'lstm --initialize chrono']
    """
    contestants = []
    for given in text.split(","):
        try:
            words = shlex.split(given)
        except ValueError as error:
            raise OptionError(f"--cells: {given.strip()!r}: {error}") from None
        if not words or words[0].startswith("-"):
            hint = "such as --cells gru,lstm or --cells 'gru,tcn --kernel-size 6'"
            raise OptionError(f"--cells: expected the name of a cell, got {given!r}", hint)
        check_options(words[1:])
        contestants.append(Contestant(words[0], tuple(words[1:])))
    folders = [contestant.folder for contestant in contestants]
    for contestant in contestants:
        if folders.count(contestant.folder) > 1:
            raise OptionError(f"--cells: {contestant.name} comes twice", "name it once")
    return contestants


def check_options(words: Sequence[str]) -> None:
    """Raise `OptionError` if one of the words is an option that the comparison itself sets."""
    for word in words:
        name = word.partition("=")[0]
        if name in _OURS:
            raise OptionError(f"compare: {name} is not for a single training here", _OURS[name])


@dataclass(frozen=True)
class Trial:
    """One training of a comparison.

    Args:
        contestant: What is trained.
        seed: Of everything random; the data order is the same for all contestants.
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
            return ("resume", str(self.path))
        return self.command


@dataclass(frozen=True)
class Plan:
    """A comparison: every contestant is trained once with each seed.

    Args:
        task: Of `unrolled train`.
        arguments: Of the task, for every contestant: files and options.
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
        if self.num_seeds < 1:
            raise OptionError(f"--seeds must be at least 1, got {self.num_seeds}")
        if self.num_parameters < 1:
            raise OptionError(f"--parameters must be at least 1, got {self.num_parameters}")
        check_options(self.arguments)

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
        try:
            if path.exists():
                self._require_same(folder, mine, json.loads(path.read_bytes()))
                return
            if folder.exists() and any(folder.iterdir()):
                raise RunError(f"{folder}: not empty, and no comparison", "choose another --out")
            folder.mkdir(parents=True, exist_ok=True)
            with write_atomically(path) as file:
                file.write(json.dumps(mine, indent=2, ensure_ascii=False).encode() + b"\n")
        except ValueError as error:
            raise RunError(f"{path}: damaged: {error}", "choose another --out") from error
        except OSError as error:
            hint = "check the permissions, or choose another --out"
            raise RunError(f"{folder}: cannot be used: {error.strerror}", hint) from error

    def _require_same(self, folder: Path, mine: dict[str, Any], other: Any) -> None:
        for name, value in mine.items():
            found = other.get(name) if isinstance(other, dict) else None
            if found != value:
                message = f"{folder}: a comparison with other {name}: {_shown(found)}"
                raise RunError(f"{message}, not {_shown(value)}", "choose another --out")


def _shown(value: Any) -> str:
    return shlex.join(value) if isinstance(value, list) else str(value)
