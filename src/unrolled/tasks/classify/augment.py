"""Small changes that the class of a series survives: more training data from what there is.

All draw from torch's global generator, so that a seed decides them and a checkpoint keeps them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.layers import valid_steps

__all__ = ["augment_series"]

_NOISE = 0.05  # standard deviation, of numbers on the scale of 1
_SCALE = 0.1  # standard deviation of the factor of each feature
_SPEED = 0.3  # a stretch is at most so much faster or slower than the mean
_KNOTS = 5  # places where the speed is drawn; between them it changes linearly


def augment_series(x: Tensor, lengths: Tensor) -> Tensor:
    """Return series warped in time, scaled, and with noise.

    Each is read at a speed that changes along it, from its first step to its last; each of its
    features is multiplied by a factor near 1; and noise is added to every number.

    Args:
        x: (B, T, I), on a scale of about 1.
        lengths: (B,), steps of each; they stay as many.

    Returns:
        (B, T, I), zero beyond a length.

    Source:
        Um et al. (2017): jitter, scaling, time warping.

    Example:
        >>> augment_series(torch.zeros(2, 7, 3), torch.tensor([7, 4])).shape
        torch.Size([2, 7, 3])
    """
    batch_size, num_steps, num_features = x.shape
    if not num_steps:
        return x
    valid = valid_steps(lengths, num_steps).T[..., None]
    speeds = 1 + _SPEED * (2 * torch.rand(batch_size, 1, _KNOTS) - 1)
    speeds = F.interpolate(speeds, size=num_steps, mode="linear", align_corners=True)[:, 0]
    place = speeds.cumsum(1) - speeds[:, :1]  # of each step; those of a row from 0 on
    last = (lengths - 1).clamp(min=0)
    end = place.gather(1, last[:, None]).clamp(min=1e-6)
    place = (place * last[:, None] / end).minimum(last[:, None].float())
    below = place.floor().long()
    above = (below + 1).minimum(last[:, None])
    share = (place - below)[..., None]
    rows = torch.arange(batch_size)[:, None]
    warped = torch.lerp(x[rows, below], x[rows, above], share)
    factors = 1 + _SCALE * torch.randn(batch_size, 1, num_features)
    noisy = warped * factors + _NOISE * torch.randn_like(x)
    return noisy.where(valid, 0.0)
