"""What is due when: the learning rate of each update, the evaluations, the checkpoints, the end.

All of it is arithmetic on how far a run has come (`Progress`), so that a resumed run decides as
the uninterrupted one did. Not here: doing any of it (`trainer.py`).
"""

import math
from dataclasses import dataclass

from unrolled.training.options import TrainingOptions

__all__ = ["Progress", "Schedule", "learning_rate_factor"]


@dataclass
class Progress:
    """How far a run has come: plain numbers, saved in every checkpoint."""

    update: int = 0
    elapsed_seconds: float = 0.0
    # evaluation and early stopping
    evaluated_update: int | None = None
    evaluated_seconds: float = 0.0
    evaluation_seconds: float = 0.0  # how long the last one took
    evaluations_seconds: float = 0.0  # how long all of them took
    best_loss: float = math.inf  # held out
    best_figure: float | None = None  # of the metric that chooses, at the same evaluation
    top_figure: float | None = None  # the best of any evaluation
    best_update: int | None = None
    evaluations_without_improvement: int = 0
    improvements_in_a_row: int = 0
    kept_update: int | None = None  # of the weights in the run's folder
    # since the last line of the log
    loss_sum: float = 0.0
    count: int = 0
    training_seconds: float = 0.0
    # the last update's loss; when the last checkpoint was made
    last_loss: float | None = None
    checkpoint_seconds: float = 0.0

    @property
    def trained_seconds(self) -> float:
        """The time since the start that no evaluation took."""
        return self.elapsed_seconds - self.evaluations_seconds


def learning_rate_factor(done: float, warmup: float) -> float:
    """Return the part of the peak learning rate that is due when `done` of the run is, in [0, 1].

    A line from 0 to 1 during the warm-up, half a cosine from 1 to 0 during the rest.

    >>> [round(learning_rate_factor(done, warmup=0.2), 3) for done in (0.1, 0.2, 0.6, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if done < warmup:
        return done / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


class Schedule:
    """When a run with these options does what.

    Args:
        options: Of the run.
        updates_per_epoch: Updates in one pass over the training data.
    """

    def __init__(self, options: TrainingOptions, updates_per_epoch: int) -> None:
        self.options = options
        self.updates_per_epoch = updates_per_epoch
        self.total_updates = options.updates
        if options.epochs is not None:
            self.total_updates = max(1, round(options.epochs * updates_per_epoch))

    def done(self, progress: Progress, updates: float = 0.0) -> float:
        """Return the part of the run that is done, in [0, 1], `updates` from now."""
        if self.total_updates is not None:
            return min(1.0, (progress.update + updates) / self.total_updates)
        left = self._budget_seconds - progress.elapsed_seconds - progress.evaluation_seconds
        if left <= 0:  # what is left goes to the last evaluation
            return 1.0
        trained = progress.trained_seconds  # not elapsed: the first evaluation is no warm-up
        return trained / (trained + left)

    def seconds_left(self, progress: Progress) -> float:
        """Return how long the run will go on, evaluations included; with epochs, an estimate."""
        if self.total_updates is None:
            return max(0.0, self._budget_seconds - progress.elapsed_seconds)
        interval, update = self._updates_between_evaluations, progress.update
        evaluations = 1 + -(-self.total_updates // interval) - -(-update // interval)
        updates = self.total_updates - update
        training = progress.trained_seconds / max(1, update) * updates
        return training + evaluations * progress.evaluation_seconds

    def learning_rate(self, progress: Progress) -> float:
        """Return the learning rate of the next update: the schedule's value at its middle."""
        done = self.done(progress, updates=0.5)
        return self.options.learning_rate * learning_rate_factor(done, self.options.warmup)

    def evaluation_due(self, progress: Progress) -> bool:
        """Whether the model is to be evaluated before the next update."""
        if progress.evaluated_update == progress.update:
            return False
        if progress.evaluated_update is None or self.done(progress) == 1.0:
            return True
        if self.options.evaluate_every is not None or self.total_updates is not None:
            return progress.update % self._updates_between_evaluations == 0
        interval = max(self._budget_seconds / 10, 9 * progress.evaluation_seconds)
        return progress.elapsed_seconds - progress.evaluated_seconds >= interval

    def log_due(self, progress: Progress) -> bool:
        """Whether the update just made is to be logged."""
        return progress.update % self.options.log_every == 0 or self.done(progress) == 1.0

    def checkpoint_due(self, progress: Progress) -> bool:
        """Whether the last checkpoint is old enough."""
        age = progress.elapsed_seconds - progress.checkpoint_seconds
        return age >= self.options.checkpoint_every_seconds

    def out_of_patience(self, progress: Progress) -> bool:
        """Whether the held-out loss has not improved for too long."""
        patience = self.options.patience
        return patience is not None and progress.evaluations_without_improvement >= patience

    def ended(self, progress: Progress) -> bool:
        """Whether there is nothing left to do: all done and evaluated, or out of patience."""
        evaluated = progress.evaluated_update == progress.update
        return self.out_of_patience(progress) or (evaluated and self.done(progress) == 1.0)

    @property
    def _updates_between_evaluations(self) -> int:
        if self.options.evaluate_every is not None:
            return self.options.evaluate_every
        assert self.total_updates is not None
        return max(-(-self.total_updates // 10), -(-self.updates_per_epoch // 2))

    @property
    def _budget_seconds(self) -> float:
        assert self.options.minutes is not None
        return 60 * self.options.minutes
