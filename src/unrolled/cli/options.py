"""The options that all `unrolled train` commands share, each said once.

A command takes them as `cell: Cell = "lstm"`; the defaults are each command's own.
"""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BatchSize",
    "Bidirectional",
    "Cell",
    "ClipNorm",
    "Dropout",
    "Epochs",
    "HeldOut",
    "HiddenSize",
    "KernelSize",
    "Layers",
    "LearningRate",
    "Minutes",
    "Parameters",
    "Patience",
    "RunPath",
    "Seed",
    "TestPart",
    "data_option",
    "model_option",
    "new_run_path",
    "resolved",
    "training_option",
]

data_option = partial(typer.Option, rich_help_panel="Data")
model_option = partial(typer.Option, rich_help_panel="Model")
training_option = partial(typer.Option, rich_help_panel="Training")

HeldOut = Annotated[
    float,
    data_option(metavar="FRACTION", help="Part of the data that chooses the best weights."),
]
TestPart = Annotated[
    float,
    data_option("--test", metavar="FRACTION", help="Part of the data to measure on at the end."),
]

Cell = Annotated[
    str, model_option(metavar="NAME", help="rnn, lstm, gru, janet, tcn, dense or conv.")
]
HiddenSize = Annotated[int, model_option(help="Units of each layer.")]
Parameters = Annotated[
    int | None,
    model_option(metavar="N", help="Take as many units as N parameters allow instead."),
]
Layers = Annotated[
    int | None,
    model_option(help="Layers one above the other.", show_default="1, tcn: 4"),
]
Bidirectional = Annotated[bool, model_option(help="Whether each row is also read from its end.")]
KernelSize = Annotated[
    int | None, model_option(help="Steps under a convolution.", show_default="tcn: 3, conv: 8")
]
Dropout = Annotated[float, model_option(help="Part of the units to silence.")]

RunPath = Annotated[
    Path | None,
    training_option(
        "--run", metavar="DIR", help="The folder to make.", show_default="runs/TASK-CELL-DATE-TIME"
    ),
]
Minutes = Annotated[float | None, training_option(help="Time to train, instead of epochs.")]
Epochs = Annotated[float | None, training_option(help="Passes over the data.")]
BatchSize = Annotated[int, training_option(help="Examples in each update.")]
LearningRate = Annotated[float, training_option(help="Its peak, after the warm-up.")]
ClipNorm = Annotated[float, training_option(help="The longest gradient, shortened beyond.")]
Patience = Annotated[
    int | None,
    training_option(help="Evaluations without a new best until the end.", show_default="endless"),
]
Seed = Annotated[int, training_option(help="Of everything random, the split included.")]


def resolved(path: Path | None) -> str | None:
    """Return a path that means the same in any folder: a run may be resumed from another one."""
    return None if path is None else str(path.resolve())


def new_run_path(task: str, cell: str) -> Path:
    """Return a folder for a run that was not given one."""
    return Path("runs") / f"{task}-{cell}-{datetime.now():%Y%m%d-%H%M%S}"
