"""What an update changes: a model, the average of its weights, and the optimizer.

The loop around updates is in `trainer.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from unrolled.training.distributed import Processes
from unrolled.training.objective import Objective
from unrolled.training.optimizer import adamw, average_of
from unrolled.training.options import TrainingOptions
from unrolled.training.precision import in_precision

__all__ = ["Learner", "Losses"]


@dataclass(frozen=True)
class Losses:
    """The losses of what one process has read of an update.

    Args:
        last: Their sum over the last part, through which nobody has gone backward yet.
        before: Their sum over the parts before it.
        count: Of how many they are.
    """

    last: Tensor
    before: float
    count: int

    @property
    def sum(self) -> float:
        """The sum over all parts."""
        return self.last.item() + self.before


class Learner:
    """A model while it learns.

    Args:
        model: Trained in place.
        options: How fast, and in how many parts.
        processes: With several, the model's gradients are averaged over them.
    """

    def __init__(self, model: nn.Module, options: TrainingOptions, processes: Processes) -> None:
        self.model, self.options, self.processes = model, options, processes
        self.optimizer = adamw(model, options)
        self._averaged = average_of(model)
        self._parallel_model = model

    @property
    def average(self) -> nn.Module:
        """The model with the averaged weights."""
        return self._averaged.module

    def begin(self) -> None:
        """Make the model ready for updates, over all processes and in its precision."""
        self.model.train()
        in_its_precision = in_precision(self.model, self.options.precision)
        self._parallel_model = self.processes.parallel(in_its_precision)

    def end(self) -> None:
        """Give up what `begin` made."""
        self._parallel_model = self.model

    def read(self, objective: Objective) -> Losses:
        """Read the examples of an update here, and go backward through all parts but the last one.

        The mean of the losses is known before the last gradients are.
        """
        self.optimizer.zero_grad()
        before, count = 0.0, 0
        for _ in range(self.options.accumulate - 1):
            with self.processes.apart(self._parallel_model):
                loss_sum, terms = objective.next_loss(self._parallel_model)
                loss_sum.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
            before, count = before + loss_sum.item(), count + terms
        loss_sum, terms = objective.next_loss(self._parallel_model)
        return Losses(loss_sum, before, count + terms)

    def go_backward(self, losses: Losses, count: float) -> float:
        """Make the gradients those of the mean loss, and shorten them; return the norm before that.

        Args:
            losses: What `read` returned.
            count: Of how many all processes have read losses.
        """
        # the processes' gradients are averaged: this makes it that of the mean over all tokens
        weight = self.processes.world_size / count
        for parameter in self.model.parameters():
            if parameter.grad is not None:  # of the parts before the last one
                parameter.grad.mul_(weight)
        (losses.last * weight).backward()  # type: ignore[no-untyped-call]  # as above
        clip_norm = math.inf if self.options.clip_norm is None else self.options.clip_norm
        return nn.utils.clip_grad_norm_(self.model.parameters(), clip_norm).item()

    def step(self, learning_rate: float) -> None:
        """Move the weights, and their average."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self._averaged.update_parameters(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "model": self.model.state_dict(),
            "average": self._averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, content: Mapping[str, Any]) -> None:
        """Go to where `state_dict` was called."""
        self.model.load_state_dict(content["model"])
        self._averaged.load_state_dict(content["average"])
        self.optimizer.load_state_dict(content["optimizer"])
