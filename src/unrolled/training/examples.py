"""Training on separate examples, in batches of about the same length.

What an example is, and its loss, is the learner's part. Not for one long text: that is walked
through by `tasks/lm/tbptt.py`.
"""

from array import array
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn

from unrolled.data.batching import shuffled_batches
from unrolled.networks.modes import evaluating
from unrolled.training.distributed import ALONE, Processes

__all__ = ["ExamplesObjective", "Learner"]

Example = TypeVar("Example")


class Learner(Protocol[Example]):
    """What an `ExamplesObjective` asks of a task."""

    def length(self, example: Example) -> int:
        """Return the steps of an example."""
        ...

    def epoch(self, training: Sequence[Example], number: int) -> Sequence[Example]:
        """Return the examples of one pass, as many as there are in `training`."""
        ...

    def loss(self, model: nn.Module, examples: Sequence[Example]) -> tuple[Tensor, int]:
        """Return the sum of the losses of a batch, and of how many."""
        ...

    def monitored(self, examples: Sequence[Example]) -> Sequence[Example]:
        """Return those of the examples that tell all figures of `monitor` but the loss."""
        ...

    def num_judged(self, metric: str, examples: Sequence[Example]) -> int:
        """Return how many things of these examples the figure called `metric` counts."""
        ...

    def monitor(self, model: nn.Module, examples: Sequence[Example]) -> dict[str, float]:
        """Return metrics; "loss" is the mean that `loss` has a sum of."""
        ...


class ExamplesObjective(Generic[Example]):
    """A learner's examples, pass after pass, each in an order that its number decides.

    Args:
        learner: What an example is.
        training: Learned from.
        held_out: Measured on.
        terms: What a term of the loss is called: "words".
        batch_size: Examples in a batch, over all processes.
        seed: Of the order.
        processes: Those that share each batch.
        accumulate: Parts that a process reads its share of a batch in.
    """

    def __init__(
        self,
        learner: Learner[Example],
        training: Sequence[Example],
        held_out: Sequence[Example],
        *,
        terms: str,
        batch_size: int,
        seed: int,
        processes: Processes = ALONE,
        accumulate: int = 1,
    ) -> None:
        self.learner = learner
        self.training = training
        self.held_out = held_out
        self.counted = (terms, 1.0)
        self.batch_size = batch_size
        self.seed = seed
        self.processes = processes
        self.accumulate = accumulate
        self._epoch = self._position = self._part = 0
        self._examples = training
        self._batches: Sequence[Sequence[int]] = []
        self._go_to(epoch=0, position=0)

    @property
    def updates_per_epoch(self) -> int:
        """Batches in one pass."""
        return -(-len(self.training) // self.batch_size)

    @property
    def num_held_out(self) -> int:
        """Examples that are measured on."""
        return len(self.held_out)

    def num_judged(self, metric: str) -> int:
        """Return how many things a figure counts of the held-out examples that tell it."""
        return self.learner.num_judged(metric, self.learner.monitored(self.held_out))

    def next_loss(self, model: nn.Module) -> tuple[Tensor, int]:
        """Return the sum of the losses of the next part of this process's share, and their count.

        Where a batch has fewer examples than there are parts of all processes, some read one that
        others have, as gradients are averaged over all, and do not count it.
        """
        if self._position == len(self._batches):
            self._go_to(self._epoch + 1, 0)
        batch = self._batches[self._position]
        first = self.processes.rank * self.accumulate + self._part
        mine = batch[first :: self.processes.world_size * self.accumulate]
        self._part += 1
        if self._part == self.accumulate:
            self._position, self._part = self._position + 1, 0
        if not mine:
            loss, _ = self.learner.loss(model, [self._examples[batch[0]]])
            return loss * 0, 0
        return self.learner.loss(model, [self._examples[index] for index in mine])

    def train_metrics(self, loss: float) -> dict[str, float]:  # noqa: ARG002  # the loss says it
        """Return nothing: the loss says it."""
        return {}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return the learner's metrics on the held-out examples, in eval mode: without dropout."""
        with evaluating(model):
            return self.learner.monitor(model, self.held_out)

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the data."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the place that `state_dict` described."""
        self._go_to(**state)

    def _go_to(self, epoch: int, position: int) -> None:
        self._epoch, self._position, self._part = epoch, position, 0
        self._examples = self.learner.epoch(self.training, epoch)
        lengths = array("q", map(self.learner.length, self._examples))
        self._batches = shuffled_batches(lengths, self.batch_size, f"{self.seed}-{epoch}")
