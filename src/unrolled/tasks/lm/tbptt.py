"""Truncated backpropagation through time: the loss of one window of the columns after another.

The text lies in contiguous columns (`columns.py` has the picture) that are read from top to
bottom. Each update predicts k1 new steps of every column and sends the gradient back through k2:

    k1 = 4, k2 = 4      ├ 1 ─ ─ ─┤├ 2 ─ ─ ─┤├ 3 ─ ─ ─┤         windows meet
    k1 = 4, k2 = 6      ├ 1 ─ ─ ─┤
                            ├ · · 2 ─ ─ ─┤                     · read once more, not scored
                                     ├ · · 3 ─ ─ ─┤

The state where a window starts is the one that the window before had there, cut from its graph.

Source: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of
recurrent network trajectories", BPTT(h; h') with h = k2 and h' = k1.

Not here: what is done with the loss (`training/trainer.py`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.data.batching import IGNORE
from unrolled.errors import OptionError, field
from unrolled.layers import State, map_state, state_tensors
from unrolled.networks.devices import moved
from unrolled.tasks.lm.columns import Columns
from unrolled.tasks.lm.streamed import StreamedColumns
from unrolled.training.distributed import ALONE, Processes

__all__ = ["TruncatedBPTT"]


class TruncatedBPTT:
    """A walk through the columns, window by window, the state carried; round and round.

    Args:
        columns: Of all processes together.
        k1: Steps forward: those newly predicted by each update, at least 1.
        k2: Steps backward: those the gradient goes through, at least `k1`.
        processes: Each walks through its own share of the columns.
        accumulate: Parts that a process reads its columns in, one call of `next_window` each.

    Raises:
        OptionError: `k1` or `k2` is too small; there are fewer columns than parts.
    """

    def __init__(
        self,
        columns: Columns | StreamedColumns,
        k1: int,
        k2: int,
        processes: Processes = ALONE,
        accumulate: int = 1,
    ) -> None:
        if k1 < 1:
            raise OptionError(f"{field('k1')} (steps forward) must be at least 1, got {k1}")
        if k2 < k1:
            message = f"k2 (steps backward) must be at least k1 (steps forward), got {k2} and {k1}"
            raise OptionError(message, "with fewer, some steps would never be learned from")
        num_parts = processes.world_size * accumulate
        if num_parts > columns.num_columns:
            message = f"{columns.num_columns} columns cannot be shared by {processes.world_size} "
            message += f"process(es) in {accumulate} part(s) each"
            raise OptionError(message, f"give {field('batch_size')} {num_parts} or more")
        self.columns = columns
        self.k1 = k1
        self.k2 = k2
        self.processes = processes
        self.accumulate = accumulate
        self.position = 0  # the next step to predict
        self.state: State | None = None  # before the step where the next window starts
        self._carried: list[State | None] = []  # of the parts of the window that were read

    @property
    def updates_per_epoch(self) -> int:
        """Windows in one walk through the columns; the last may be shorter."""
        return -(-self.columns.num_steps // self.k1)

    def next_window(self, model: nn.Module) -> tuple[Tensor, int]:
        """Return the loss of the next `k1` steps, and go on to the window after them.

        With `accumulate`, the loss of the next part of the columns; the last one goes on.

        Args:
            model: `scores, state = model(tokens, state)`, (B, T) -> (B, T, V).

        Returns:
            The sum of the cross-entropies in nats, with its graph, and of how many tokens.
        """
        start = self._window_start(self.position)
        next_start = self._window_start(self.position + self.k1)
        end = min(self.position + self.k1, self.columns.num_steps)
        part = self.processes.rank * self.accumulate + len(self._carried)
        num_parts = self.processes.world_size * self.accumulate
        inputs, targets = moved(self.columns.window(start, end, part, num_parts), model)
        scores, carried = self._read(model, inputs, self._state_of(part), next_start - start)
        new = self.position - start  # the first step of the window that is scored
        targets = targets[:, new:]
        loss_sum = F.cross_entropy(
            scores[:, new:].flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        self._carried.append(None if carried is None else map_state(_own, carried))
        if len(self._carried) == self.accumulate:
            ended = end == self.columns.num_steps
            self.position = 0 if ended else end
            self.state = None if ended else _joined(self._carried)
            self._carried = []
        return loss_sum, int((targets != IGNORE).sum())

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the columns and the carried state as plain tensors and numbers."""
        state = self.state
        plain = state if state is None or isinstance(state, Tensor) else tuple(state)
        place: dict[str, Any] = {"position": self.position, "state": plain}
        if isinstance(self.columns, StreamedColumns):
            place["places"] = self.columns.places
        return place

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the place that `state_dict` described."""
        self.position = state["position"]
        self.state = state["state"]
        self._carried = []
        if isinstance(self.columns, StreamedColumns):
            self.columns.go_to(state["places"])

    def _window_start(self, position: int) -> int:
        return max(0, position + self.k1 - self.k2)

    def _state_of(self, part: int) -> State | None:
        """Return the state of the columns of a part of this process, (L, B of the part, H)."""
        if self.state is None or self.accumulate == 1:
            return self.state
        num_parts = self.processes.world_size * self.accumulate
        places = (self.processes.rank * self.accumulate, part, part + 1)
        own, first, last = (p * self.columns.num_columns // num_parts for p in places)
        return map_state(lambda each: each[:, first - own : last - own].contiguous(), self.state)

    def _read(
        self, model: nn.Module, inputs: Tensor, before: State | None, cut: int
    ) -> tuple[Tensor, State | None]:
        """Return the scores of all steps, and the state after `cut` of them."""
        state = before
        if state is not None:
            state = map_state(lambda part: part.to(inputs.device), state)
        if cut == 0:
            return model(inputs, state)[0], before
        scores, carried = model(inputs[:, :cut], state)
        if cut < inputs.shape[1]:
            rest, _ = model(inputs[:, cut:], carried)
            scores = torch.cat([scores, rest], dim=1)
        return scores, carried


def _joined(parts: Sequence[State | None]) -> State | None:
    """Return the states of the parts of a batch as one: rows are along dimension 1."""
    states = [state for state in parts if state is not None]
    if len(states) < 2:
        return states[0] if states else None
    tensors = zip(*map(state_tensors, states), strict=True)
    joined = tuple(torch.cat(each, dim=1) for each in tensors)
    return joined[0] if isinstance(states[0], Tensor) else joined


def _own(state: Tensor) -> Tensor:
    """Return a copy without graph: a view would keep the whole output of the window in memory.

    It is contiguous, as it will be when it comes back from a checkpoint: the same bits go on.
    """
    return state.detach().clone(memory_format=torch.contiguous_format)
