"""What can be chosen of a model of label sets: how they are read, its network, its training."""

import re
from typing import Annotated, ClassVar

from unrolled.data.options import Encoding, PartOptions
from unrolled.errors import OptionError, field
from unrolled.networks.options import LayerOptions
from unrolled.options import Option, Options, absolute, options
from unrolled.training import options as training

__all__ = ["HELP", "DataOptions", "ModelOptions", "PredictOptions", "TrainingOptions"]

HELP = """Train on sequences of sets of labels: which labels are in the next set, each by itself.

The labels are the keys of a piano that sound together (polyphonic music), what a customer buys at
once, the alarms of a minute. Ctrl-C saves the run, and `unrolled resume` continues it.
"""

_RANGE = re.compile(r"(-?\d{1,9})-(-?\d{1,9})")
_MOST_LABELS = 100_000


@options
class DataOptions(PartOptions):
    """How sequences of label sets are read."""

    file: Annotated[
        str,
        Option(
            "Sequences: lines such as 60 64 67 | 62 65, JSON, a table, or MATLAB's piano rolls "
            "(.mat).",
            metavar="FILE",
            positional=True,
            convert=absolute,
        ),
    ]
    input: Annotated[
        str | None,
        Option("Column of a table that holds the labels.", metavar="COLUMN"),
    ] = None
    id: Annotated[
        str | None,
        Option(
            "Column that says which sequence a row is a step of.",
            metavar="COLUMN",
            absent="a row is a whole sequence",
        ),
    ] = None
    labels: Annotated[
        str | None,
        Option(
            "Whole numbers that are the labels, such as 21-108 for the keys of a piano.",
            metavar="FIRST-LAST",
            absent="those of the training part, and all columns of a piano roll",
            decides_vocabulary=True,
        ),
    ] = None
    encoding: Encoding = "utf-8"

    def check(self) -> None:
        """Raise `OptionError` unless the labels are a range, and a table has a column of them."""
        super().check()
        if self.id is not None and self.input is None:
            hint = f"name the column of the labels: {field('input')}"
            raise OptionError(f"{field('id')} is for tables", hint)
        _ = self.label_names

    @property
    def label_names(self) -> list[str] | None:
        """The labels, if they are named."""
        if self.labels is None:
            return None
        match = _RANGE.fullmatch(self.labels)
        first, last = map(int, match.groups()) if match else (0, -1)
        if not 0 <= last - first < _MOST_LABELS:
            message = f"{field('labels')} must be a range of whole numbers, the smaller first, "
            raise OptionError(f"{message}got {self.labels!r}", "such as 21-108")
        return [str(number) for number in range(first, last + 1)]


@options(dropout=0.2)
class ModelOptions(LayerOptions):
    """What the network is made of."""


@options(batch_size=16, learning_rate=5e-3)
class TrainingOptions(training.TrainingOptions):
    """How the network is trained."""

    budget: ClassVar[training.Budget] = training.Budget(epochs=60)


@options
class PredictOptions(Options):
    """What can be asked of a prediction."""

    panel = "Prediction"
    threshold: Annotated[
        float,
        Option(
            "Probability from which a label is said to be in the next set.",
            within="(0, 1)",
            metavar="P",
        ),
    ] = 0.5
