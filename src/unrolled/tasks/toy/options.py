"""What can be chosen of a toy problem: which one, the network, the training."""

from typing import Annotated, ClassVar

from unrolled.errors import OptionError, field
from unrolled.networks.options import Initialize, LayerOptions, check_initialize
from unrolled.options import Option, Options, options
from unrolled.training import options as training

__all__ = ["HELP", "DataOptions", "ModelOptions", "PredictOptions", "TrainingOptions"]

HELP = """Train on a toy problem, whose scores of guessing and of a perfect answer are known.

It shows within minutes what a cell can remember and what it cannot. Ctrl-C saves the run, and
`unrolled resume` continues it.
"""


_MOST_STEPS = 100_000_000  # of all examples: they are made anew in each pass, and held in memory


@options
class DataOptions(Options):
    """Which problem, and how many examples."""

    panel = "Data"
    problem: Annotated[
        str,
        Option(
            "adding, copy, echo, reber, embedded-reber or hello.",
            metavar="PROBLEM",
            positional=True,
            decides_vocabulary=True,
        ),
    ]
    length: Annotated[
        int | None,
        Option(
            "Number of values of adding, blanks of copy, or symbols of echo.",
            metavar="N",
            absent="200 for adding, else 100",
        ),
    ] = None
    delay: Annotated[
        int | None, Option("Steps until echo repeats a symbol.", metavar="K", absent="10")
    ] = None
    num_examples: Annotated[
        int,
        Option("Number of examples in each pass, all of them new.", "[1, inf)", flag="--examples"),
    ] = 1600

    def check(self) -> None:
        """Raise `OptionError` unless there is such a problem, with such sizes."""
        from unrolled.tasks.toy.problems import make_toy

        toy = make_toy(self.problem, 0, length=self.length, delay=self.delay)
        names = [name for name in ("length", "delay") if hasattr(toy, name)]
        steps = sum(getattr(toy, name) for name in names)
        if steps * self.num_examples > _MOST_STEPS:
            amount = f"{self.num_examples:,} examples of {steps:,} steps and more"
            several = ", ".join(map(field, [*names, "num_examples"]))
            message = f"{several}: {amount} are too many, at most {_MOST_STEPS:,} steps are made"
            raise OptionError(message, "make them fewer or shorter")


@options
class ModelOptions(LayerOptions):
    """What the network of a toy problem is made of."""

    initialize: Initialize = None

    def check(self) -> None:
        """Raise `OptionError` if the cell has no gate to initialize."""
        super().check()
        check_initialize(self, self.initialize)


@options(batch_size=16, learning_rate=5e-3)
class TrainingOptions(training.TrainingOptions):
    """How the network of a toy problem is trained."""

    budget: ClassVar[training.Budget] = training.Budget(epochs=40)


@options
class PredictOptions(Options):
    """What can be asked of a prediction: nothing."""
