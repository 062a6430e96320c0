"""From a task and its options to a run's folder, and where it stopped. One code for new and old.

prepared = prepare(ClassifyTask, DataOptions(files=("reviews.csv",), ...), Path("runs/reviews"))
result = prepared.trainer.fit()
print(prepared.finish().metrics)
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from unrolled.cells import Cell, CellSource
from unrolled.data.files import to_json
from unrolled.errors import OptionError, RunError, field
from unrolled.metrics import check_declared
from unrolled.networks.budget import hidden_size_for
from unrolled.networks.devices import find_device
from unrolled.networks.options import LayerOptions
from unrolled.options import option_fields
from unrolled.tasks.fitted_content import check_fitted
from unrolled.tasks.loading import (
    Loaded,
    as_written,
    check_size,
    load,
    read_unchanged,
    rebuild,
)
from unrolled.tasks.starting import check_data_start, check_start
from unrolled.tasks.task import Splits, Task, TaskOptions
from unrolled.training import (
    ALONE,
    FEWEST,
    LAST,
    LengthOptions,
    Processes,
    Results,
    Run,
    Trainer,
    checksum,
    load_weights,
    peak_memory_bytes,
    require_checkpoint,
    save_weights,
)

__all__ = ["Prepared", "prepare", "resume"]


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

    def calibrate(self) -> tuple[int | None, str | None]:
        """Take the weights that were kept, set by the held-out part what is set after a training.

        Returns:
            The update whose weights they are; and what was set, in a sentence.
        """
        run, model = self.trainer.run, self.trainer.model
        kept_update = load_weights(run.weights_path, model, run.identity)
        calibrated = self.task.calibrate(model.eval(), self.splits.held_out)
        if calibrated is not None:
            save_weights(run.weights_path, model, run.identity, kept_update)
        return kept_update, calibrated

    def finish(self) -> Results:
        """Measure the weights that were kept, write results.json, and return what it says."""
        parts = {"test": self.splits.test, "held_out": self.splits.held_out}
        part, examples = next(((name, part) for name, part in parts.items() if part), ("none", []))
        task, trainer = self.task, self.trainer
        kept_update, calibrated = self.calibrate()
        metrics = task.evaluate(trainer.model, examples) if examples else {}
        baselines = task.baselines(self.splits.training, examples) if examples else {}
        for figures in (metrics, *baselines.values()):
            check_declared(task.metrics, figures)
        options = task.options.model
        results = Results(
            task=task.name,
            cell=options.kind.name,
            hidden_size=options.hidden_size,
            parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
            seed=trainer.options.seed,
            updates=trainer.progress.update,
            elapsed_seconds=trainer.progress.elapsed_seconds,
            peak_memory_bytes=peak_memory_bytes(),
            part=part,
            meanings=list(task.metrics),
            metrics=metrics,
            baselines=baselines,
            selected_by=LAST if trainer.keeps_last else trainer.metric.name,
            kept_update=kept_update,
            num_held_out=trainer.objective.num_held_out,
            calibrated=calibrated,
        )
        results.save(trainer.run)
        return results


def prepare(
    task_class: type[Task[Any]],
    data: Any,
    run_path: Path,
    *,
    model: Any = None,
    training: Any = None,
    trust_code: bool = False,
    processes: Processes = ALONE,
    splits: Splits[Any] | None = None,
) -> Prepared:
    """Make a run's folder and return what fills it.

    Everything about options and data is checked before the folder is made. This seeds torch's
    global random generator. Where torchrun may start the processes again, as one of them has died,
    a run of the same data and options that is there goes on from its last checkpoint.

    Args:
        task_class: What is learned.
        data: Its `DataOptions`.
        run_path: The run's folder; it must not exist, or be empty, unless its run is to go on. Of
            several processes the first alone reads and writes it.
        model: Its `ModelOptions`; None takes the defaults.
        training: Its `TrainingOptions`; None takes the defaults.
        trust_code: Whether code that the run to start from holds may be run.
        processes: Those of `initialize_distributed()`; every process makes this call.
        splits: The examples, where they are not in the files of `data`; such a run has no data to
            be resumed with.

    Raises:
        DataError: The data cannot be used.
        OptionError: An option is out of range, or the cell has no file that the run could keep; the
            task has no such metric; the run to start from is of another task or model.
        RunError: The folder is in the way or cannot be made; the run to start from cannot be read.
    """
    classes = task_class.option_classes
    model = classes.model() if model is None else model
    _check_sizes(model)
    training = classes.training() if training is None else training
    options = TaskOptions(data, model.settled(), training)
    _check_device(training, processes)
    own_cell = _own_cell(options.model)
    goes_on = processes.from_first(lambda: _was_begun(run_path, processes))
    if not goes_on:
        processes.from_first(lambda: Run.check_vacant(run_path))
    start = _start(task_class, training, trust_code)
    if start is not None:
        check_data_start(start.run, start.task, data)
    in_files = splits is None
    splits = task_class.read(options) if splits is None else splits
    if start is None:
        fitted = processes.from_first(lambda: task_class.fit(options, splits).to_dict())
    else:
        fitted = start.task.to_dict()
    task = task_class.from_dict(options, fitted)
    if options.model.num_parameters is not None:
        task.options = replace(options, model=_within_budget(task))
    if start is not None:
        check_start(start.run, start.task, task, splits)
        fitted = task.to_dict()  # new series of a forecaster have scales now
    run = processes.from_first(lambda: Run.open(run_path)) if goes_on else Run(run_path)
    trainer = _assemble(run, task, splits, processes, start)
    content = {
        "task": task.name,
        "data": {"files": task.fingerprints(splits) if in_files else [], "options": data.to_run()},
        "model": _model_content(task.options.model, own_cell),
        "training": trainer.options.to_dict(),
    }
    if goes_on:
        sections = {name: run.config.get(name) for name in content}
        if checksum(sections) != checksum(content):
            message = f"{run_path}: there is a run already, of other data or options"
            raise RunError(message, f"choose another {field('run_path')}")
        trainer.restore()
        return Prepared(task, splits, trainer)

    def create() -> None:
        made_folder = not run_path.exists()
        Run.create(run_path)
        with run.locked():
            Run.check_vacant(run_path)  # another process may have had the same idea meanwhile
            run.made_folder = made_folder
            run.remove_leftovers()
            files = {run.vocabulary_path: to_json(fitted, indent=1)}
            if own_cell is not None:
                files[run.cell_path] = own_cell.text.encode()
            try:
                run.save_config(content, files)
            except BaseException:
                run.discard()
                raise

    processes.from_first(create)
    return Prepared(task, splits, trainer)


def _was_begun(run_path: Path, processes: Processes) -> bool:
    """Whether there is a run that may be the one of these processes before they were restarted."""
    return processes.may_restart and (run_path / "config.json").exists()


def resume(
    run_path: Path,
    *,
    trust_code: bool = False,
    length: LengthOptions | None = None,
    device: str | None = None,
    processes: Processes = ALONE,
) -> Prepared:
    """Return a run where it stopped: `trainer.fit()` goes on.

    Until then, nothing may draw from the global random generators, which are those of the run.

    Args:
        run_path: The run's folder.
        trust_code: Whether code that the run holds, a cell of somebody's own, may be run.
        length: How long it is to be trained in all, from its beginning; None, and options of which
            none is given, leave it as it is. With more than it has, a finished run goes on.
        device: Where it goes on, and from then on the run's; None: where it was. On another one it
            does not end with the same bits.
        processes: Those of `initialize_distributed()`; every process makes this call.

    Raises:
        DataError: A file of the data is gone.
        OptionError: It has been trained for as long already; there is no such device here.
        RunError: There is no such run, it is damaged, holds code that is not trusted, or a file of
            its data has changed.
    """
    run = processes.from_first(lambda: Run.open(run_path))
    task = rebuild(run, trust_code, processes)
    if length is not None and length.length is not None:
        training = replace(task.options.training, **length.length)
        task.options = replace(task.options, training=training)
    else:
        length = None
    if device is not None:
        training = replace(task.options.training, device=device)
        task.options = replace(task.options, training=training)
    _check_device(task.options.training, processes)
    splits = read_unchanged(run, task)
    processes.from_first(lambda: check_size(run, task))
    processes.from_first(lambda: require_checkpoint(run))
    has_checkpoint, has_weights = processes.from_first(
        lambda: (run.checkpoint_path.exists(), run.weights_path.exists())
    )
    if task.begins_with_a_file and not (has_checkpoint or has_weights):
        message = f"{run.path}: stopped before it kept anything, and it has no path to the vectors"
        raise RunError(message, "train again")
    start = None
    if not has_checkpoint:  # it was killed before it had taken over the weights
        start = _start(type(task), task.options.training, trust_code)
    with as_written(run.path):
        check_fitted(run, task, splits)
        trainer = _assemble(run, task, splits, processes, start)
    trainer.restore()
    if length is not None:
        trainer.go_on()
    if length is not None or device not in (None, run.config["training"].get("device")):
        processes.from_first(lambda: run.go_on(trainer.options.to_dict()))
    return Prepared(task, splits, trainer)


def _start(task_class: type[Task[Any]], training: Any, trust_code: bool) -> Loaded | None:
    """Return the run whose weights and vocabulary training starts from, if there is one."""
    if training.start_from is None:
        return None
    path = Path(training.start_from)
    run = Run.open(path)
    if run.task != task_class.name:
        message = f"{field('start_from')}: {path} is of {run.task}, not of {task_class.name}"
        raise OptionError(message, "name a run of the same task")
    return load(path, trust_code=trust_code)


def _selecting(task: Task[Any], num_held_out: int) -> Any:
    """Return the training options with the choice of weights settled for these data.

    Raises:
        OptionError: No such metric; or nothing is held out for what needs it.
    """
    training = task.options.training
    if not num_held_out:
        for name in ("select", "patience"):
            if getattr(training, name) not in (None, LAST):
                message = f"{field(name)} needs a held-out part, and nothing is held out"
                raise OptionError(message, f"leave it out, or give {field('held_out')} 0.1")
        return replace(training, select=LAST)
    if training.select == LAST:
        return training
    metric = task.metric(training.select)
    if training.select is None and num_held_out < FEWEST:
        return replace(training, select=LAST)
    return replace(training, select=metric.name)


def _assemble(
    run: Run,
    task: Task[Any],
    splits: Splits[Any],
    processes: Processes,
    start: Loaded | None,
) -> Trainer:
    training = task.options.training
    torch.manual_seed(training.seed + processes.rank)  # weights are the first's, dropout each's own
    objective = task.objective(splits, processes)
    training = _selecting(task, objective.num_held_out)
    training = training.settled(objective.updates_per_epoch, task.budget)
    model = task.make_model(task.options.model)
    if start is None:
        task.initialize(model, splits)
    else:
        task.take_over(model, start.model.state_dict(), splits)
    metric = task.metric(None if training.select == LAST else training.select)
    return Trainer(model, objective, run, training, processes, metric)


def _check_device(training: Any, processes: Processes) -> None:
    """Raise `OptionError` if there is no such device here: now, and not when data were read."""
    if training.device is not None:
        find_device(training.device, processes.local_rank)


def _own_cell(model: LayerOptions) -> CellSource | None:
    """Return the source of a cell of the user's own; None for a built-in layer."""
    if not isinstance(model.cell, Cell):
        return None
    source = CellSource.of(model.cell)
    source.load()  # for its errors: now, rather than when the training is over
    return source


def _model_content(model: LayerOptions, own_cell: CellSource | None) -> dict[str, Any]:
    """Return the options of a model in types that JSON has."""
    content = model.to_dict()
    return content if own_cell is None else content | {"cell": {"own": own_cell.name}}


def _check_sizes(model: LayerOptions) -> None:
    """Raise `OptionError` if a hidden size is given beside a budget, which would decide it."""
    default = next(f.default for f in option_fields(type(model)) if f.name == "hidden_size")
    if model.num_parameters is not None and model.hidden_size != default:
        budget = field("num_parameters")
        message = f"{field('hidden_size')} is given beside {budget}, which decides it"
        raise OptionError(message, "leave one of the two out")


def _within_budget(task: Task[Any]) -> Any:
    """Return the model's options with the largest hidden size that keeps within the budget."""
    options = task.options.model

    def sized(hidden_size: int) -> Any:
        return replace(options, hidden_size=hidden_size)

    cell, budget = options.kind.cell, options.num_parameters
    heads = 1 if cell is None else cell.heads
    return sized(hidden_size_for(lambda size: task.make_model(sized(size)), budget, heads))
