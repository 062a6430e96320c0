"""`unrolled train TASK`: a command for each task, made from the options of the task."""

import inspect
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.flags import chosen, parameter, parameters, with_parameters
from unrolled.cli.trust import TrustCode
from unrolled.tasks.registry import TASKS, options_of

__all__ = ["task_options", "train_app"]

_HELP = """Train a model on your data.

`unrolled train TASK --help` has the formats and options of each task.
"""

train_app = typer.Typer(help=_HELP, subcommand_metavar="TASK ...")


def task_options(name: str, values: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return the options of data, model and training that were given on the command line.

    Raises:
        OptionError: A value out of its range, or two that exclude each other.
    """
    module = options_of(name)
    classes = (module.DataOptions, module.ModelOptions, module.TrainingOptions)
    data, model, training = (chosen(each, values) for each in classes)
    return data, model, training


def _train_command(name: str) -> Callable[..., None]:
    module = options_of(name)
    run_path = inspect.Parameter(
        "run_path",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Option(
                "--run",
                metavar="DIR",
                help="Folder to make for the run.",
                show_default=f"runs/{name}-CELL-DATE-TIME",
                rich_help_panel="Training",
            ),
        ],
    )

    def train(run_path: Path | None, trust_code: bool, **values: Any) -> None:
        from unrolled.cli.fit import fit
        from unrolled.errors import OptionError, field
        from unrolled.tasks import find_task, prepare
        from unrolled.training import initialize_distributed

        data, model, training = task_options(name, values)
        with initialize_distributed() as processes:
            if run_path is None and processes.may_restart:
                message = f"{field('run_path')} is missing, and torchrun may restart this training"
                raise OptionError(message, "give it, so that the training finds its folder again")
            path = run_path or processes.from_first(lambda: _new_run_path(name, model.kind.name))
            prepared = prepare(
                find_task(name),
                data,
                path,
                model=model,
                training=training,
                trust_code=trust_code,
                processes=processes,
            )
            fit(prepared)

    train.__doc__ = module.HELP
    classes = (module.DataOptions, module.ModelOptions, module.TrainingOptions)
    trust = parameter("trust_code", TrustCode, False)
    return with_parameters(train, [*parameters(*classes), run_path, trust])


def _new_run_path(task: str, cell: str) -> Path:
    """Return a folder for a run that was not given one."""
    return Path("runs") / f"{task}-{cell}-{datetime.now():%Y%m%d-%H%M%S}"


for _name in TASKS:
    train_app.command(_name)(_train_command(_name))
