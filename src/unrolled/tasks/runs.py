"""From a task and its options to a run's folder, and back. The same code builds new and old runs.

prepared = prepare(ClassifyTask, options, Path("runs/reviews"), training=training, model={})
result = prepared.trainer.fit()
print(prepared.finish().metrics)
task, model = load(Path("runs/reviews"))
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unrolled.data.files import fingerprint, write_atomically
from unrolled.errors import RunError, require
from unrolled.networks.budget import hidden_size_for
from unrolled.tasks.task import Splits, Task
from unrolled.training.checkpoint import load_weights
from unrolled.training.distributed import ALONE, Processes
from unrolled.training.examples import ExamplesObjective
from unrolled.training.options import TrainingOptions
from unrolled.training.results import Results, results_of
from unrolled.training.run import Run, writing
from unrolled.training.trainer import Trainer

__all__ = ["Prepared", "load", "prepare", "resume"]


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to be trained, or trained on.

    Args:
        task: What is learned.
        splits: From what.
        trainer: Fills the run's folder: `trainer.fit()`.
    """

    task: Task[Any]
    splits: Splits[Any]
    trainer: Trainer

    def finish(self) -> Results:
        """Measure the weights that were kept, write results.json, and return what it says."""
        part, examples = "test", self.splits.test
        if not examples:
            part, examples = "held_out", self.splits.held_out
        load_weights(self.trainer.run.weights_path, self.trainer.model)
        metrics = self.task.evaluate(self.trainer.model.eval(), examples)
        baselines = self.task.baselines(self.splits.training, examples)
        results = results_of(self.trainer, self.task.unit, part, metrics, baselines)
        results.save(self.trainer.run)
        return results


def prepare(
    task_class: type[Task[Any]],
    options: Any,
    run_path: Path,
    *,
    training: TrainingOptions | Callable[[int], TrainingOptions],
    model: Mapping[str, Any],
    batch_size: int,
    num_parameters: int | None = None,
    processes: Processes = ALONE,
) -> Prepared:
    """Make a run's folder and return what fills it.

    Everything about options and data is checked before the folder is made. This seeds torch's
    global random generator.

    Args:
        task_class: What is learned.
        options: Its `Options`.
        run_path: The run's folder; it must not exist, or be empty.
        training: How long and how fast; or what says it when told how many examples there are.
        model: Arguments of the task's `Config` but for those that the data decide.
        batch_size: Examples in each update, over all processes.
        num_parameters: If given, the hidden size is the largest that keeps within it.
        processes: Those of `initialize_distributed()`; every process makes this call.

    Raises:
        DataError: The data cannot be used.
        OptionError: An option is out of range.
        RunError: The folder is in the way or cannot be made.
    """
    require(batch_size >= 1, "batch_size", "at least 1", batch_size)
    processes.from_first(lambda: Run.check_vacant(run_path))
    splits = task_class.read(options)
    if callable(training):
        training = training(len(splits.training))
    task = task_class.fit(options, splits.training)
    config = task_class.Config(**task.sizes, **model)
    if num_parameters is not None:
        config = _within(task_class, config, num_parameters)
    content = {
        "task": task.name,
        "model": asdict(config),
        "data": {"files": _fingerprints(task, options), "options": asdict(options)},
        "training": asdict(training),
        "batch_size": batch_size,
    }
    run = Run(run_path)

    def create() -> None:
        Run.create(run_path)
        with run.locked():
            Run.check_vacant(run_path)  # another process may have had the same idea meanwhile
            with writing(run.vocabulary_path), write_atomically(run.vocabulary_path) as file:
                file.write(json.dumps(task.to_dict(), ensure_ascii=False, indent=1).encode())
            run.save_config(content)  # last: from here on it is a run, and can be resumed

    trainer = _assemble(run, task, config, splits, training, batch_size, processes)
    processes.from_first(create)
    return Prepared(task, splits, trainer)


def resume(run_path: Path, task_class: type[Task[Any]], processes: Processes = ALONE) -> Prepared:
    """Return a run where it stopped: `trainer.fit()` goes on.

    Until then, nothing may draw from the global random generators, which are those of the run.

    Raises:
        DataError: A file of the data is gone.
        RunError: There is no such run, it is damaged, or a file of its data has changed.
    """
    run = Run.open(run_path)
    task, config = _rebuild(run, task_class)
    try:
        training = TrainingOptions(**run.config["training"])
        recorded, batch_size = run.config["data"]["files"], int(run.config["batch_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(run, error) from error
    splits = task_class.read(task.options)
    for file, before in zip(_fingerprints(task, task.options), recorded, strict=True):
        if file != before:
            message = f"{file['path']}: has changed since the run began"
            raise RunError(message, f"put back the file that {run_path} was trained on, or retrain")
    trainer = _assemble(run, task, config, splits, training, batch_size, processes)
    trainer.restore()
    return Prepared(task, splits, trainer)


def load(run_path: Path, task_class: type[Task[Any]]) -> tuple[Task[Any], nn.Module]:
    """Return a run's task and its best model, in eval mode.

    Raises:
        RunError: There is no such run, it is damaged, or has not been evaluated yet.
    """
    run = Run.open(run_path)
    task, config = _rebuild(run, task_class)
    model = task.Model(config)
    load_weights(run.weights_path, model)
    return task, model.eval()


def _assemble(
    run: Run,
    task: Task[Any],
    config: Any,
    splits: Splits[Any],
    training: TrainingOptions,
    batch_size: int,
    processes: Processes,
) -> Trainer:
    torch.manual_seed(training.seed + processes.rank)  # weights are the first's, dropout each's own
    objective = ExamplesObjective(
        task,
        splits.training,
        splits.held_out,
        batch_size=batch_size,
        seed=training.seed,
        processes=processes,
    )
    model = task.Model(config)
    task.initialize(model, splits.training)
    return Trainer(model, objective, run, training, processes)


def _rebuild(run: Run, task_class: type[Task[Any]]) -> tuple[Task[Any], Any]:
    """Return the task and the model's configuration that a run's folder describes."""
    if run.task != task_class.name:
        message = f"{run.path}: its task is {run.task!r}, not {task_class.name!r}"
        raise RunError(message, "name another run")
    try:
        fitted = json.loads(run.vocabulary_path.read_bytes())
        options = task_class.Options(**run.config["data"]["options"])
        task = task_class.from_dict(options, fitted)
        config = task_class.Config(**run.config["model"])
    except OSError as error:
        raise RunError(f"{run.vocabulary_path}: cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:  # a missing name, one too many, a value
        raise _damaged(run, error) from error
    if any(getattr(config, name) != size for name, size in task.sizes.items()):
        raise _damaged(run, ValueError(f"vocabulary.json has {task.sizes}"))
    return task, config


def _damaged(run: Run, error: Exception) -> RunError:
    return RunError(f"{run.path}: not what `unrolled` wrote: {error!r}", "train again")


def _within(task_class: type[Task[Any]], config: Any, num_parameters: int) -> Any:
    """Return `config` with the largest hidden size that keeps within a budget."""
    given = asdict(config)

    def configured(hidden_size: int) -> Any:
        return task_class.Config(**given | {"hidden_size": hidden_size})

    size = hidden_size_for(lambda size: task_class.Model(configured(size)), num_parameters)
    return configured(size)


def _fingerprints(task: Task[Any], options: Any) -> list[dict[str, Any]]:
    return [fingerprint(path) for path in task.files(options)]
