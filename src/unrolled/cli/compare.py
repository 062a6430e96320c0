"""`unrolled compare`: cells against each other, at the same budget. Options and display."""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unrolled.cli.flags import chosen, parameter, parameters, with_parameters
from unrolled.cli.program import program
from unrolled.cli.signals import handling_signals
from unrolled.cli.terminal import counted, say, visible
from unrolled.comparison.options import CompareOptions
from unrolled.languages import ENGLISH
from unrolled.tasks.registry import TASKS

if TYPE_CHECKING:
    from rich.console import Console

    from unrolled.comparison import Comparison, Holder, Plan, Runner, Trial
    from unrolled.tasks import TaskOptions

__all__ = ["compare"]


def _compare(context: typer.Context, task: str, **values: Any) -> None:
    """Compare cells on one task: models of the same size, on the same data, trained for as long.

    ARGS are the arguments and options of `unrolled train TASK`, for every cell. With the same --out
    an interrupted comparison goes on, and seeds and cells can be added. Writes comparison.json and
    comparison.html.
    """
    from unrolled.cli.progress import make_console
    from unrolled.comparison import Origin, Plan, Runner, check_origins, parse_contestants
    from unrolled.comparison.figures import plotly
    from unrolled.errors import OptionError, field

    plotly()  # before hours of training
    chosen_options = chosen(CompareOptions, values)
    num_processes = chosen_options.num_processes
    arguments = list(context.args)
    for name in ("minutes", "epochs"):
        arguments += _given(f"--{name}", getattr(chosen_options, name))
    contestants = parse_contestants(chosen_options.contestants)
    sizes = chosen_options.num_seeds, chosen_options.num_parameters
    plan = Plan(task, tuple(arguments), tuple(contestants), *sizes)
    folder = Path(chosen_options.folder or f"runs/compare-{task}-{datetime.now():%Y%m%d-%H%M%S}")
    options = [_check(trial) for trial in plan.trials(folder)[: len(plan.contestants)]]
    for contestant, each in zip(plan.contestants, options, strict=True):
        if each.data != options[0].data:
            first = plan.contestants[0].name
            message = f"{field('contestants')}: {contestant.name} reads other data than {first}"
            raise OptionError(message, "give options of the data once, for all of them")
    metric = chosen_options.metric or _selected(options)
    trials = plan.trials(folder)
    runner = Runner(trials, num_processes, _num_threads())
    if runner.waiting or metric is not None:
        _check_models(plan, options, metric)
    plan.settle(folder)
    if any((trial.path / "config.json").exists() for trial in trials):
        pairs = zip(plan.contestants, options, strict=True)
        origins = {one.name: Origin.of_options(task, each) for one, each in pairs}
        check_origins(trials, origins)
    console = make_console()
    _run(console, runner, plan, folder, metric)
    again = _again(plan, folder, num_processes, chosen_options.metric, chosen_options.language)
    if runner.interrupted or (runner.stop_requested and runner.waiting):
        console.print("interrupted; go on with")
        console.print(f"  {again}")
        raise typer.Exit(128 + signal.SIGINT)
    if any(trial.results_path.exists() for trial in trials):
        _finish(plan, folder, metric, chosen_options.language)
        console.print(f"written: {folder / 'comparison.json'}, {folder / 'comparison.html'}")
    if runner.failures:
        names = ", ".join(failure.trial.name for failure in runner.failures)
        console.print(f"failed: {names}; try again with", style="bold red")
        console.print(f"  {again}", style="bold red")
        raise typer.Exit(1)


compare = with_parameters(
    _compare,
    [
        parameter("context", typer.Context),
        parameter(
            "task",
            Annotated[
                str, typer.Argument(metavar="TASK", help=f"Task to train: {', '.join(TASKS)}.")
            ],
        ),
        *parameters(CompareOptions),
    ],
)


def _given(name: str, value: float | None) -> list[str]:
    return [] if value is None else [name, repr(value).removesuffix(".0")]


def _num_threads() -> int:
    """Return how many threads all trainings may have together: those a user asked for, or cores."""
    from unrolled.benchmark.machine import available_cores

    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else available_cores()


def _check(trial: "Trial") -> "TaskOptions":
    """Parse a training's command as it would, without running it, and return its options.

    Raises:
        typer.TyperException: The command does not exist or cannot have these arguments.
        OptionError: An option is out of its range.
    """
    from typer.main import get_command

    from unrolled.cli.train import task_options, train_app
    from unrolled.tasks import TaskOptions

    group: Any = get_command(train_app)
    _, task, *arguments = trial.command
    command = group.commands.get(task)
    if command is None:
        raise typer.BadParameter(f"no task {task!r}, there are {', '.join(group.commands)}")
    parameters = command.make_context(f"unrolled train {task}", arguments).params
    return TaskOptions(*task_options(task, parameters))


def _selected(options: "list[TaskOptions]") -> str | None:
    """Return the metric that all trainings choose their weights by, if it was named."""
    from unrolled.training import LAST

    names = {each.training.select for each in options}
    return names.pop() if len(names) == 1 and names != {LAST} else None


def _check_models(plan: "Plan", options: "list[TaskOptions]", metric: str | None) -> None:
    """Raise `OptionError` if trainings cannot be chosen, ranked or fitted into the budget as asked.

    For this the data are read once; what a training would find is found before the first of them.

    Args:
        plan: What is compared.
        options: Of each contestant's first training.
        metric: What is ranked by; None for the task's own.
    """
    from unrolled.errors import OptionError, field
    from unrolled.metrics import find_metric
    from unrolled.networks import hidden_size_for
    from unrolled.tasks import find_task
    from unrolled.training import LAST

    kind = find_task(plan.task)
    splits = kind.read(options[0])
    if not splits.held_out and not splits.test:
        message = "nothing is held out, and nothing is left to test on: there is nothing to rank by"
        raise OptionError(message, f"leave {field('held_out')} out")
    fitted = kind.fit(options[0], splits)
    for select in sorted({each.training.select for each in options} - {None, LAST}):
        fitted.metric(select)
    ranking = [each for each in fitted.metrics if each.better]
    if metric is not None and find_metric(ranking, metric) is None:
        message = f"{field('metric')}: {plan.task} cannot be ranked by {metric!r}"
        raise OptionError(message, f"choose one of {', '.join(each.name for each in ranking)}")
    for contestant, each in zip(plan.contestants, options, strict=True):
        task, model = kind.from_dict(each, fitted.to_dict()), each.model.settled()

        def make_model(size: int, task: Any = task, model: Any = model) -> Any:
            return task.make_model(replace(model, hidden_size=size))

        try:
            hidden_size_for(make_model, plan.num_parameters)
        except OptionError as error:
            message = f"{field('num_parameters')}: {contestant.name}: {error.message}"
            raise OptionError(message, error.hint) from None


def _run(
    console: "Console", runner: "Runner", plan: "Plan", folder: Path, metric: str | None
) -> None:
    total = len(plan.contestants) * plan.num_seeds
    threads = f"{runner.threads_each} thread{'s' if runner.threads_each > 1 else ''} each"
    done = total - len(runner.waiting)
    trainings = "1 training" if total == 1 else f"{total} trainings"
    console.print(
        f"{shlex.quote(str(folder))}: {trainings}, {done} of them done; "
        f"{runner.num_processes} at a time, {threads}"
    )

    def on_claim(trial: "Trial", holder: "Holder") -> None:
        words = f"claimed by {holder.name}"
        if holder.is_gone:
            silence = f"which gave no sign of life for {holder.silent_seconds:.0f} s"
            words += f", {silence}: taken over"
        console.print(f"{trial.name}: {words}")

    def on_start(trial: "Trial") -> None:
        if not console.is_interactive:
            console.print(f"{trial.name}: started")

    def on_end(trial: "Trial", how: str) -> None:
        nonlocal done
        done += how.startswith("finished")
        console.print(f"{trial.name}: {_ended(trial, how, runner, metric)}  ({done}/{total})")

    stopping = handling_signals(lambda _: runner.request_stop())  # a second one stops at once
    with _status(console, runner) as on_wait, stopping:
        runner.run(on_start, on_end, on_wait, on_claim)


def _ended(trial: "Trial", how: str, runner: "Runner", wanted: str | None) -> str:
    """Return how a training ended, in a line; if it failed, with its last words."""
    if how == "failed":
        return f"failed: {runner.failures[-1].message}"
    if not how.startswith("finished"):
        return how
    from unrolled.comparison.metrics import choose_metric, shown
    from unrolled.training import Run, read_results

    results = read_results(Run(trial.path))
    metric = choose_metric([results], wanted)
    where = "" if how == "finished" else f"{how}: "
    return (
        f"{where}hidden size {results['hidden_size']:,}, {results['parameters']:,} parameters, "
        f"{counted(results['updates'], 'update')}, {results['elapsed_seconds']:.0f} s: "
        f"{metric.label} {shown(results['metrics'][metric.name])}"
    )


@contextmanager
def _status(console: "Console", runner: "Runner") -> Iterator[Callable[[], None]]:
    """Show what is at work in a terminal, and nothing anywhere else."""
    if not console.is_interactive:
        yield lambda: None
        return
    with console.status("") as status:

        def update() -> None:
            names = [f"{trial.name} ({_done(trial)})" for trial in runner.running]
            waiting = len(runner.waiting) - len(runner.elsewhere)
            names += [f"{len(runner.elsewhere)} elsewhere"] if runner.elsewhere else []
            status.update("; ".join(names) + f"; {waiting} waiting")

        yield update


def _done(trial: "Trial") -> str:
    """Return how far a training is, from the last line of its log that says it."""
    import json

    from unrolled.data import open_plain

    try:
        with open_plain(trial.path / "metrics.jsonl") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
            lines = file.read().splitlines()[1:]
        shares = [json.loads(line).get("done") for line in lines]
        return f"{[share for share in shares if share is not None][-1]:.0%}"
    except (OSError, ValueError, IndexError):
        return "beginning"


def _finish(plan: "Plan", folder: Path, metric: str | None, language: str) -> None:
    """Write the comparison as JSON and HTML, and print it."""
    from unrolled.comparison import gather, save_page, verdict

    comparison = gather(plan, folder, metric)
    comparison.save(folder / "comparison.json")
    save_page(comparison, folder / "comparison.html", language)
    _print_table(comparison)
    for sentence in verdict(comparison):
        say(sentence)


def _print_table(comparison: "Comparison") -> None:
    from rich.table import Table

    from unrolled.cli.progress import plain_console
    from unrolled.comparison import table

    heads, lines = table(comparison)
    drawn = Table(box=None, pad_edge=False)
    for head in heads:
        drawn.add_column(head, justify="left" if head == "cell" else "right", overflow="fold")
    for number, line in enumerate(lines):
        name, *values = map(visible, line)
        whole = (value.replace(" ", "\N{NO-BREAK SPACE}") for value in values)
        drawn.add_row(name, *whole, style="dim" if number >= len(comparison.rows) else None)
    width = None if sys.stdout.isatty() else 160
    plain_console(width=width).print(drawn)


def _again(
    plan: "Plan", folder: Path, num_processes: int, metric: str | None, language: str
) -> str:
    """Return the command that goes on with a comparison."""
    words = [*plan.command, "--out", str(folder), "--processes", str(num_processes)]
    words += [] if metric is None else ["--metric", metric]
    words += [] if language == ENGLISH else ["--language", language]
    return f"{program()} {shlex.join(words)}"
