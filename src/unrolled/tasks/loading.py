"""A run's folder as what it holds: its task, its model, its data.

loaded = load(Path("runs/reviews"))
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells import Cell, CellSource
from unrolled.data.files import parse_json, read_plain, to_json, write_atomically
from unrolled.errors import PROGRAM, DataError, OptionError, RunError, field
from unrolled.networks.devices import find_device
from unrolled.tasks.model_card import model_card
from unrolled.tasks.registry import find_task
from unrolled.tasks.task import Splits, Task, TaskOptions
from unrolled.training import (
    ALONE,
    Processes,
    Run,
    load_weights,
    of_another_model,
    read_results,
    read_weights,
    reading,
    require_finite,
    save_weights,
    weight_shapes,
    writing,
)

__all__ = [
    "Loaded",
    "as_written",
    "check_size",
    "from_pretrained",
    "load",
    "read_unchanged",
    "rebuild",
]

_WRONG_CONTENT = (
    *(LookupError, TypeError, ValueError, AttributeError),
    *(ArithmeticError, RuntimeError, MemoryError),  # numbers and sizes that no computer has
)


@dataclass(frozen=True)
class Loaded:
    """A trained run.

    Args:
        run: Its folder.
        task: What it learned, as it was fitted to its data.
        model: With the weights that were kept, in eval mode.
        notes: What whoever uses it should know, in sentences; `errors.render` names the program.
    """

    run: Run
    task: Task[Any]
    model: nn.Module
    notes: tuple[str, ...] = ()

    def read(self) -> Splits[Any]:
        """Return the data that it was trained on.

        Raises:
            DataError: A file cannot be used.
            RunError: A file has changed since the run began.
        """
        return read_unchanged(self.run, self.task)

    def held_out(self, num_steps: int) -> list[Any]:
        """Return the first held-out examples, of so many steps together if there are as many.

        Raises:
            DataError: A file cannot be used.
            RunError: A file has changed since the run began.
        """
        return self.task.beginning(self.read().held_out, num_steps)

    def save_pretrained(self, folder: Path | str, *, licence: str | None = None) -> None:
        """Write a folder to publish, which `from_pretrained` and every command takes as a run.

        It has model.safetensors, config.json and the other files of the run that a model is made
        of, and a model card, README.md. Results are left out where the model's weights are no
        longer those of the run. config.json has the paths of the data, as in the run.

        Args:
            folder: Made where it is missing; files of others may be in it, but none of these.
            licence: Of the weights, as model hubs name it: "cc-by-4.0". None leaves it to be filled
                in.

        Raises:
            RunError: A file is in the way or cannot be written; the run is damaged; the model has
                weights that its run does not describe, or that are infinite or not a number.
        """
        folder, run = Path(folder), self.run
        weights, update, is_changed = self._weights()
        files = {run.vocabulary_path: run.read(run.vocabulary_path)}
        if isinstance(run.config["model"]["cell"], dict):
            files[run.cell_path] = run.read(run.cell_path)
        results = None
        if run.results_path.exists() and not is_changed:
            results = read_results(run)
            with reading(run.results_path):
                files[run.results_path] = read_plain(run.results_path)
        with as_written(run.path):
            card = model_card(run, self.task, self.model, results, licence)
        files[run.card_path] = card.encode()
        pretrained = Run(folder)
        names = {file.name for file in files} | {"weights.safetensors", "last.ckpt"}
        names |= {pretrained.config_path.name, pretrained.published_weights_path.name}
        with writing(folder, "folder"):
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(folder / name for name in names):
                if file.exists() or file.is_symlink():
                    raise RunError(f"{file}: is in the way", f"choose another {field('folder')}")
            for file, content in files.items():
                with write_atomically(folder / file.name) as opened:
                    opened.write(content)
            save_weights(pretrained.published_weights_path, weights, run.identity, update)
            with write_atomically(pretrained.config_path) as opened:  # last: now it is a run
                opened.write(to_json(run.config, indent=2))

    def _weights(self) -> tuple[dict[str, Tensor], int | None, bool]:
        """Return the model's weights, the update that they are of, and if others than the run's.

        Raises:
            RunError: They are not of the model that the run describes, or no numbers.
        """
        path = self.run.weights_path
        published, update = read_weights(path, self.run.identity)
        weights = {name: tensor.cpu() for name, tensor in self.model.state_dict().items()}
        if {name: each.shape for name, each in weights.items()} != {
            name: each.shape for name, each in published.items()
        }:
            message = f"{self.run.path}: the model has other weights than its run describes"
            raise RunError(message, "save it as it was loaded, without what was built into it")
        require_finite(path, weights, "save it before that happens")
        is_changed = not all(torch.equal(each, published[name]) for name, each in weights.items())
        return weights, None if is_changed else update, is_changed


def load(run_path: Path | str, *, trust_code: bool = False, device: str | None = None) -> Loaded:
    """Return a run's task and its best model, in eval mode.

    Args:
        run_path: The run's folder.
        trust_code: Whether code that the run holds, a cell of somebody's own, may be run.
        device: Where the model is, wherever it was trained; None: the CPU.

    Raises:
        OptionError: There is no such device here.
        RunError: There is no such run, it is damaged, holds code that is not trusted, or has not
            been evaluated yet.
    """
    place = find_device("cpu" if device is None else device)
    run = Run.open(Path(run_path))
    task = rebuild(run, trust_code)
    check_size(run, task)
    with as_written(run.path):
        model = task.make_model(task.options.model)
    update = load_weights(run.weights_path, model, run.identity)
    notes: tuple[str, ...] = ()
    if update == 0 and run.results_path.exists():
        note = (
            f"{run_path}: no update predicted what is held out better than the weights before the"
        )
        notes = (f"{note} first one, so these are kept",)
    elif update == 0:
        resume = f"{PROGRAM} resume {shlex.quote(str(run_path))}"
        note = f"{run_path} has learned nothing yet: its weights are those before the first update"
        notes = (f"{note}; `{resume}` goes on",)
    return Loaded(run, task, model.eval().to(place), notes)


def from_pretrained(
    folder: Path | str, *, trust_code: bool = False, device: str | None = None
) -> Loaded:
    """Return what `Loaded.save_pretrained` wrote, or a run, as `load` does.

    Args:
        folder: A folder on this computer. Nothing is fetched.
        trust_code: Whether code that it holds, a cell of somebody's own, may be run.
        device: Where the model is; None: the CPU.

    Raises:
        OptionError, RunError: As of `load`.
    """
    if not Path(folder).exists():
        name = shlex.quote(str(folder))
        hint = f"from a model hub: `hf download {name} --local-dir FOLDER`, then name that folder"
        raise RunError(f"{folder}: no such folder on this computer", hint)
    return load(folder, trust_code=trust_code, device=device)


def rebuild(run: Run, trust_code: bool, processes: Processes = ALONE) -> Task[Any]:
    """Return the task that a run's folder describes.

    Args:
        run: The run.
        trust_code: Whether code that it holds may be run.
        processes: The first of them reads the folder.

    Raises:
        RunError: It is damaged, or holds code that is not trusted.
    """
    task_class = find_task(run.task)
    classes = task_class.option_classes
    with as_written(run.path):
        cell = run.config["model"]["cell"]
        if isinstance(cell, dict):
            cell = _load_cell(run, str(cell["own"]), trust_code, processes)
        elif ":" in cell:  # never a path of this machine: a run has its code in its own folder
            raise ValueError(f"cell {cell!r}")
        options = TaskOptions(
            classes.data(**{**classes.data.before, **run.config["data"]["options"]}),
            classes.model(**{**classes.model.before, **run.config["model"], "cell": cell}),
            classes.training(**{**classes.training.before, **run.config["training"]}),
        )
    with reading(run.vocabulary_path):
        fitted = parse_json(processes.from_first(lambda: run.read(run.vocabulary_path)))
    with as_written(run.vocabulary_path):
        return task_class.from_dict(options, fitted)


def check_size(run: Run, task: Task[Any]) -> None:
    """Raise `RunError` if config.json describes another model than the run has weights of.

    Before it is made: somebody else's config.json may describe one that no memory holds.
    """
    expected = weight_shapes(run.weights_path)
    if expected is None:
        return
    options = task.options.model
    try:
        if options.num_layers > len(expected):
            raise of_another_model(run.weights_path)
        with torch.device("meta"):
            described = task.make_model(options).state_dict()
    except RunError:
        raise
    except Exception:  # the one that is made in earnest says why
        return
    if {name: list(tensor.shape) for name, tensor in described.items()} != expected:
        raise of_another_model(run.weights_path)


def read_unchanged(run: Run, task: Task[Any]) -> Splits[Any]:
    """Return the data of a run, if they are what they were when it began.

    Raises:
        DataError: A file cannot be used.
        RunError: A file has changed since the run began.
    """
    splits = task.read(task.options)
    with as_written(run.path):
        for file, before in zip_longest(task.fingerprints(splits), run.config["data"]["files"]):
            if file != before:
                message = f"{(file or before)['path']}: has changed since the run began"
                hint = f"put back the file that {run.path} was trained on, or retrain"
                raise RunError(message, hint)
    return splits


def _load_cell(run: Run, name: str, trust_code: bool, processes: Processes) -> Cell:
    path = run.cell_path
    with reading(path):
        text = processes.from_first(lambda: run.read(path)).decode()
    if not trust_code:
        raise RunError(
            f"{run.path}: its cell {name} is code, {len(text.splitlines())} lines in {path}, "
            "which has not been run",
            f"read that file; if you trust it, add {field('trust_code')}",
        )
    return CellSource(text, name, str(path)).load()


@contextmanager
def as_written(path: Path) -> Iterator[None]:
    """Turn what goes wrong with content that is not as it was written into a `RunError`.

    Args:
        path: Of the file, or of the folder where several are at work.
    """
    try:
        yield
    except (OptionError, DataError) as error:  # it says itself what is wrong
        raise RunError(f"{path}: {error.message}", error.hint or "train again") from error
    except _WRONG_CONTENT as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else repr(error)
        message = f"{path}: not what `unrolled` wrote: {what}"
        raise RunError(message, "put back the file, or train again") from error
