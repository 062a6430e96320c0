"""`unrolled resume`: a training that was interrupted, from its last checkpoint to its end."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["resume"]


def resume(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of an interrupted training.")
    ],
) -> None:
    """Go on with an interrupted training.

    In one process, with --epochs, it ends as if it had never stopped. A training by torchrun is
    resumed by torchrun, with as many processes.
    """
    from unrolled.cli.session import fit_language_model, fit_task
    from unrolled.tasks import task_class
    from unrolled.tasks.lm.task import resume_language_model
    from unrolled.tasks.runs import resume as resume_task
    from unrolled.training import Run, initialize_distributed

    with initialize_distributed() as processes:
        name = Run.open(run).task
        if name == "lm":
            fit_language_model(resume_language_model(run, processes))
        else:
            fit_task(resume_task(run, task_class(name), processes))
