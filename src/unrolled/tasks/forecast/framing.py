"""Windows in their frames: what is taken off and put back, and what stands for a missing value."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Frame", "changes", "fill", "fill_cycles", "frame_of", "last_cycle", "sums"]

_EPSILON = 1e-5  # of a window's deviation


class Frame(NamedTuple):
    """What is taken off a window and put back, (B, 1, C) each: y = offset + width * z.

    Of differences from cycle to cycle the offset is that of each step to come, (B, H, C).
    """

    offset: Tensor
    width: Tensor


def frame_of(past: Tensor, kind: str) -> Frame:
    """Return what is taken off windows.

    Args:
        past: (B, L, C), NaN where a value is missing.
        kind: "last", "instance" or "none".
    """
    observed = ~past.isnan()
    none = ~observed.any(1, keepdim=True)
    values = past.nan_to_num(0.0)
    zero, one = torch.zeros_like(values[:, :1]), torch.ones_like(values[:, :1])
    if kind == "none":
        return Frame(zero, one)
    if kind == "last":
        steps = torch.arange(past.shape[1], device=past.device)[:, None]
        last = torch.where(observed, steps, 0).amax(1, keepdim=True)
        return Frame(values.gather(1, last).masked_fill(none, 0.0), one)
    count = observed.sum(1, keepdim=True).clamp(min=1)
    mean = values.sum(1, keepdim=True) / count
    squares = ((values - mean) * observed).square().sum(1, keepdim=True) / count
    return Frame(mean, (squares + _EPSILON).sqrt())


def fill(z: Tensor, start: float = 0.0) -> Tensor:
    """Return steps, (B, T, C), in place of a missing value the one before, or `start`."""
    missing = z.isnan()
    if not torch.compiler.is_compiling() and not bool(missing.any()):
        return z
    steps = torch.arange(z.shape[1], device=z.device)[:, None]
    before = torch.where(missing, -1, steps)
    reach = 1
    while reach < z.shape[1]:  # a running maximum; ONNX has no operator for it
        earlier = nn.functional.pad(before[:, :-reach], (0, 0, reach, 0), value=-1)
        before, reach = torch.maximum(before, earlier), 2 * reach
    return z.nan_to_num(0.0).gather(1, before.clamp(min=0)).masked_fill(before < 0, start)


def changes(z: Tensor, lag: int = 1) -> Tensor:
    """Return how far each step, (B, T, C), is from the one `lag` before it: 0 of the first values.

    A missing value changes nothing; the next one at its place in a cycle of `lag` steps differs
    from the last one that was there.
    """
    levels = fill(_cycles(z, lag), torch.nan)
    moved = nn.functional.pad(levels.diff(dim=1), (0, 0, 1, 0)).nan_to_num(0.0)
    return _steps(moved, lag, z.shape[1])


def sums(z: Tensor, lag: int) -> Tensor:
    """Return the values, (B, T, C), that differ so from those `lag` before; those from 0."""
    return _steps(_cycles(z, lag, 0.0).cumsum(1), lag, z.shape[1])


def fill_cycles(z: Tensor, lag: int) -> Tensor:
    """Return steps, (B, T, C), in place of a missing value the one a cycle before, or 0."""
    return _steps(fill(_cycles(z, lag)), lag, z.shape[1])


def last_cycle(z: Tensor, lag: int, horizon: int) -> Tensor:
    """Return of each step to come the last value at its place in a cycle, (B, horizon, C).

    Where none is there, as of days on which nothing is sold, the last value of all stands for it.

    Args:
        z: What was, (B, T, C), NaN where a value is missing; 0 stands for one that never was there.
        lag: Steps of a cycle.
        horizon: Steps to come.
    """
    last = fill(_cycles(z, lag), torch.nan)[:, -1].reshape(z.shape[0], lag, z.shape[2])
    last = torch.where(last.isnan(), fill(z)[:, -1:], last)
    return last[:, torch.arange(horizon, device=z.device) % lag]


def _cycles(z: Tensor, lag: int, value: float = torch.nan) -> Tensor:
    """Return steps, (B, T, C), as whole cycles, (B, n, lag C), `value` before the first one."""
    if lag == 1:
        return z
    whole = nn.functional.pad(z, (0, 0, -z.shape[1] % lag, 0), value=value)
    return whole.reshape(z.shape[0], -1, lag * z.shape[2])


def _steps(cycles: Tensor, lag: int, num: int) -> Tensor:
    """Return cycles, (B, n, lag C), as the last `num` steps, (B, num, C)."""
    steps = cycles.reshape(cycles.shape[0], cycles.shape[1] * lag, cycles.shape[2] // lag)
    return steps[:, steps.shape[1] - num :]
