"""How long units remember: by their gates, by how far these are open, and by trying it.

Not here: how far the gradient reaches (`gradients.py`), and what units remember (`units.py`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cells import RAW_INPUT, Cell
from unrolled.errors import OptionError, ShapeError
from unrolled.layers import (
    Record,
    RecurrentLayer,
    State,
    map_state,
    observing_values,
    state_tensors,
    valid_steps,
)
from unrolled.networks.modes import evaluating

__all__ = ["Memory", "bounds", "memory_by_perturbation", "saturation", "time_constants"]

_OPEN = 0.9  # of the way from one end of a gate's range to the other: saturated
_FAR = 1e4  # a pre-activation at which a squashing function is at its end


def time_constants(record: Record) -> Tensor:
    """Return how many steps each unit's memory lasts by its gate, 1 / (1 - mean f), (H,).

    f is the gate that keeps the old state: an LSTM's or JANET's f, a GRU's z, what a cell of one's
    own declares (`keeps`). Without input, memory falls to 1/e in about that time.

    Raises:
        OptionError: The record is of no recurrent layer, or of a cell without such a gate.

    Example:
        >>> import torch, unrolled
        >>> (record,) = unrolled.trace(unrolled.GRU(3, 4), torch.randn(5, 2, 3))
        >>> time_constants(record).shape
        torch.Size([4])
    """
    cell = _cell_of("time_constants", record)
    keep = cell.keeps
    if keep is None or keep not in record.values:
        raise OptionError(
            f"time_constants: cell {cell.name} has no gate that keeps the old state",
            "only gated cells have a time constant",
        )
    return 1 / (1 - _valid(record, keep).mean(0))


def saturation(record: Record) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the share of steps at which each unit is at either end of its range.

    A gate in 0..1 is at its low end below 0.1 and at its high end above 0.9 (Karpathy, Johnson and
    Li 2015, section 4.2), a candidate in -1..1 below -0.8 and above 0.8. What has no bounds is left
    out; of the states that of a cell without gates alone is looked at.

    Returns:
        (low, high), (H,) each, for each gate and candidate by its name.

    Raises:
        OptionError: The record is of no recurrent layer.

    Example:
        >>> import torch, unrolled
        >>> (record,) = unrolled.trace(unrolled.LSTM(3, 4), torch.randn(5, 2, 3))
        >>> low, high = saturation(record)["f"]
        >>> sorted(saturation(record)), low.shape
        (['f', 'g', 'i', 'o'], torch.Size([4]))
    """
    shares = {}
    for name, (lowest, highest) in bounds(_cell_of("saturation", record)).items():
        values = _valid(record, name)
        width = highest - lowest
        low = (values < highest - _OPEN * width).double().mean(0)
        high = (values > lowest + _OPEN * width).double().mean(0)
        shares[name] = (low, high)
    return shares


def bounds(cell: Cell) -> dict[str, tuple[float, float]]:
    """Return the least and the largest value of whatever has bounds in a cell's step.

    Found by a step from zero states with extreme gates. Of all that the step returns but the
    states; for a cell that returns nothing else, of these.
    """
    low, high = (_at_the_end(cell, sign * _FAR) for sign in (-1.0, 1.0))
    others = [name for name in low if name not in cell.states]
    ends_by_name = {}
    for name in others or cell.states:
        ends = sorted((low[name], high[name]))
        if ends[0] < ends[1] and max(abs(end) for end in ends) <= 1.0:
            ends_by_name[name] = (ends[0], ends[1])
    return ends_by_name


def _at_the_end(cell: Cell, value: float) -> dict[str, float]:
    """Return what a unit's step from zero gives if each gate's pre-activation is `value`."""
    extreme = torch.full((1, 1), value, dtype=torch.float64)
    zero = torch.zeros_like(extreme)
    of_u = {name: zero if name in cell.feedforward else extreme for name in cell.recurrent}
    u = {name: (lambda _, v=v: v) if name in cell.applied else v for name, v in of_u.items()}
    vectors = {name: torch.full((1,), start).double() for name, start in cell.parameters.items()}
    # where nothing is said, a mask or a time of 1
    inputs = {n: torch.full_like(extreme, cell.input_defaults.get(n, 1.0)) for n in cell.inputs}
    inputs |= {RAW_INPUT: zero}
    values = cell(
        dict.fromkeys(cell.feedforward, extreme),
        u,
        dict.fromkeys(cell.states, zero),
        vectors,
        {name: inputs[name] for name in cell.step_inputs},
    )
    return {name: float(result) for name, result in values.items() if isinstance(result, Tensor)}


@dataclass(frozen=True)
class Memory:
    """How much a single input is felt in each unit, by the steps that have passed since.

    Args:
        lags: k, the steps since the input that was replaced, (K,) int64, from 0.
        by_state: For each state of the cell by its name, how far it moves on average if the input
            k steps ago had been another: as part of the unit's own spread, (L, K, H).
    """

    lags: Tensor
    by_state: dict[str, Tensor]

    def spans(self, part: float = 0.1) -> dict[str, Tensor]:
        """Return the longest lag at which each unit still moves by `part` of its spread, (L, H).

        -1 where it never does.
        """
        spans = {}
        for name, moved in self.by_state.items():
            felt = moved >= part
            longest = moved.shape[1] - 1 - felt.flip(1).int().argmax(1)
            spans[name] = torch.where(felt.any(1), longest, -1)
        return spans


@torch.no_grad()
def memory_by_perturbation(
    layer: nn.Module, inputs: Tensor, replacements: Tensor, *, state: State | None = None
) -> Memory:
    """Replace one input of a sequence and see how far each unit's state has moved k steps later.

    Unlike a gradient this is no linear measure: it counts what a unit forgets for good.

    Args:
        layer: A recurrent layer that reads forwards.
        inputs: What it reads, (T, B, I), or (B, T, I) with `batch_first`.
        replacements: What stands in the place of the last K inputs, one at a time, (B, K, R, I): R
            other inputs for each of the steps T - K ... T - 1. The batch comes first here.
        state: Before the first step; None for zeros.

    Raises:
        OptionError: The layer is not recurrent, or reads backwards too.
        ShapeError: Inputs and replacements that do not fit.
    """
    where = "memory_by_perturbation"
    if not isinstance(layer, RecurrentLayer) or layer.bidirectional:
        raise OptionError(f"{where}: needs a recurrent layer that reads forwards")
    if inputs.dim() != 3 or replacements.dim() != 4:
        dims = f"{inputs.dim()}-D and {replacements.dim()}-D"
        raise ShapeError(f"{where}: inputs must be 3-D, replacements (B, K, R, I), got {dims}")
    rows = inputs if layer.batch_first else inputs.transpose(0, 1)
    (num_rows, num_steps, size), num_lags = rows.shape, replacements.shape[1]
    if not 1 <= num_lags <= num_steps:
        message = f"{where}: 1 to {num_steps} of {num_steps} steps can be replaced, got {num_lags}"
        raise ShapeError(message, "give replacements for as many steps as are read, or fewer")
    expected = (num_rows, num_lags, replacements.shape[2], size)
    if replacements.shape != expected:
        shape = tuple(replacements.shape)
        raise ShapeError(f"{where}: replacements must be {expected}, got {shape}")
    with evaluating(layer):
        with observing_values() as records:
            after = _state_after(layer, rows, state)
        before = layer.initial_state(num_rows) if state is None else state
        if num_lags < num_steps:
            before = _state_after(layer, rows[:, :-num_lags], state)
        moved = [
            _moves(layer, row[-num_lags:], others, _row(before, index), _row(after, index))
            for index, (row, others) in enumerate(zip(rows, replacements, strict=True))
        ]
    by_state = {}
    for index, name in enumerate(layer.cell.states):
        spread = torch.stack([record.values[name].flatten(0, 1).std(0) for record in records])
        mean = torch.stack([parts[index] for parts in moved]).mean(0)  # (L, K, H)
        by_state[name] = mean / spread.clamp_min(torch.finfo(spread.dtype).tiny)[:, None]
    return Memory(torch.arange(num_lags), by_state)


def _state_after(layer: RecurrentLayer, rows: Tensor, state: State | None) -> State:
    """Return the state after sequences (B, T, I), whatever the layer's own order of dimensions."""
    after: State
    _, after = layer(rows if layer.batch_first else rows.transpose(0, 1), state)
    return after


def _row(state: State, row: int) -> State:
    return map_state(lambda part: part[:, row : row + 1], state)


def _moves(
    layer: RecurrentLayer, inputs: Tensor, others: Tensor, before: State, after: State
) -> list[Tensor]:
    """Return how far the states after `inputs` (K, I) move if one of these is replaced.

    Args:
        layer: Reads them.
        inputs: The last ones of a sequence.
        others: (K, R, I), what stands in the place of each.
        before: The state before them, of one row.
        after: The state after them.

    Returns:
        The mean distance over the replacements, (L, K, H) for each state; lag k is that of the
        input k steps before the last.
    """
    num_lags, num_replacements = others.shape[:2]
    rows = inputs.repeat(num_lags, num_replacements, 1, 1)  # (K, R, K, I)
    lags = torch.arange(num_lags, device=inputs.device)
    places = num_lags - 1 - lags
    rows[lags, :, places] = others[places]
    rows = rows.flatten(0, 1)
    start = map_state(lambda part: part.expand(-1, len(rows), -1).contiguous(), before)
    states = _state_after(layer, rows, start)
    return [
        (state - end).abs().view(len(state), num_lags, num_replacements, -1).mean(2)
        for state, end in zip(state_tensors(states), state_tensors(after), strict=True)
    ]


def _cell_of(where: str, record: Record) -> Cell:
    if not isinstance(record.module, RecurrentLayer):
        name = type(record.module).__name__
        raise OptionError(f"{where}: {name} has no gates", "trace a recurrent layer")
    return record.module.cell


def _valid(record: Record, name: str) -> Tensor:
    """Return the values of `name` at all steps that are not padding, (N, H)."""
    values = record.values[name]
    return values[valid_steps(record.lengths, len(values))]
