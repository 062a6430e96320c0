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

from unrolled.layers.lengths import Packing, valid_steps

__all__ = [
    "Record",
    "Watched",
    "is_recording",
    "is_watching",
    "record",
    "record_level",
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
            Of a convolutional layer its output, "y".
        lengths: The number of steps of each row, (B,).
        input: What it read, (T, B, I); zero where a row has ended.
        initial: The states before the first step by name, (B, H) each; with `proj_size`, h is the
            projected one. Of a convolutional layer empty.
        receptive_field: How many steps of the whole network's input a value depends on; None
            where that is all that came before.
    """

    module: nn.Module
    layer: int
    reverse: bool
    values: dict[str, Tensor]
    lengths: Tensor
    input: Tensor
    initial: dict[str, Tensor]
    receptive_field: int | None = None


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
    module: nn.Module,
    layer: int,
    reverse: bool,
    packing: Packing,
    input: Tensor,
    initial: dict[str, Tensor],
    named: dict[str, Tensor],
) -> None:
    """Add a layer in one direction to what is being recorded.

    Args:
        module: The layer.
        layer: Its number.
        reverse: Whether it reads backwards.
        packing: How the rows lie in `input` and `named`.
        input: (N, I).
        initial: The states before the first step, (B, H) each, sorted as the rows are.
        named: The values of all steps, (N, H) each.
    """
    sizes = torch.tensor(list(packing.batch_sizes), dtype=torch.int64, device=input.device)
    rows = torch.arange(packing.batch_size, device=input.device)
    lengths = (sizes[:, None] > rows).sum(0)

    step, row = (rows < sizes[:, None]).nonzero(as_tuple=True)

    def in_batch(values: Tensor) -> Tensor:
        padded = values.new_zeros(packing.num_steps, packing.batch_size, values.shape[1])
        padded[step, row] = values
        return packing.unsort(padded)

    values = {name: in_batch(value) for name, value in named.items()}
    before = {name: packing.unsort(state) for name, state in initial.items()}
    lengths = packing.unsort(lengths[:, None])[:, 0]
    _add(Record(module, layer, reverse, values, lengths, in_batch(input), before))


def record_level(
    module: nn.Module,
    level: int,
    receptive_field: int,
    input: Tensor,
    output: Tensor,
    lengths: Tensor | None,
) -> None:
    """Add a convolutional layer to what is being recorded.

    Args:
        module: The layer.
        level: Its number.
        receptive_field: How many steps of the network's input its output depends on.
        input: (T, B, I).
        output: (T, B, H).
        lengths: (B,); all steps if None.
    """
    num_steps, batch_size = output.shape[:2]
    if lengths is None:
        lengths = torch.full((batch_size,), num_steps, device=output.device)
    padding = ~valid_steps(lengths, num_steps)[:, :, None]
    read, written = input.masked_fill(padding, 0.0), output.masked_fill(padding, 0.0)
    _add(Record(module, level, False, {"y": written}, lengths, read, {}, receptive_field))


def _add(found: Record) -> None:
    records = _records.get()
    assert records is not None
    records.append(found)


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
