"""Windows in their frames: what is taken off and put back, and what stands for a missing value."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Frame", "changes", "fill", "frame_of"]

_EPSILON = 1e-5  # of a window's deviation


class Frame(NamedTuple):
    """What is taken off a window and put back, (B, 1, C) each: y = offset + width * z."""

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


def changes(z: Tensor) -> Tensor:
    """Return how far each step, (B, T, C), is from the one before it: 0 of the first value.

    A missing value changes nothing; the next one that is there differs from the last one that was.
    """
    levels = fill(z, torch.nan)
    return nn.functional.pad(levels.diff(dim=1), (0, 0, 1, 0)).nan_to_num(0.0)
