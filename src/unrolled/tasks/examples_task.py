"""What tasks on separate examples share: batches, their loss, what is measured during training."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unrolled.data.batching import batches_by_length
from unrolled.tasks.task import Example, Splits, Task
from unrolled.training import ExamplesObjective, Objective, Processes, share

__all__ = ["ExamplesTask"]

_EVALUATION_BATCH = 64


class ExamplesTask(Task[Example]):
    """A task on separate examples, in batches of about the same length."""

    terms: ClassVar[str] = "examples"
    """What the loss is a mean over, in the plural."""
    most_monitored: ClassVar[int | None] = None
    """Examples that tell, during training, all figures but the loss: a search takes its time."""

    @classmethod
    def files(cls, data: Any) -> list[Path]:
        """Return the file of the data, and those of parts that have their own."""
        return [Path(data.file), *data.part_files]

    @abstractmethod
    def length(self, example: Example) -> int:
        """Return the steps of an example: batches are of about the same length."""

    @abstractmethod
    def loss(self, model: nn.Module, examples: Sequence[Example]) -> tuple[Tensor, int]:
        """Return the sum of the losses of a batch, in nats, and of how many."""

    def epoch(self, training: Sequence[Example], number: int) -> Sequence[Example]:  # noqa: ARG002
        """Return the examples of pass `number`, as many as `training` has: the same each time."""
        return training

    def evaluate(self, model: nn.Module, examples: Sequence[Example]) -> dict[str, Any]:
        """Return the loss, a mean in nats, and whatever else is worth keeping."""
        return {"loss": self.mean_loss(model, examples)}

    def monitored(self, examples: Sequence[Example]) -> Sequence[Example]:
        """Return those of the examples that tell, during training, all figures but the loss."""
        return examples[:: max(1, -(-len(examples) // (self.most_monitored or len(examples) or 1)))]

    def num_judged(self, metric: str, examples: Sequence[Example]) -> int:  # noqa: ARG002
        """Return how many things of these examples a figure counts: the examples themselves."""
        return len(examples)

    def monitor(self, model: nn.Module, examples: Sequence[Example]) -> dict[str, float]:
        """Return what is measured during training: each figure that ranks, the loss among them.

        The model is in eval mode.
        """
        some = self.monitored(examples)
        figures = self.evaluate(model, some)
        if len(some) < len(examples):
            figures["loss"] = self.mean_loss(model, examples)
        names = [metric.name for metric in self.metrics if metric.better]
        return {name: figures[name] for name in names if figures.get(name) is not None}

    def objective(self, splits: Splits[Example], processes: Processes) -> Objective:
        """Return the training examples, pass after pass, in batches."""
        training = self.options.training
        return ExamplesObjective(
            self,
            splits.training,
            splits.held_out,
            terms=self.terms,
            batch_size=training.batch_size,
            seed=training.seed,
            processes=processes,
            accumulate=training.accumulate,
        )

    def in_batches(
        self, examples: Sequence[Example], batch_size: int = _EVALUATION_BATCH
    ) -> Iterator[list[int]]:
        """Yield the indices of all examples in batches of about the same length."""
        yield from batches_by_length([self.length(example) for example in examples], batch_size)

    def mean_loss(self, model: nn.Module, examples: Sequence[Example]) -> float:
        """Return the mean of `loss` over examples, summed in float64; NaN where none counts."""

        def loss_of(batch: list[int]) -> tuple[float, int]:
            loss, terms = self.loss(model, [examples[index] for index in batch])
            return loss.item(), terms

        total, count = 0.0, 0
        with torch.inference_mode():
            for loss, terms in share(loss_of, self.in_batches(examples)):
                total, count = total + loss, count + terms
        return total / count if count else math.nan
