"""What can be chosen of a comparison."""

from dataclasses import replace
from typing import Annotated

from unrolled.errors import field
from unrolled.languages import ENGLISH, language_names
from unrolled.networks.options import LayerOptions
from unrolled.options import Option, Options, option_fields, options
from unrolled.training.options import TrainingOptions

__all__ = ["CompareOptions"]

_OWN = "the task's own"
_TRAINING = {each.name: each.option for each in option_fields(TrainingOptions)}
_MODEL = {each.name: each.option for each in option_fields(LayerOptions)}


@options
class CompareOptions(Options):
    """What is compared, at which budget, and where it is kept."""

    panel = "Comparison"
    contestants: Annotated[
        str,
        Option(
            'Cells to compare, which may have options of their own: "gru,tcn --layers 6".',
            metavar="A,B,...",
            flag="--cells",
        ),
    ] = "rnn,lstm,gru,janet,tcn,dense"
    num_parameters: Annotated[
        int,
        replace(
            _MODEL["num_parameters"],
            help="Largest number of parameters of every model; it decides the hidden size.",
            absent="",
        ),
    ] = 200_000
    num_seeds: Annotated[
        int,
        Option(
            "Number of seeds that each cell is trained with.",
            within="[1, inf)",
            metavar="N",
            flag="--seeds",
        ),
    ] = 3
    minutes: Annotated[
        float | None,
        replace(_TRAINING["minutes"], help="Minutes to train each model for.", absent=_OWN),
    ] = None
    epochs: Annotated[
        float | None,
        replace(
            _TRAINING["epochs"],
            help="Train for X epochs instead: the same number of updates for all.",
            absent="",
        ),
    ] = None
    num_processes: Annotated[
        int,
        Option(
            "Number of trainings at the same time; they share the cores.",
            within="[1, inf)",
            flag="--processes",
        ),
    ] = 1
    metric: Annotated[
        str | None,
        Option(
            "Metric to rank by.", metavar="NAME", absent=f"that of {field('select')}, or {_OWN}"
        ),
    ] = None
    language: Annotated[
        str,
        Option("Language of comparison.html.", choices=tuple(language_names()), metavar="CODE"),
    ] = ENGLISH
    folder: Annotated[
        str | None,
        Option(
            "Folder to make for the comparison.",
            metavar="DIR",
            flag="--out",
            absent="runs/compare-TASK-DATE-TIME",
        ),
    ] = None
