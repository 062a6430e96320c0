"""`unrolled resume`: a training from its last checkpoint to its end, or beyond its end."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.device import Device
from unrolled.cli.flags import chosen, parameter, parameters, with_parameters
from unrolled.cli.trust import TrustCode
from unrolled.training.options import LengthOptions

__all__ = ["resume"]


def _resume(run: Path, device: str | None, trust_code: bool, **values: Any) -> None:
    """Continue a training that was interrupted, or one that is finished with more of it.

    A length counts from the beginning of the run. With --epochs or --updates and in one process, an
    interrupted run ends as if it had never stopped. A training by torchrun is resumed by torchrun,
    with as many processes. Without --device it goes on where it was.
    """
    from unrolled.cli.fit import fit
    from unrolled.tasks import resume as resume_run
    from unrolled.training import initialize_distributed

    length = chosen(LengthOptions, values)
    with initialize_distributed() as processes:
        prepared = resume_run(
            run, trust_code=trust_code, length=length, device=device, processes=processes
        )
        fit(prepared)


resume = with_parameters(
    _resume,
    [
        parameter(
            "run", Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training.")]
        ),
        *parameters(LengthOptions),
        parameter("device", Device, None),
        parameter("trust_code", TrustCode, False),
    ],
)
