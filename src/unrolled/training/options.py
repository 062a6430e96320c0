"""How long and how fast to train: the options that every task shares, each said once.

Each task derives a class of its own with its defaults, and perhaps further options. Not here: what
belongs to the data or to the model.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

from unrolled.errors import OptionError, field
from unrolled.networks.options import Device
from unrolled.options import Option, Options, absolute, options

__all__ = ["BFLOAT16", "FEWEST", "LAST", "Budget", "LengthOptions", "TrainingOptions"]

LAST = "last"
"""What is selected where no metric chooses: the last weights, averaged."""

BFLOAT16 = "bfloat16"
"""The precision in which only factors of products are rounded (precision.py)."""

FEWEST = 30
"""Held-out examples that choose weights: of fewer, chance decides."""


@dataclass(frozen=True)
class Budget:
    """How long a task trains where nobody says it: never by the clock, which other work slows down.

    Args:
        epochs: Passes over the training data; None where updates decide.
        least_updates: As many more passes as it takes to make so many updates; without passes, the
            updates.
        most_epochs: But not more passes than these for the sake of updates.
        note: What help says of a most that some data have.
    """

    epochs: float | None
    least_updates: int = 0
    most_epochs: float = math.inf
    note: str = ""

    def length_for(self, updates_per_epoch: int) -> dict[str, Any]:
        """Return the option that says how long to train, for data of this size."""
        if self.epochs is None:
            return {"updates": self.least_updates}
        if not self.least_updates:
            return {"epochs": self.epochs}
        enough = min(self.least_updates / updates_per_epoch, self.most_epochs)
        return {"epochs": round(max(self.epochs, enough))}


def _epochs(cls: "type[LengthOptions]") -> str:
    budget = cls.budget
    if budget is None:
        return "as before"
    if budget.epochs is None:
        return f"{field('updates')} decides"
    more = f", or as many as make {budget.least_updates} updates{budget.note}"
    more *= bool(budget.least_updates)
    return f"{budget.epochs:g}{more}, unless {field('updates')} or {field('minutes')} is given"


def _updates(cls: "type[LengthOptions]") -> str:
    budget = cls.budget
    if budget is None or budget.epochs is not None:
        return ""
    return f"{budget.least_updates}, unless {field('epochs')} or {field('minutes')} is given"


@options
class LengthOptions(Options):
    """How long to train: one of three ways to say it."""

    panel = "Training"
    budget: ClassVar[Budget | None] = None
    """How long where none is given; None: the run says it."""

    epochs: Annotated[
        float | None,
        Option("Passes over the data; 0.5 is half a pass.", "(0, inf)", absent=_epochs),
    ] = None
    updates: Annotated[
        int | None,
        Option(
            f"Updates to make, instead of {field('epochs')}.",
            "[1, inf)",
            metavar="N",
            absent=_updates,
        ),
    ] = None
    minutes: Annotated[
        float | None,
        Option(
            f"Minutes to train for, evaluations included, instead of {field('epochs')}: on a busy "
            "machine the model learns less.",
            "(0, inf)",
        ),
    ] = None

    def check(self) -> None:
        """Raise `OptionError` if the length is said twice."""
        chosen = [name for name in _LENGTHS if getattr(self, name) is not None]
        if len(chosen) > 1:
            got = " and ".join(f"{getattr(self, name):g}" for name in chosen)
            names = f"{field('epochs')}, {field('updates')} or {field('minutes')}"
            raise OptionError(
                f"one of {names} says how long to train, got {got}", "leave the others out"
            )

    @property
    def length(self) -> dict[str, float | None] | None:
        """The three, if one of them is given."""
        lengths = {name: getattr(self, name) for name in _LENGTHS}
        return lengths if any(value is not None for value in lengths.values()) else None


_LENGTHS = ("epochs", "updates", "minutes")


@options
class TrainingOptions(LengthOptions):
    """The options of a `Trainer`.

    With `epochs` or `updates` a run is a function of its options and data: interrupted and resumed,
    it ends with the same bits. With `minutes` it is not, because no two runs see the same clock.
    """

    budget: ClassVar[Budget | None] = Budget(epochs=10)
    before: ClassVar[Mapping[str, Any]] = {"select": "loss"}

    select: Annotated[
        str | None,
        Option(
            f"Metric on the held-out part that chooses the weights to keep; {LAST} keeps the last "
            "ones, averaged.",
            metavar="NAME",
            absent=f"the task's own, or {LAST} where fewer than {FEWEST} examples are held out",
        ),
    ] = None
    start_from: Annotated[
        str | None,
        Option(
            "Run of the same task and model whose weights and vocabulary to start from.",
            metavar="RUN",
            convert=absolute,
        ),
    ] = None
    device: Device = None
    batch_size: Annotated[
        int, Option("Examples in each update, those of all processes together.", within="[1, inf)")
    ] = 32
    accumulate: Annotated[
        int,
        Option(
            "Parts that the examples of an update are read in, one after the other: the same "
            "update in less memory.",
            within="[1, inf)",
            metavar="N",
        ),
    ] = 1
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
    precision: Annotated[
        str,
        Option(
            f"What training computes in. With {BFLOAT16} the factors of products are rounded to "
            "it; weights, sums and losses are float32. It is faster where the processor multiplies "
            "such numbers (AVX512-BF16).",
            choices=("float32", BFLOAT16),
        ),
    ] = "float32"
    clip_norm: Annotated[
        float | None, Option("Clip gradients to this norm.", within="(0, inf)", absent="never")
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
        """Raise `OptionError` if an update has fewer examples than parts."""
        super().check()
        if self.accumulate > self.batch_size:
            message = f"{field('accumulate')} must be at most {field('batch_size')}"
            raise OptionError(
                f"{message}, {self.batch_size}, got {self.accumulate}",
                f"it is how many parts the examples of an update are read in: {field('batch_size')}"
                " has all of them",
            )

    def settled(self, updates_per_epoch: int, budget: Budget | None = None) -> Self:
        """Return the options with one of the three lengths, for data of this size.

        Args:
            updates_per_epoch: In one pass over the training data.
            budget: Where none is given; None for that of the class.
        """
        budget = budget or self.budget
        if self.length is not None or budget is None:
            return self
        return replace(self, **budget.length_for(updates_per_epoch))
