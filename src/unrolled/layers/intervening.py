"""Layers made to compute with other values: a gate held open, units silenced, a state put in.

    c_t = f_t * c_{t-1} + i_t * g_t   with f held at 1:   c_t = c_{t-1} + i_t * g_t

What is held is known here, and given to the recurrence at each step; how a cell's equations take it
is in `kernels/holding.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor, nn

from unrolled.cells import Cell
from unrolled.errors import OptionError, ShapeError
from unrolled.kernels import (
    PaddedRows,
    RaggedRows,
    among,
    held_cell,
    named_values,
    refusing_compiled,
)
from unrolled.layers.observing import watched

__all__ = ["Hold", "StepsRead", "holding_of", "intervene", "reading_on"]

_MOST_STEPS = 1 << 40

Places = int | slice | Sequence[int] | Tensor | None
"""Which units or steps: one, some, or all for None."""


@dataclass(frozen=True, eq=False)
class Hold:
    """A value that a gate or a state is held at.

    Args:
        value: A number; or numbers for the units, (U,); for rows and units, (B, U); or for steps,
            rows and units, (S, B, U), of which any may be 1. They keep their gradients.
        units: Which of the H units, U of them: a number, a list of them, a slice; None: all.
        steps: At which steps, S of them, counted from 0: a number, a list, a slice; None: all.
        layer: Of a stack, from 0; None: in all.
        reverse: Only in the direction that reads backwards, or only in the other; None: in both.
    """

    value: float | Tensor
    units: Places = None
    steps: Places = None
    layer: int | None = None
    reverse: bool | None = None


Held = Hold | float | Tensor | Sequence[Hold]


@contextmanager
def intervene(target: Any, holds: Mapping[str, Held]) -> Iterator[None]:
    """Hold named values of recurrent layers inside the `with` block.

    All that the equations compute from a value is computed from what it is held at, so a forget
    gate held at 1 keeps the state, and whatever reads the layer then says what it would: models,
    streams that are open, `generate`, `predict`, `trace`, `gradient_reach`. The layers run on the
    reference loop inside, with gradients, also of the values that are given. Blocks may stand in
    one another; where they hold the same, the inner one counts. What is held is seen by the thread
    or task that has entered the block; a copy of a layer is another layer.

    A state is held after a step: it is what the next step reads, and the output is computed from.
    Of a cell with several states, put in all of them to begin as another text has ended. With
    `proj_size`, h is the output before its projection.

    Args:
        target: A recurrent layer; a model, whose layers hold what their cells have of the names; a
            run, as `unrolled.load` returns it.
        holds: By the names in the cell's equations, what each is held at: a number or a tensor, a
            `Hold` of some units or steps, or several of them, the last of which counts. Steps are
            counted in each call of a layer, and in a stream from the first that it reads inside
            the block.

    Raises:
        OptionError: A cell has no such value, or none that could be held; there is no such unit or
            layer, or no recurrent layer at all. At a call: torch compiles or exports the layer; a
            pool of streams reads, and steps are named.
        ShapeError: A value has another shape, or a step lies beyond those read; at a call, where
            that depends on what is read.

    Example:
        >>> import torch, unrolled
        >>> layer, x = unrolled.LSTM(3, 4), torch.randn(5, 2, 3)
        >>> with unrolled.intervene(layer, {"f": 1.0, "i": unrolled.Hold(0.0, units=[2])}):
        ...     _, (h, c) = layer(x)
        >>> c[0, :, 2]  # remembers all, and lets nothing in
        tensor([0., 0.], grad_fn=<SelectBackward0>)
    """
    layers = _layers_of(target)
    _check_mapping(holds)
    block = _Block({layer: _checked(layer, holds) for layer in layers})
    _check_names(layers, block.holds, holds)
    with among(_blocks, block), watched(), refusing_compiled():
        yield


# ---- What is held ----------------------------------------------------------------------------

_Named = dict[str, list[Hold]]


@dataclass(frozen=True, eq=False)
class _Block:
    """One `with` block.

    Args:
        holds: By layer and name.
        key: By which a reader knows how many steps it has read inside: its copies know it too.
    """

    holds: Mapping[Any, _Named]
    key: str = field(default_factory=lambda: uuid4().hex)


_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("blocks", default=())


def _layers_of(target: Any) -> list[Any]:
    """Return the recurrent layers of a layer, a model or a run."""
    from unrolled.layers.recurrent_layer import RecurrentLayer  # which asks this file

    model = target if isinstance(target, nn.Module) else getattr(target, "model", None)
    modules = model.modules() if isinstance(model, nn.Module) else []
    layers = [module for module in modules if isinstance(module, RecurrentLayer)]
    if not layers:
        name = type(target).__name__
        raise OptionError(
            f"intervene: {name} has no recurrent layer of this package",
            "give such a layer, a model with one, or what unrolled.load returns",
        )
    return layers


def _check_mapping(holds: Any) -> None:
    if not isinstance(holds, Mapping):
        hint = 'intervene(layer, {"f": 1.0})'
        raise OptionError(f"intervene: holds must be a dict, got a {type(holds).__name__}", hint)


def _checked(layer: Any, holds: Mapping[str, Held]) -> _Named:
    """Return what a layer holds, of the names that its cell has."""
    names = named_values(layer.cell, layer.hidden_size)
    return {
        name: [_checked_hold(layer, name, each) for each in _several(name, given)]
        for name, given in holds.items()
        if name in names
    }


def _check_names(
    layers: Sequence[Any], by_layer: Mapping[Any, _Named], holds: Mapping[str, Held]
) -> None:
    for name in holds:
        if not any(name in named for named in by_layer.values()):
            there = {
                each.cell.name: ", ".join(named_values(each.cell, each.hidden_size))
                for each in layers
            }
            hint = "; ".join(f"{cell} has {names}" for cell, names in there.items())
            if any(name in each.cell.delayed for each in layers):
                hint = f"it is a state of former steps: hold {name.rpartition('_')[0]} there"
            raise OptionError(f"intervene: no gate or state '{name}' in {', '.join(there)}", hint)


def _several(name: str, given: Held) -> list[Hold]:
    if isinstance(given, Hold):
        return [given]
    if isinstance(given, bool) or not isinstance(given, int | float | Tensor | list | tuple):
        kind = type(given).__name__
        hint = "a number, a tensor, a Hold, or a list of Holds"
        raise OptionError(f"intervene: '{name}' is held at a {kind}", hint)
    if isinstance(given, int | float | Tensor):
        return [Hold(given)]
    if not all(isinstance(each, Hold) for each in given):
        hint = "numbers for the units go into a tensor"
        raise OptionError(f"intervene: '{name}' is held at a list of other things than Holds", hint)
    return [*given]


def _checked_hold(layer: Any, name: str, hold: Hold) -> Hold:
    where = f"intervene: '{name}' of {type(layer).__name__}"
    for what, places, count in (
        ("units", hold.units, layer.hidden_size),
        ("steps", hold.steps, _MOST_STEPS),
    ):
        if not _places(f"{where}: {what}", places, count):
            raise OptionError(f"{where}: {what}: none lies in {places}", "leave it out for all")
    if hold.layer is not None and hold.layer not in range(layer.num_layers):
        most = layer.num_layers - 1
        raise OptionError(f"{where}: layer must lie in 0..{most}, got {hold.layer!r}")
    if hold.reverse not in (None, False, True):
        raise OptionError(f"{where}: reverse must be True, False or None, got {hold.reverse!r}")
    if hold.reverse and not layer.bidirectional:
        raise OptionError(f"{where}: reverse=True, and the layer reads forwards", "leave it out")
    shapes = "a number, (U,), (B, U) or (S, B, U)"
    try:
        value = torch.as_tensor(hold.value).detach()
    except (TypeError, ValueError, RuntimeError):
        kind = type(hold.value).__name__
        raise OptionError(f"{where}: the value must be {shapes}, got a {kind}") from None
    if value.dim() > 3 or value.is_complex() or value.is_meta or value.layout != torch.strided:
        got = f"{value.dtype} {tuple(value.shape)}"
        raise ShapeError(f"{where}: the value must be {shapes}, got {got}")
    dtype = next(layer.parameters()).dtype
    if not bool(value.to(dtype).isfinite().all()):
        raise OptionError(f"{where}: the value is not finite in {dtype}", "hold it at a number")
    return hold


def _places(where: str, places: Places, count: int) -> list[int] | range:
    """Return which of `count` places are meant.

    Raises:
        OptionError: They are no places, or lie beyond.
    """
    if places is None:
        return range(count)
    if isinstance(places, slice):
        ends = [end for end in (places.start, places.stop, places.step) if end is not None]
        if not all(isinstance(end, int) for end in ends) or places.step == 0:
            raise OptionError(f"{where} must be whole numbers, got {places}")
        if any(end < 0 for end in ends):
            raise OptionError(f"{where} are counted from 0, got {places}", "leave the sign out")
        return range(count)[places]
    try:
        listed = [places] if isinstance(places, int) else torch.as_tensor(places).flatten().tolist()
    except (TypeError, ValueError, RuntimeError):
        listed = [None]
    if any(isinstance(each, bool) or not isinstance(each, int) for each in listed):
        raise OptionError(f"{where} must be whole numbers, got {places!r}", "numbers, or a slice")
    if len({*listed}) < len(listed):
        raise OptionError(f"{where}: one is named twice: {listed}", "name each once")
    if not listed:
        raise OptionError(f"{where}: none is named", "leave it out for all of them")
    most = max(listed)
    if min(listed) < 0 or most >= count:
        beyond = f"must lie in 0..{count - 1}" if count < _MOST_STEPS else "are counted from 0"
        raise OptionError(f"{where} {beyond}, got {listed if len(listed) > 1 else listed[0]}")
    return listed


# ---- What a recurrence is given --------------------------------------------------------------

StepsRead = dict[str, int]
"""How many steps a reader has read in each block that it is in; it begins empty."""

_reader: ContextVar[tuple[StepsRead | None] | None] = ContextVar("reader", default=None)


@contextmanager
def reading_on(steps_read: StepsRead | None, num_steps: int) -> Iterator[None]:
    """Let the layers that are called inside be in the middle of what somebody reads.

    Args:
        steps_read: What the reader has read before, which grows; None where nobody counts.
        num_steps: How many it reads now.
    """
    token = _reader.set((steps_read,))
    try:
        yield
    finally:
        _reader.reset(token)
    if steps_read is not None:
        now = {block.key: steps_read.get(block.key, 0) + num_steps for block in _blocks.get()}
        steps_read.clear()
        steps_read.update(now)


def holding_of(
    layer: Any, number: int, reverse: bool, rows: RaggedRows | PaddedRows, like: Tensor
) -> tuple[Cell, Tensor] | None:
    """Return what a layer in a direction runs in place of its cell, and what that reads beside x.

    Args:
        layer: The layer.
        number: Which one of the stack.
        reverse: Whether it reads backwards.
        rows: How the rows of the batch lie.
        like: What they are read from, for its type and device.

    Returns:
        The cell, and its inputs, (N, F); None where nothing is held.
    """
    named: dict[str, list[tuple[Hold, int | None]]] = {}
    reader = _reader.get()
    (steps_read,) = reader or ({},)
    for block in _blocks.get():
        start = None if steps_read is None else steps_read.get(block.key, 0)
        for name, holds in block.holds.get(layer, {}).items():
            chosen = [
                (hold, start)
                for hold in holds
                if hold.layer in (None, number) and hold.reverse in (None, reverse)
            ]
            if chosen:
                named.setdefault(name, []).extend(chosen)
    if not named:
        return None
    where = f"intervene: {type(layer).__name__}"
    if isinstance(rows, PaddedRows):
        raise OptionError(
            f"{where}: is compiled, traced or exported, and nothing can be held there",
            "call the module itself",
        )
    size = (rows.num_steps, rows.batch_size, layer.hidden_size)
    parts = []
    for name, each in named.items():
        whether, to = torch.zeros(size, device=like.device), torch.zeros(size).to(like)
        for hold, start in each:
            index = _index(f"{where}: '{name}'", hold, size, start, is_part=reader is not None)
            if index is None:
                continue
            value = _value(f"{where}: '{name}'", hold, index, start).to(like)
            whether[index] = 1.0
            to = to.index_put(index, value)
        parts += [whether.to(like), to]
    return held_cell(layer.cell, tuple(named)), rows.rows_of(torch.cat(parts, dim=-1))


_Index = tuple[Tensor, Tensor, Tensor]


def _index(
    where: str, hold: Hold, size: tuple[int, int, int], first: int | None, *, is_part: bool
) -> _Index | None:
    """Return the steps, rows and units of a hold among those that are read; None for no step.

    Args:
        where: What is held.
        hold: Where.
        size: T, B and H.
        first: The number of the first step that is read; None where it is not known.
        is_part: Whether more steps may follow.
    """
    num_steps, batch_size, hidden_size = size
    if first is None and hold.steps is not None:
        raise OptionError(
            f"{where} is held at steps, which a pool of streams and a search for fixed points do "
            "not count",
            "hold it at all steps, or use a stream of the layer",
        )
    start = first or 0
    if hold.steps is None or isinstance(hold.steps, slice):
        chosen = _places(f"{where}: steps", hold.steps, start + num_steps)
    else:
        chosen = _places(f"{where}: steps", hold.steps, _MOST_STEPS if is_part else num_steps)
    steps = [step - start for step in chosen if start <= step < start + num_steps]
    if not steps:
        if hold.steps is not None and not is_part:  # nothing follows in which they could lie
            raise OptionError(
                f"{where} is held at steps {hold.steps}, and only {num_steps} are read",
                "name steps that are read, or leave them out for all",
            )
        return None
    units = _places(f"{where}: units", hold.units, hidden_size)
    return (
        torch.tensor(steps)[:, None, None],
        torch.arange(batch_size)[None, :, None],
        torch.tensor([*units], dtype=torch.int64)[None, None, :],
    )


def _value(where: str, hold: Hold, index: _Index, first: int | None) -> Tensor:
    """Return what is put in at the steps, rows and units of `index`, (S, B, U)."""
    value = torch.as_tensor(hold.value)
    shape = tuple(part.numel() for part in index)
    if value.dim() == 3 and len(value) > 1:
        value = _of_steps(where, value, hold, index, first or 0)
    try:
        return value.expand(shape)
    except RuntimeError:
        got = tuple(value.shape)
        message = f"{where}: the value must go with (S, B, U) = {shape}, got {got}"
        raise ShapeError(message, "S steps, B rows, U units; any of them may be 1") from None


def _of_steps(where: str, value: Tensor, hold: Hold, index: _Index, first: int) -> Tensor:
    """Return those of the values for all steps of a hold that are of the steps read now."""
    held = _places(f"{where}: steps", hold.steps, _MOST_STEPS)
    now = [first + step for step in index[0].flatten().tolist()]
    if isinstance(held, range):
        places = [*map(held.index, now)]
    else:
        place_of = {step: place for place, step in enumerate(held)}
        places = [place_of[step] for step in now]
    if max(places) >= len(value) or (isinstance(held, list) and len(held) != len(value)):
        num_held = len(held) if isinstance(held, list) else max(places) + 1
        raise ShapeError(
            f"{where} is held at {num_held} steps, and there are values for {len(value)}",
            "a value for each step, or steps=slice(start, stop)",
        )
    return value[places]
