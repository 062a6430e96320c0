"""Series of any lengths at the same number of places, from the first step to the last."""

import torch
from torch import Tensor

__all__ = ["pressed"]


def pressed(x: Tensor, lengths: Tensor, num_places: int) -> Tensor:
    """Return each series at places that divide it evenly, between two steps linearly.

    Args:
        x: (B, T, I).
        lengths: (B,), steps of each.
        num_places: S; of one place, it is the first step.

    Returns:
        (B, S, I); zero for a series without steps.

    Example:
        >>> pressed(torch.tensor([[[0.0], [2.0], [9.0]]]), torch.tensor([2]), 3).flatten().tolist()
        [0.0, 1.0, 2.0]
    """
    batch_size, num_steps, num_features = x.shape
    if not num_steps:
        return x.new_zeros(batch_size, num_places, num_features)
    last = (lengths - 1).clamp(min=0)[:, None]
    places = torch.linspace(0, 1, num_places, dtype=x.dtype, device=x.device) * last
    below = places.floor().long()
    above = (below + 1).minimum(last)
    rows = torch.arange(batch_size, device=x.device)[:, None]
    between = torch.lerp(x[rows, below], x[rows, above], (places - below)[..., None])
    return between * (lengths > 0)[:, None, None]
