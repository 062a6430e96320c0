"""Several processes on one training, started by torchrun: what they share and how they agree.

The engine is PyTorch's own (`torch.distributed` with gloo, `DistributedDataParallel`). Here is only
what a trainer asks of it, for one process as for many. The run's folder is one that all can read.
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["ALONE", "Processes", "initialize_distributed"]

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of one training, seen from one of them.

    Args:
        rank: This process, from 0. The first one writes the run's folder and talks to the user.
        world_size: How many there are.
        local_rank: This process among those of its computer, from 0.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return `model` with the first process's weights, and gradients averaged over all."""
        if self.world_size == 1:
            return model
        return DistributedDataParallel(model)

    def sum(self, *values: float) -> list[float]:
        """Return each value summed over the processes, in float64."""
        if self.world_size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, by rank, in the first; nothing in the others."""
        if self.world_size == 1:
            return [value]
        values: list[T] | None = [value] * self.world_size if self.is_first else None
        dist.gather_object(value, values)
        return values or []

    def from_first(self, compute: Callable[[], T]) -> T:
        """Return what `compute()` returns in the first process, or raise what it raises there."""
        if self.world_size == 1:
            return compute()
        outcome: list[Any] = [None, None]  # the result, the exception
        if self.is_first:
            try:
                outcome[0] = compute()
            except Exception as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome)
        result: T = outcome[0]
        if outcome[1] is not None:
            raise outcome[1]
        return result


ALONE = Processes()
"""The only process."""


@contextmanager
def initialize_distributed() -> Iterator[Processes]:
    """Join the processes that torchrun started this one with; without torchrun it is alone.

    Example:
        >>> with initialize_distributed() as processes:
        ...     processes.sum(1.0, 2.0)
        [1.0, 2.0]
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield ALONE
        return
    dist.init_process_group("gloo")
    try:
        yield Processes(dist.get_rank(), world_size, int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        # A DistributedDataParallel in a reference cycle would keep the group until the interpreter
        # is gone, and with it gloo's threads, which then abort the process.
        gc.collect()
        dist.destroy_process_group()
