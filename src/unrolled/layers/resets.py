"""The argument `resets=` of a layer's call: before which steps a row's state starts anew.

What layers make of it is in `kernels/rows.py`.
"""

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import ShapeError
from unrolled.layers.arguments import tensor_of_array

__all__ = ["refuse_packed", "time_first_resets"]


def time_first_resets(where: str, resets: Any, input: Tensor, batch_first: bool) -> Tensor:
    """Return `resets` as a tensor of bool, (T, B).

    Args:
        where: The layer.
        resets: (T, B), laid out as the input: a tensor of bool on its device, or an array or lists.
        input: (T, B, I), or (B, T, I) if `batch_first`, or (T, I); checked.
        batch_first: The layer's option.

    Raises:
        ShapeError: Another shape, type or device.
    """
    shape, got, mask = tuple(input.shape[:-1]), "", resets
    if not isinstance(mask, Tensor):
        try:
            mask = tensor_of_array(resets if isinstance(resets, np.ndarray) else np.array(resets))
            mask = mask.to(input.device)
        except (TypeError, ValueError):  # not of numbers, or lists of several lengths
            got = f"a {type(resets).__name__}"
    if not got and (mask.shape, str(mask.dtype), mask.device) != (shape, "torch.bool", input.device):
        got = f"{mask.dtype} {tuple(mask.shape)} on {mask.device}"
    if got:
        raise ShapeError(
            f"{where}: resets must be torch.bool {shape} on {input.device}, got {got}",
            "a mark for each step of each row, laid out as the input; of numbers: resets != 0",
        )
    if len(shape) == 1:
        return mask[:, None]
    return mask.T if batch_first else mask


def refuse_packed(where: str, resets: object, input: object) -> None:
    """Raise `ShapeError` if there are `resets` beside a PackedSequence."""
    if resets is not None and isinstance(input, PackedSequence):
        raise ShapeError(
            f"{where}: resets= needs a padded batch, got a PackedSequence",
            "pass the tensor and its lengths=: pad_packed_sequence returns both",
        )
