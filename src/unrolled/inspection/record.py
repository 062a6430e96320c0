"""Every gate and state of a layer or model while it reads, by the names in the equations."""

from typing import Any

from torch import nn

from unrolled.errors import OptionError
from unrolled.layers.recording import Record, recording

__all__ = ["trace"]


def trace(module: nn.Module, *inputs: Any, **options: Any) -> list[Record]:
    """Run a layer or a model and return what happens inside its recurrent layers.

    The values come from the same code that trains and predicts. No gradients are kept.

    Args:
        module: A recurrent layer, or any module with such layers in it.
        inputs: What it is called with.
        options: What it is called with by name, such as `lengths`.

    Returns:
        A `Record` for each layer and direction that ran, in the order in which they did: what the
        cell returned by name, if it has a value for each row and unit.

    Raises:
        OptionError: No recurrent layer ran, or only compiled ones.

    Example:
        >>> import torch, unrolled
        >>> layer = unrolled.LSTM(3, 4, bidirectional=True)
        >>> forwards, backwards = unrolled.trace(layer, torch.randn(5, 2, 3))
        >>> sorted(forwards.values)
        ['c', 'f', 'g', 'h', 'i', 'o']
        >>> forwards.values["f"].shape
        torch.Size([5, 2, 4])
    """
    with recording() as records:
        module(*inputs, **options)
    if not records:
        raise OptionError(
            f"trace: no recurrent layer of this package ran in {type(module).__name__}",
            "what torch.compile has compiled cannot be looked into: trace the module itself",
        )
    return records
