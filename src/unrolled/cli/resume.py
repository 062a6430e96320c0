"""`unrolled resume`: a training that was interrupted, from its last checkpoint to its end."""

from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.trust import TrustCode

__all__ = ["resume"]


def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of an interrupted training.")],
    trust_code: TrustCode = False,
) -> None:
    """Continue an interrupted training.

    With --epochs and in one process, it ends as if it had never stopped. A training by torchrun is
    resumed by torchrun, with as many processes.
    """
    from unrolled.cli.fit import fit
    from unrolled.tasks import resume as resume_run
    from unrolled.training import initialize_distributed

    with initialize_distributed() as processes:
        prepared = resume_run(run, trust_code=trust_code, processes=processes)
        fit(prepared, resumed=True)
