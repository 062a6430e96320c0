"""What happens inside layers while somebody looks: every named value of every step.

Recorded, as numbers; or watched, as tensors of the graph that gradients flow through. Nothing is
computed twice, and nothing at all unless it is asked for. How it is shown is the business of
`inspection`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.layers.lengths import Packing

__all__ = [
    "Record",
    "Watched",
    "is_recording",
    "is_watching",
    "record",
    "recording",
    "watch",
    "watching",
]


@dataclass(frozen=True)
class Record:
    """One layer in one direction over one batch.

    Args:
        module: The layer that ran.
        layer: Which one of a stack it is, from 0.
        reverse: Whether it read backwards.
        values: Gates, candidates and states by the names in the cell's equations, (T, B, H) each;
            zero where a row has ended. With `proj_size`, h is the output before its projection.
        lengths: The number of steps of each row, (B,).
    """

    module: nn.Module
    layer: int
    reverse: bool
    values: dict[str, Tensor]
    lengths: Tensor


@dataclass(frozen=True)
class Watched:
    """One layer in one direction over one batch of even length, as tensors of a graph.

    Args:
        module: The layer that ran.
        layer: Which one of a stack it is, from 0.
        reverse: Whether it read backwards.
        input: What it read, (T, B, I) or packed (T * B, I); its graph begins there or earlier.
        steps: By the number of a step all that the cell returned by name, (B, H) each; empty for
            layers without states.
    """

    module: nn.Module
    layer: int
    reverse: bool
    input: Tensor
    steps: dict[int, dict[str, Tensor]]


_records: ContextVar[list[Record] | None] = ContextVar("records", default=None)
_watched: ContextVar[list[Watched] | None] = ContextVar("watched", default=None)


@contextmanager
def recording() -> Iterator[list[Record]]:
    """Give a list to which every recurrent layer that runs inside the block adds its `Record`s.

    No gradients are kept inside.
    """
    records: list[Record] = []
    token = _records.set(records)
    try:
        with torch.no_grad():
            yield records
    finally:
        _records.reset(token)


def is_recording() -> bool:
    """Whether what is run now is being recorded."""
    return not torch.compiler.is_compiling() and _records.get() is not None


def record(
    module: nn.Module, layer: int, reverse: bool, packing: Packing, named: dict[str, Tensor]
) -> None:
    """Add the named values (N, H) of one layer in one direction to what is being recorded."""
    records = _records.get()
    assert records is not None
    device = next(iter(named.values())).device
    sizes = torch.tensor(list(packing.batch_sizes), dtype=torch.int64, device=device)
    rows = torch.arange(packing.batch_size, device=device)
    lengths = (sizes[:, None] > rows).sum(0)

    step, row = (rows < sizes[:, None]).nonzero(as_tuple=True)

    def in_batch(values: Tensor) -> Tensor:
        padded = values.new_zeros(packing.num_steps, packing.batch_size, values.shape[1])
        padded[step, row] = values
        return packing.unsort(padded)

    values = {name: in_batch(value) for name, value in named.items()}
    lengths = packing.unsort(lengths[:, None])[:, 0]
    records.append(Record(module, layer, reverse, values, lengths))


@contextmanager
def watching() -> Iterator[list[Watched]]:
    """Give a list to which every layer that runs inside the block adds its `Watched`.

    Recurrent layers run on the reference loop inside, which keeps each step of the graph.
    """
    watched: list[Watched] = []
    token = _watched.set(watched)
    try:
        with torch.enable_grad():
            yield watched
    finally:
        _watched.reset(token)


def is_watching() -> bool:
    """Whether what is run now is being watched."""
    return not torch.compiler.is_compiling() and _watched.get() is not None


def watch(
    module: nn.Module, layer: int, reverse: bool, input: Tensor
) -> tuple[Tensor, dict[int, dict[str, Tensor]]]:
    """Add a layer to what is being watched.

    Returns:
        `input` as the layer must read it, with a gradient, and its steps, to be filled.
    """
    watched = _watched.get()
    assert watched is not None
    if not input.requires_grad:
        input = input.detach().requires_grad_()
    steps: dict[int, dict[str, Tensor]] = {}
    watched.append(Watched(module, layer, reverse, input, steps))
    return input, steps
