"""How long units remember: by their gates, by how far these are open, and by trying it.

Not here: how far the gradient reaches (`gradients.py`), and what units remember (`units.py`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.errors import OptionError, ShapeError
from unrolled.inspection.modes import evaluating
from unrolled.layers.initialize import keep_gate
from unrolled.layers.lengths import valid_steps
from unrolled.layers.recording import Record, recording
from unrolled.layers.recurrent import RecurrentLayer
from unrolled.layers.state import State, map_state, state_tensors
from unrolled.networks.language_model import LanguageModel

__all__ = ["Memory", "memory_by_perturbation", "saturation", "time_constants"]

_OPEN = 0.9  # of the way from one end of a gate's range to the other: saturated
_FAR = 1e4  # a pre-activation at which a squashing function is at its end


def time_constants(record: Record) -> Tensor:
    """Return how many steps each unit's memory lasts by its gate, 1 / (1 - mean f), (H,).

    f is the gate that keeps the old state: an LSTM's or JANET's f, a GRU's z, the gate `f` of a
    cell of one's own. Without input, memory falls to 1/e in about that time.

    Raises:
        OptionError: The record is of no recurrent layer, or of a cell without such a gate.

    Example:
        >>> import torch, unrolled
        >>> (record,) = unrolled.trace(unrolled.GRU(3, 4), torch.randn(5, 2, 3))
        >>> time_constants(record).shape
        torch.Size([4])
    """
    cell = _cell_of("time_constants", record)
    keep = keep_gate(cell)
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
    found = {}
    for name in others or cell.states:
        ends = sorted((low[name], high[name]))
        if ends[0] < ends[1] and max(abs(end) for end in ends) <= 1.0:
            found[name] = (ends[0], ends[1])
    return found


def _at_the_end(cell: Cell, value: float) -> dict[str, float]:
    """Return what a unit's step from zero gives if each gate's pre-activation is `value`."""
    one = torch.full((1, 1), value, dtype=torch.float64)
    zero = torch.zeros_like(one)
    u = {name: (lambda _: zero) if name in cell.applied else zero for name in cell.recurrent}
    vectors = {name: torch.full((1,), start).double() for name, start in cell.parameters.items()}
    values = cell(dict.fromkeys(cell.gates, one), u, dict.fromkeys(cell.states, zero), vectors)
    return {name: float(found) for name, found in values.items() if isinstance(found, Tensor)}


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
    model: LanguageModel, tokens: Tensor, *, max_lag: int, num_replacements: int = 4, seed: int = 0
) -> Memory:
    """Replace one token of a text and see how far each unit's state has moved k steps later.

    Unlike a gradient this is no linear measure: it counts what a unit forgets for good.

    Args:
        model: With a recurrent layer.
        tokens: (B, T) int64: B pieces of text, each replaced at T-1, T-2 ... T-1 - max_lag.
        max_lag: The longest lag, less than T.
        num_replacements: Random other tokens that are tried at each place.
        seed: Of these.

    Raises:
        OptionError: `max_lag` is out of its range, or the model has no recurrent layer.
        ShapeError: Tokens that are not (B, T).
    """
    layer = model.layer
    if not isinstance(layer, RecurrentLayer):
        raise OptionError("memory_by_perturbation: the model has no recurrent layer")
    size = model.config.vocabulary_size
    if tokens.dim() != 2:
        raise ShapeError(f"memory_by_perturbation: tokens must be (B, T), got {tokens.dim()}-D")
    batch_size, num_steps = tokens.shape
    if not 0 <= max_lag < num_steps or size < 2:
        message = f"memory_by_perturbation: max_lag must lie in 0..{num_steps - 1}, got {max_lag}"
        raise OptionError(message, "give more text of two symbols at least, or a shorter lag")
    shifts = torch.randint(
        1,
        size,
        (batch_size, max_lag + 1, num_replacements),
        generator=torch.Generator().manual_seed(seed),
    ).to(tokens.device)
    with evaluating(model):
        with recording() as records:
            _, after = model(tokens)
        before = model.initial_state(batch_size)
        if max_lag + 1 < num_steps:
            _, before = model(tokens[:, : -max_lag - 1])
        moved = [
            _moves(model, row[-max_lag - 1 :], shift, _row(before, index), _row(after, index))
            for index, (row, shift) in enumerate(zip(tokens, shifts, strict=True))
        ]
    by_state = {}
    for index, name in enumerate(layer.cell.states):
        spread = torch.stack([record.values[name].flatten(0, 1).std(0) for record in records])
        mean = torch.stack([parts[index] for parts in moved]).mean(0)  # (L, K, H)
        by_state[name] = mean / spread.clamp_min(torch.finfo(spread.dtype).tiny)[:, None]
    return Memory(torch.arange(max_lag + 1), by_state)


def _row(state: State, row: int) -> State:
    return map_state(lambda part: part[:, row : row + 1], state)


def _moves(
    model: LanguageModel, tokens: Tensor, shifts: Tensor, before: State, after: State
) -> list[Tensor]:
    """Return how far the states after `tokens` (K,) move if one of these is replaced.

    Args:
        model: The model.
        tokens: The last tokens of a text.
        shifts: (K, R), what is added to the token k steps before the end, modulo V.
        before: The state before them, of one row.
        after: The state after them.

    Returns:
        The mean distance over the replacements, (L, K, H) for each state.
    """
    num_lags, num_replacements = shifts.shape
    rows = tokens.repeat(num_lags, num_replacements, 1)
    lags = torch.arange(num_lags, device=tokens.device)
    place = num_lags - 1 - lags
    rows[lags, :, place] = (tokens[place][:, None] + shifts) % model.config.vocabulary_size
    rows = rows.flatten(0, 1)
    _, states = model(rows, map_state(lambda s: s.expand(-1, len(rows), -1).contiguous(), before))
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
