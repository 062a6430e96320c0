"""What happens inside recurrent layers while somebody looks: every named value of every step.

Nothing is computed twice, and nothing at all unless it is asked for. How the values are shown is
the business of `inspection`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.layers.lengths import Packing

__all__ = ["Record", "is_recording", "record", "recording"]


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


_records: ContextVar[list[Record] | None] = ContextVar("records", default=None)


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
