"""What a model is trained for: where the loss of each update comes from, and what is held out.

The trainer knows tasks by this protocol alone.
"""

from typing import Any, Protocol

from torch import Tensor, nn

__all__ = ["Objective"]


class Objective(Protocol):
    """What a `Trainer` asks of a task. Each process has its own, with its share of the data."""

    @property
    def updates_per_epoch(self) -> int:
        """Updates in one pass over the training data."""
        ...

    @property
    def num_held_out(self) -> int:
        """How many examples, or tokens of a text, are held out; with none, nothing is measured."""
        ...

    def num_judged(self, metric: str) -> int:
        """Return how many things a held-out figure counts, as the words of an accuracy."""
        ...

    @property
    def counted(self) -> tuple[str, float]:
        """What speeds are counted in, "characters", and how many of them a term of the loss has."""
        ...

    def next_loss(self, model: nn.Module) -> tuple[Tensor, int]:
        """Return the sum of the losses of the next batch, in nats, and of how many (tokens).

        With `accumulate`, of its next part: an update makes so many calls, each with its backward
        pass, and the place in the data is asked for between updates only.
        """
        ...

    def train_metrics(self, loss: float) -> dict[str, float]:
        """Return what else the log is to say of a mean training loss."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return figures on held-out data, "loss" among them, a mean in nats."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the data, in plain tensors and numbers."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the place that `state_dict` described."""
        ...
