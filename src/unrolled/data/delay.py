"""Inputs and targets for a network that answers k steps late.

A network that reads from left to right has seen nothing of what comes after step t when it answers
there. With delay k it reads k steps before its first answer, and blanks while it gives the last k:

    step      0   1   2   3   4   5
    input     a   b   c   d   _   _      S = 4 steps and k = 2 blanks
    target    .   .   A   B   C   D      U = 4 answers; the mask is false at the dots

so each answer knows k inputs beyond its own. Targets of another length than the input are delayed
in the same way: blanks are read until the last of them.

Here is the layout and nothing else: the network is in tasks/translate/delayed_model.py.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.data.batching import IGNORE
from unrolled.errors import OptionError, ShapeError

__all__ = ["Delayed", "append_blanks", "delay_batch", "delay_targets"]


@dataclass(frozen=True)
class Delayed:
    """A batch of B sequences, delayed: T steps, the most that one of them needs.

    Args:
        inputs: (B, T) or (B, T, I): the inputs, then blanks.
        lengths: (B,) int64: the steps of each row, at most T; what follows is padding.
        targets: (B, T) or (B, T, F): those of int64 are `IGNORE` where `mask` is false, others 0.
        mask: (B, T) bool: the steps that have a target.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    mask: Tensor


def delay_batch(
    inputs: Tensor,
    targets: Tensor,
    delay: int,
    *,
    blank: float = 0,
    input_lengths: Tensor | None = None,
    target_lengths: Tensor | None = None,
) -> Delayed:
    """Return a padded batch with its targets `delay` steps late.

    A row of S inputs and U targets has max(S, U) + k steps: target j stands at step j + k.

    Args:
        inputs: (B, S) tokens or (B, S, I) features.
        targets: (B, U) or (B, U, F), of any type.
        delay: k, steps that are read before the first answer, at least 0.
        blank: What is read after the end: a token, or the value of every feature.
        input_lengths: (B,), the steps of each row of inputs; all of S if None.
        target_lengths: (B,), the answers of each row of targets; all of U if None.

    Raises:
        OptionError: `delay` is below 0.
        ShapeError: Another number of rows in the targets or the lengths than in the inputs.

    Example:
        >>> batch = delay_batch(torch.tensor([[1, 2, 3]]), torch.tensor([[7, 8, 9]]), delay=2)
        >>> batch.inputs, batch.targets, batch.mask.sum()
        (tensor([[1, 2, 3, 0, 0]]), tensor([[-100, -100,    7,    8,    9]]), tensor(3))
    """
    sizes = _lengths("inputs", inputs, input_lengths, len(inputs))
    answers = _lengths("targets", targets, target_lengths, len(inputs))
    _check_delay(delay)
    lengths = torch.maximum(sizes, answers) + delay
    num_steps = int(lengths.max()) if len(lengths) else 0
    late, mask = delay_targets(targets, answers, delay, num_steps)
    return Delayed(append_blanks(inputs, sizes, num_steps, blank), lengths, late, mask)


def append_blanks(inputs: Tensor, lengths: Tensor, num_steps: int, blank: float | Tensor) -> Tensor:
    """Return `inputs` with `num_steps` steps, all of them blank after each row's end.

    Args:
        inputs: (B, S) tokens or (B, S, I) features.
        lengths: (B,), the steps of each row, at most S and `num_steps`.
        num_steps: T.
        blank: A token, the value of every feature, or a feature vector, (I,).

    Returns:
        (B, T) or (B, T, I), a tensor of its own.

    Example:
        >>> append_blanks(torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1]), 3, blank=9)
        tensor([[1, 2, 9],
                [3, 9, 9]])
    """
    batch_size, num_given = inputs.shape[0], min(inputs.shape[1], num_steps)
    padded = inputs.new_zeros(batch_size, num_steps, *inputs.shape[2:])
    padded[:, :num_given] = inputs[:, :num_given]
    steps = torch.arange(num_steps, device=inputs.device)
    ended = steps >= lengths.to(inputs.device)[:, None]  # (B, T)
    ended = ended.view(batch_size, num_steps, *(1 for _ in inputs.shape[2:]))
    filler = blank if isinstance(blank, Tensor) else inputs.new_tensor(blank)
    return torch.where(ended, filler, padded)


def delay_targets(
    targets: Tensor, lengths: Tensor, delay: int, num_steps: int
) -> tuple[Tensor, Tensor]:
    """Return `targets`, `delay` steps later in `num_steps` steps, and where they stand.

    Args:
        targets: (B, U) or (B, U, F).
        lengths: (B,), the targets of each row, at most U.
        delay: k, at least 0.
        num_steps: T, at least every length + k.

    Returns:
        The targets, (B, T) or (B, T, F), `IGNORE` (int64) or 0 where there is none, and the mask of
        the steps that have one, (B, T) bool.

    Raises:
        OptionError: `delay` is below 0.
        ShapeError: `num_steps` has no room for the last target.
    """
    _check_delay(delay)
    lengths = lengths.to(targets.device)
    needed = int(lengths.max()) + delay if len(lengths) else 0
    if num_steps < needed:
        message = f"delay_targets: num_steps must be at least {needed}, got {num_steps}"
        raise ShapeError(message, f"the longest row of targets and a delay of {delay}")
    steps = torch.arange(num_steps, device=targets.device) - delay
    mask = (steps >= 0) & (steps < lengths[:, None])  # (B, T)
    fill = IGNORE if targets.dtype == torch.int64 else 0
    late = targets.new_full((targets.shape[0], num_steps, *targets.shape[2:]), fill)
    here = torch.arange(targets.shape[1], device=targets.device) < lengths[:, None]  # (B, U)
    late[mask] = targets[here]
    return late, mask


def _lengths(name: str, batch: Tensor, lengths: Tensor | None, batch_size: int) -> Tensor:
    if len(batch) != batch_size:
        message = f"delay_batch: {name} must have {batch_size} rows, got {len(batch)}"
        raise ShapeError(message, "one row of targets for each row of inputs")
    if lengths is None:
        return torch.full((batch_size,), batch.shape[1], device=batch.device)
    if lengths.shape != (batch_size,):
        got = tuple(lengths.shape)
        raise ShapeError(f"delay_batch: lengths of {name} must be ({batch_size},), got {got}")
    if batch_size and not 0 <= int(lengths.min()) <= int(lengths.max()) <= batch.shape[1]:
        message = f"delay_batch: lengths of {name} must lie in 0..{batch.shape[1]}"
        raise ShapeError(f"{message}, got {int(lengths.min())}..{int(lengths.max())}")
    return lengths.to(batch.device)


def _check_delay(delay: int) -> None:
    if delay < 0:
        raise OptionError(f"delay must be at least 0 steps, got {delay}")
