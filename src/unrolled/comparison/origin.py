"""What trainings were made from: a mean over seeds is one of the same data and the same cell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from unrolled.cells import Cell, CellSource
from unrolled.comparison.plan import AGAIN, Trial
from unrolled.data.files import fingerprint
from unrolled.errors import RunError, field
from unrolled.tasks import TaskOptions, find_task
from unrolled.training import Run

__all__ = ["Origin", "check_origins", "require_one_origin"]


@dataclass(frozen=True)
class Origin:
    """What a training was made from.

    Args:
        data: SHA-256 of each file of the data, in order.
        cell: That of the file of a cell of the user's own; None for a built-in one.
    """

    data: tuple[str, ...]
    cell: str | None

    @classmethod
    def of_options(cls, task: str, options: TaskOptions) -> "Origin":
        """Return what a training with these options is made from now."""
        files = [fingerprint(path)["sha256"] for path in find_task(task).files(options.data)]
        cell = options.model.cell
        text = CellSource.of(cell).text if isinstance(cell, Cell) else None
        return cls(tuple(files), None if text is None else sha256(text.encode()).hexdigest())

    @classmethod
    def of_trial(cls, trial: Trial) -> "Origin":
        """Return what a training that has begun was made from.

        Raises:
            RunError: Its folder is not a run, or damaged.
        """
        run = Run.open(trial.path)
        try:
            files = tuple(str(file["sha256"]) for file in run.config["data"]["files"])
            has_own = isinstance(run.config["model"]["cell"], dict)
        except (LookupError, TypeError) as error:
            raise RunError(f"{run.config_path}: not what `unrolled` wrote", AGAIN) from error
        return cls(files, sha256(run.read(run.cell_path)).hexdigest() if has_own else None)


def check_origins(trials: Sequence[Trial], origins: Mapping[str, Origin]) -> None:
    """Raise `RunError` if a training has begun that was made from something else than it would be.

    Args:
        trials: Of a comparison; those that have not begun are passed over.
        origins: By a contestant's name, what its trainings are made from now.
    """
    for trial in trials:
        if (trial.path / "config.json").exists():
            _require_same(trial, origins[trial.contestant.name], "has changed since")


def require_one_origin(trials: Sequence[Trial]) -> None:
    """Raise `RunError` unless all trainings had the same data, and each contestant the same cell.

    Args:
        trials: Those that are over.
    """
    first = Origin.of_trial(trials[0])
    cells: dict[str, str | None] = {}
    for trial in trials:
        name, mine = trial.contestant.name, Origin.of_trial(trial)
        expected = Origin(first.data, cells.setdefault(name, mine.cell))
        _require_same(trial, expected, "is another one than in the others", mine)


def _require_same(trial: Trial, other: Origin, how: str, mine: Origin | None = None) -> None:
    mine = mine or Origin.of_trial(trial)
    differing = [name for name in ("data", "cell") if getattr(mine, name) != getattr(other, name)]
    if differing:
        what = {"data": "a file of its data", "cell": "the file of its cell"}[differing[0]]
        hint = f"put back the file, choose another {field('folder')}, or delete that folder"
        raise RunError(f"{trial.path}: trained already, and {what} {how}", hint)
