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
    from unrolled.cli.session import fit
    from unrolled.training import initialize_distributed, resume_language_model

    with initialize_distributed() as processes:
        fit(resume_language_model(run, processes))
