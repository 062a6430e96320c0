"""Who is told how a training goes. The command line has its own; the default is silent."""

from collections.abc import Mapping
from typing import Protocol

__all__ = ["NullReporter", "Reporter"]


class Reporter(Protocol):
    """What a `Trainer` calls while it trains, in the first process only.

    A reporter may use the model, but leaves the global random generators and the model's mode as
    they were: otherwise a resumed run would no longer repeat the uninterrupted one.
    """

    def on_log(self, metrics: Mapping[str, float]) -> None:
        """Take the measurements of the last few updates: a `train` line of metrics.jsonl.

        Beside update, epoch, loss, gradient_norm, learning_rate, elapsed_seconds
        and tokens_per_second there are `done`, the part of the run that is done, in [0, 1], and
        `seconds_left`, an estimate that the file does not keep.
        """
        ...

    def on_evaluation(self, metrics: Mapping[str, float], improved: bool | None) -> None:
        """Take the measurements on held-out data, and whether they are the best so far.

        None where the last weights are kept, whichever are the best.
        """
        ...

    def on_message(self, message: str) -> None:
        """Take a sentence that the user should read."""
        ...


class NullReporter:
    """A reporter that keeps everything to itself."""

    def on_log(self, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def on_evaluation(self, metrics: Mapping[str, float], improved: bool | None) -> None:
        """Do nothing."""

    def on_message(self, message: str) -> None:
        """Do nothing."""
