"""The option of every command that opens a run: whether code that the run holds may be run."""

from typing import Annotated

import typer

__all__ = ["TrustCode"]

TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Allow the run's own cell, the code in its cell.py, to be run.",
    ),
]
