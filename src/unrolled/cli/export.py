"""`unrolled export`: a run's model as files for those who run no torch, each proved."""

from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.loading import load_run
from unrolled.cli.terminal import say
from unrolled.cli.trust import TrustCode

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained model.")],
    onnx: Annotated[
        Path,
        typer.Option(
            "--onnx", metavar="FILE", help="File to write; the vocabulary goes beside it, as .json."
        ),
    ],
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Write the graph of one step, too, as .step.onnx."),
    ] = False,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="Version of ONNX's operators.", show_default="18"),
    ] = None,
    trust_code: TrustCode = False,
) -> None:
    r"""Write a trained model as ONNX: tokens in, scores out.

    What is written is run by ONNX Runtime on the run's held-out data first, and held against the
    model: where it differs by more than 1e-5, nothing is written. Needs
    pip install "unrolled\[export]".
    """
    from unrolled.export import to_onnx
    from unrolled.export.writing import check_libraries, check_opset

    check_libraries()
    check_opset(opset)
    for file in to_onnx(load_run(run, trust_code=trust_code), onnx, stream=stream, opset=opset):
        sequences = f"{file.num_rows:,} held-out sequence{'s' * (file.num_rows != 1)}"
        say(f"{file.path}: greatest difference {file.difference:.1e} on {sequences}")
