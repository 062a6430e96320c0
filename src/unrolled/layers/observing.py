"""What happens inside layers while somebody looks: every named value of every step.

As numbers, in `Record`s, or as tensors of the graph that gradients flow through, in `GraphRecord`s.
Nothing is computed twice, and nothing at all unless it is asked for. How it is shown is the
business of `inspection`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unrolled.kernels import (
    GraphObserver,
    Observer,
    PaddedRows,
    RaggedRows,
    ValueObserver,
    among,
    steps_and_rows,
    valid_steps,
)

__all__ = [
    "GraphRecord",
    "Record",
    "is_observed",
    "observe_input",
    "observe_level",
    "observer_of",
    "observes_graph",
    "observes_values",
    "observing_graph",
    "observing_values",
    "watched",
]


@dataclass(frozen=True)
class Record:
    """One layer in one direction over one batch, as numbers.

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
        resets: Before which steps a row's states started anew, (T, B) of bool, the first step of a
            row aside, before which `initial` says it; None: before none.
        anew: The states that rows with such marks started anew with, (B, H) each.
        inputs: What it read beside that by the names in the equations, (T, B, H) each; zero where
            a row has ended.
    """

    module: nn.Module
    layer: int
    reverse: bool
    values: dict[str, Tensor]
    lengths: Tensor
    input: Tensor
    initial: dict[str, Tensor]
    receptive_field: int | None = None
    resets: Tensor | None = None
    anew: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return what was recorded and in which shapes: the numbers would fill pages."""
        values = ", ".join(f"{name} {tuple(value.shape)}" for name, value in self.values.items())
        way = ", reverse" if self.reverse else ""
        kind = type(self.module).__name__
        return f"Record({kind}, layer {self.layer}{way}: {values}; input {tuple(self.input.shape)})"


@dataclass(frozen=True)
class GraphRecord:
    """One layer in one direction over one batch of even length, as tensors of a graph.

    Args:
        module: The layer that ran.
        layer: Which one of a stack it is, from 0.
        reverse: Whether it read backwards.
        input: What it read, (T, B, I) or without padding (T * B, I); its graph begins there or
            earlier.
        steps: By the number of a step all that the cell returned by name, (B, H) each; empty for
            layers without states.
    """

    module: nn.Module
    layer: int
    reverse: bool
    input: Tensor
    steps: dict[int, dict[str, Tensor]]


_records: ContextVar[list[Record] | None] = ContextVar("records", default=None)
_graph_records: ContextVar[list[GraphRecord] | None] = ContextVar("graph_records", default=None)
_watchers: ContextVar[tuple[object, ...]] = ContextVar("watchers", default=())


@contextmanager
def observing_values() -> Iterator[list[Record]]:
    """Give a list to which every layer that runs inside the block adds its `Record`s.

    No gradients are kept inside.
    """
    records: list[Record] = []
    token = _records.set(records)
    try:
        with watched(), torch.no_grad():
            yield records
    finally:
        _records.reset(token)


@contextmanager
def observing_graph() -> Iterator[list[GraphRecord]]:
    """Give a list to which every layer that runs inside the block adds its `GraphRecord`s.

    Recurrent layers run on the reference loop inside, which keeps each step of the graph.
    """
    records: list[GraphRecord] = []
    token = _graph_records.set(records)
    try:
        with watched(), torch.enable_grad():
            yield records
    finally:
        _graph_records.reset(token)


def observes_values() -> bool:
    """Whether somebody looks at the numbers of what runs now."""
    return not torch.compiler.is_compiling() and _records.get() is not None


def watched() -> AbstractContextManager[None]:
    """Keep layers inside the block from all ways that give nothing but their results."""
    return among(_watchers, object())


def is_observed() -> bool:
    """Whether somebody looks at the numbers or the graph, or holds some; asked at every call."""
    return bool(_watchers.get())


def observes_graph() -> bool:
    """Whether somebody looks at the graph of what runs now."""
    return not torch.compiler.is_compiling() and _graph_records.get() is not None


# ---- Recurrent layers ----------------------------------------------------------------------------


def observer_of(
    module: nn.Module,
    layer: int,
    reverse: bool,
    names: tuple[str, ...],
    inputs: tuple[str, ...],
    rows: RaggedRows | PaddedRows,
) -> Observer | None:
    """Return who looks at a recurrent layer in one direction, if anybody does.

    Args:
        module: The layer.
        layer: Its number.
        reverse: Whether it reads backwards.
        names: The names of its states.
        inputs: Those of its inputs of a step.
        rows: How the rows lie in what it reads.
    """
    if isinstance(rows, PaddedRows):
        return None
    if (records := _records.get()) is not None:
        return _Recorder(records, module, layer, reverse, names, inputs, rows)
    if (graph_records := _graph_records.get()) is not None:
        return _GraphRecorder(graph_records, module, layer, reverse)
    return None


@dataclass(frozen=True)
class _Recorder(ValueObserver):
    """Adds a recurrent layer to the `records`."""

    records: list[Record]
    module: nn.Module
    layer: int
    reverse: bool
    names: tuple[str, ...]
    inputs: tuple[str, ...]  # of the cell's own, and none of what it is held at
    rows: RaggedRows

    def see(
        self,
        x: Tensor,
        inputs: dict[str, Tensor],
        states: tuple[Tensor, ...],
        values: dict[str, Tensor],
    ) -> None:
        rows = self.rows
        sizes = torch.tensor(list(rows.batch_sizes), dtype=torch.int64, device=x.device)
        step, row = steps_and_rows(sizes)

        def in_batch(flat: Tensor) -> Tensor:
            if rows.begins is not None:
                return rows.restore_padding(flat)
            padded = flat.new_zeros(rows.num_steps, rows.batch_size, flat.shape[1])
            padded[step, row] = flat
            return rows.unsort(padded)

        lengths, resets, anew = row.bincount(minlength=len(states[0])), None, {}
        named = dict(zip(self.names, states, strict=True))
        if rows.begins is None:
            lengths = rows.unsort(lengths[:, None])[:, 0]
        else:  # of pieces
            assert rows.order is not None
            lengths = lengths.new_zeros(rows.batch_size).index_add(0, rows.order, lengths)
            resets = in_batch((step == 0)[:, None])[:, :, 0]
            resets[0] = False
            fresh = torch.ones_like(rows.order, dtype=torch.bool)
            fresh[rows.begins] = False
            for name, state in named.items():
                of_rows = state.new_zeros(rows.batch_size, state.shape[1])
                anew[name] = of_rows.index_copy(0, rows.order[fresh], state[fresh])
        self.records.append(
            Record(
                self.module,
                self.layer,
                self.reverse,
                {name: in_batch(value) for name, value in values.items()},
                lengths,
                in_batch(x),
                {name: rows.starts(state) for name, state in named.items()},
                resets=resets,
                anew=anew,
                inputs={name: in_batch(inputs[name]) for name in self.inputs},
            )
        )


class _GraphRecorder(GraphObserver):
    """Adds a recurrent layer to the `records`, and its steps as they come."""

    def __init__(
        self, records: list[GraphRecord], module: nn.Module, layer: int, reverse: bool
    ) -> None:
        self._records, self._place = records, (module, layer, reverse)
        self._steps: dict[int, dict[str, Tensor]] = {}

    def input(self, x: Tensor) -> Tensor:
        x = _with_gradient(x)
        self._records.append(GraphRecord(*self._place, x, self._steps))
        return x

    def see(self, step: int, values: dict[str, Tensor]) -> None:
        self._steps[step] = values


# ---- Convolutional layers ------------------------------------------------------------------------


def observe_input(module: nn.Module, level: int, input: Tensor) -> Tensor:
    """Add a level without states to the graph that is observed; return `input` as it must read it.

    Args:
        module: The layer.
        level: Its number.
        input: (T, B, I).
    """
    records = _graph_records.get()
    assert records is not None
    input = _with_gradient(input)
    records.append(GraphRecord(module, level, False, input, {}))
    return input


def observe_level(
    module: nn.Module,
    level: int,
    receptive_field: int,
    input: Tensor,
    output: Tensor,
    lengths: Tensor | None,
) -> None:
    """Add a level without states to the values that are observed.

    Args:
        module: The layer.
        level: Its number.
        receptive_field: How many steps of the network's input its output depends on.
        input: (T, B, I).
        output: (T, B, H).
        lengths: (B,); all steps if None.
    """
    records = _records.get()
    assert records is not None
    num_steps, batch_size = output.shape[:2]
    if lengths is None:
        lengths = torch.full((batch_size,), num_steps, device=output.device)
    padding = ~valid_steps(lengths, num_steps)[:, :, None]
    values = {"y": output.masked_fill(padding, 0.0)}
    x = input.masked_fill(padding, 0.0)
    records.append(Record(module, level, False, values, lengths, x, {}, receptive_field))


def _with_gradient(x: Tensor) -> Tensor:
    return x if x.requires_grad else x.detach().requires_grad_()
