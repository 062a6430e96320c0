"""How long and how fast to train: the options that every task shares, checked when they are made.

Not here: what belongs to the data or to the model; each task has its own options for those.
"""

import math
from dataclasses import dataclass

from unrolled.errors import OptionError, require

__all__ = ["TrainingOptions"]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The options of a `Trainer`. Exactly one of `epochs` and `minutes` says how long it runs.

    With `epochs` a run is a function of its options and data: interrupted and resumed, it ends with
    the same bits. With `minutes` it is not, because no two runs see the same clock.

    Args:
        epochs: Passes over the training data; 0.5 is half a pass.
        minutes: Time to train in, evaluations included.
        learning_rate: The peak, reached at the end of the warm-up.
        warmup: Part of the run, in [0, 1), in which the learning rate rises from 0 in a line;
            afterwards it falls to 0 along half a cosine.
        weight_decay: AdamW's, applied to matrices and not to vectors.
        clip_norm: Longest gradient that is not shortened; None never shortens.
        evaluate_every: Updates between two evaluations. None evaluates about ten times a run:
            with epochs no more than twice an epoch, with minutes in at most a tenth of the time.
            The start and the end are always evaluated.
        patience: Evaluations in a row without a new best before the run ends; None never ends it.
        seed: Of the initial weights and of dropout.
        log_every: Updates between two lines of the log.
        checkpoint_every_seconds: Seconds between two checkpoints.
    """

    epochs: float | None = None
    minutes: float | None = None
    learning_rate: float = 8e-3
    warmup: float = 0.02
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    evaluate_every: int | None = None
    patience: int | None = None
    seed: int = 0
    log_every: int = 10
    checkpoint_every_seconds: float = 30.0

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.minutes is None):
            got = f"epochs={self.epochs} and minutes={self.minutes}"
            raise OptionError(f"training needs either epochs or minutes, got {got}")
        for name in ("epochs", "minutes", "learning_rate", "clip_norm", "checkpoint_every_seconds"):
            value = getattr(self, name)
            if value is not None:
                require(0 < value < math.inf, name, "a number above 0", value)
        for name in ("evaluate_every", "patience", "log_every"):
            value = getattr(self, name)
            if value is not None:
                require(value >= 1, name, "at least 1", value)
        require(0 <= self.warmup < 1, "warmup", "a part of the run, in [0, 1)", self.warmup)
        require(0 <= self.weight_decay < math.inf, "weight_decay", "at least 0", self.weight_decay)
        require(0 <= self.seed < 2**63, "seed", "in [0, 2**63)", self.seed)
