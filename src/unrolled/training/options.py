"""How long and how fast to train: the options that every task shares, each said once.

Each task derives a class of its own with its defaults, and perhaps further options. Not here: what
belongs to the data or to the model.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

from unrolled.errors import OptionError, field
from unrolled.options import Option, Options, options

__all__ = ["Budget", "TrainingOptions"]


@dataclass(frozen=True)
class Budget:
    """How long a task trains where nobody says it: one of epochs and minutes.

    Args:
        epochs: Passes over the training data.
        minutes: Time to train in.
        least_updates: With epochs: as many more as it takes to make so many updates.
    """

    epochs: float | None = None
    minutes: float | None = None
    least_updates: int = 0

    def __str__(self) -> str:
        if self.minutes is not None:
            return f"{self.minutes:g}"
        more = f", or as many as make {self.least_updates} updates"
        return f"{self.epochs:g}{more if self.least_updates else ''}"

    def epochs_for(self, updates_per_epoch: int) -> float | None:
        """Return the passes over data of this size; None where minutes decide."""
        if self.epochs is None or not self.least_updates:
            return self.epochs
        return round(max(self.epochs, self.least_updates / updates_per_epoch))


def _epochs(cls: "type[TrainingOptions]") -> str:
    minutes = field("minutes")
    if cls.budget.epochs is None:
        return f"{minutes} decides"
    return f"{cls.budget}, unless {minutes} is given"


def _minutes(cls: "type[TrainingOptions]") -> str:
    epochs = field("epochs")
    if cls.budget.minutes is None:
        return f"{epochs} decides"
    return f"{cls.budget}, unless {epochs} is given"


@options
class TrainingOptions(Options):
    """The options of a `Trainer`. One of `epochs` and `minutes` says how long it runs.

    With `epochs` a run is a function of its options and data: interrupted and resumed, it ends with
    the same bits. With `minutes` it is not, because no two runs see the same clock.
    """

    panel = "Training"
    budget: ClassVar[Budget] = Budget(epochs=10)
    """How long it runs where neither is given."""

    epochs: Annotated[
        float | None,
        Option("Passes over the data; 0.5 is half a pass.", "(0, inf)", absent=_epochs),
    ] = None
    minutes: Annotated[
        float | None,
        Option(
            f"Minutes to train for, evaluations included, instead of {field('epochs')}.",
            "(0, inf)",
            absent=_minutes,
        ),
    ] = None
    batch_size: Annotated[
        int,
        Option(
            "Examples in each update, those of all processes together.",
            within="[1, inf)",
        ),
    ] = 32
    learning_rate: Annotated[
        float, Option("Peak learning rate, reached after the warm-up.", within="(0, inf)")
    ] = 2e-3
    warmup: Annotated[
        float,
        Option(
            "Fraction of the run in which the learning rate rises from 0; then it falls to 0 along "
            "half a cosine.",
            within="[0, 1)",
            metavar="FRACTION",
        ),
    ] = 0.02
    weight_decay: Annotated[
        float, Option("Weight decay of AdamW, for matrices only.", within="[0, inf)")
    ] = 0.01
    clip_norm: Annotated[
        float | None,
        Option("Clip gradients to this norm.", within="(0, inf)", absent="never"),
    ] = 1.0
    evaluate_every: Annotated[
        int | None,
        Option(
            "Evaluate every N updates.",
            within="[1, inf)",
            metavar="N",
            absent="about ten times in a run",
        ),
    ] = None
    patience: Annotated[
        int | None,
        Option(
            "Stop after N evaluations in a row without a new best.",
            within="[1, inf)",
            metavar="N",
            absent="never",
        ),
    ] = None
    seed: Annotated[
        int, Option("Random seed, for the split of the data too.", within="[0, 9e18]")
    ] = 0
    log_every: Annotated[
        int, Option("Write a line of the log every N updates.", within="[1, inf)", metavar="N")
    ] = 10
    checkpoint_every_seconds: Annotated[
        float,
        Option(
            "Save a checkpoint every X seconds.", within="(0, inf)", flag="--checkpoint-seconds"
        ),
    ] = 30.0

    def check(self) -> None:
        """Raise `OptionError` if both ways of saying how long are used."""
        if self.epochs is not None and self.minutes is not None:
            got = f"{self.epochs:g} and {self.minutes:g}"
            raise OptionError(
                f"either {field('epochs')} or {field('minutes')} says how long to train, got {got}",
                "leave one of the two out",
            )

    def settled(self, updates_per_epoch: int) -> Self:
        """Return the options with one of `epochs` and `minutes`, for data of this size."""
        if self.epochs is not None or self.minutes is not None:
            return self
        epochs = self.budget.epochs_for(updates_per_epoch)
        return replace(self, epochs=epochs, minutes=self.budget.minutes)
