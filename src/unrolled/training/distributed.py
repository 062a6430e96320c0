"""Several processes on one training, started by torchrun: what they share and how they agree.

The engine is PyTorch's own (`torch.distributed` with gloo, `DistributedDataParallel`). Here is only
what a trainer asks of it, for one process as for many. The first process alone reads and writes the
run's folder, and tells the others what is in it: they may be computers without a disk in common.
"""

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["ALONE", "Processes", "initialize_distributed", "num_sharing", "share", "share_rows"]

T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Processes:
    """The processes of one training, seen from one of them.

    Args:
        rank: This process, from 0. The first one writes the run's folder and talks to the user.
        world_size: How many there are.
        local_rank: This process among those of its computer, from 0.
        may_restart: Whether torchrun starts all of them again, or has, when one of them dies.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    may_restart: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return `model` with the first process's weights, and gradients averaged over all."""
        if self.world_size == 1:
            return model
        return DistributedDataParallel(model)

    @staticmethod
    def apart(model: nn.Module) -> AbstractContextManager[None]:
        """Keep the gradients of what `parallel` returned to this process inside the `with` block.

        They are averaged with those of the first backward pass after it.
        """
        if isinstance(model, DistributedDataParallel):
            return model.no_sync()
        return nullcontext()

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

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Have `share` divide its items among the processes inside the `with` block.

        Every process enters it, and does the same there.
        """
        token = _sharing.set(self)
        try:
            yield
        finally:
            _sharing.reset(token)


ALONE = Processes()
"""The only process."""

_sharing: ContextVar[Processes] = ContextVar("sharing", default=ALONE)


def num_sharing() -> int:
    """Return the number of processes that `share` divides its items among, here and now."""
    return _sharing.get().world_size


def share(compute: Callable[[Item], T], items: Iterable[Item]) -> Iterator[T]:
    """Yield `compute(item)` for every item, in order: inside `Processes.sharing`, from all of them.

    Each process computes one of so many items as there are processes, and yields all results:
    those that one process alone would, wherever an item's result depends on it alone. Results are
    sent to the others, so they lie on the CPU.

    Raises:
        Exception: What `compute` raises in any of the processes.

    Example:
        >>> list(share(str.upper, ["a", "b"]))
        ['A', 'B']
    """
    processes = _sharing.get()
    if processes.world_size == 1:
        yield from map(compute, items)
        return
    all_items = list(items)
    for start in range(0, len(all_items), processes.world_size):
        outcome: tuple[Any, Exception | None] = None, None
        if start + processes.rank < len(all_items):
            try:
                outcome = compute(all_items[start + processes.rank]), None
            except Exception as error:
                outcome = None, error
        outcomes: list[Any] = [None] * processes.world_size
        dist.all_gather_object(outcomes, outcome)
        for result, failure in outcomes[: len(all_items) - start]:
            if failure is not None:
                raise failure
            yield result


def share_rows(
    compute: Callable[[list[int]], Sequence[T]], batches: Sequence[list[int]]
) -> list[T]:
    """Return what `compute` makes of each example, in the order of the examples, by `share`.

    Args:
        compute: Makes of the indices of a batch a row for each.
        batches: The indices of all examples, in any order.

    Example:
        >>> share_rows(lambda batch: [f"of {index}" for index in batch], [[1, 2], [0]])
        ['of 0', 'of 1', 'of 2']
    """
    rows: dict[int, T] = {}
    for batch, computed in zip(batches, share(compute, batches), strict=True):
        rows.update(zip(batch, computed, strict=True))
    return [rows[index] for index in range(len(rows))]


@contextmanager
def initialize_distributed() -> Iterator[Processes]:
    """Join the processes that torchrun started this one with; without torchrun it is alone.

    Example:
        >>> with initialize_distributed() as processes:
        ...     processes.sum(1.0, 2.0)
        [1.0, 2.0]
    """
    world_size, local_rank, most_restarts = (
        int(os.environ.get(name, default))
        for name, default in (
            ("WORLD_SIZE", "1"),
            ("LOCAL_RANK", "0"),
            ("TORCHELASTIC_MAX_RESTARTS", "0"),
        )
    )
    if world_size == 1:
        yield Processes(may_restart=most_restarts > 0)
        return
    # Its functions have the group as a default argument. DistributedDataParallel imports it: were a
    # group there by then, that one and gloo's threads would outlive the interpreter, which aborts
    # the process now and then.
    import_module("torch.distributed.nn.functional")
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        _join_those_of_this_start()
    else:
        dist.init_process_group("gloo")
    try:
        yield Processes(dist.get_rank(), world_size, local_rank, most_restarts > 0)
    finally:
        # A DistributedDataParallel in a reference cycle would keep the group, and gloo's threads.
        gc.collect()
        dist.destroy_process_group()


def _join_those_of_this_start() -> None:
    """Make the group under a name of its own after every start.

    torchrun on one computer keeps one store for all starts: a process that is faster than the
    others would find there the addresses of those that have died.
    """
    from torch._C._distributed_c10d import PrefixStore  # not in every build of torch
    from torch.distributed.rendezvous import rendezvous

    store, rank, world_size = next(rendezvous("env://"))
    named = PrefixStore(f"start-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group("gloo", store=named, rank=rank, world_size=world_size)
