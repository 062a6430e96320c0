"""The argument `resets=` of layers and streams: before which steps a row's state starts anew.

What layers make of it is in `kernels/rows.py` and `kernels/convolving/piecewise.py`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import OptionError, ShapeError
from unrolled.kernels import check_memory, keeps_padding
from unrolled.layers.arguments import tensor_of_array
from unrolled.layers.observing import observes_graph

__all__ = ["Resets", "checked_resets", "refuse_resets", "time_first_resets"]

Resets = Tensor | NDArray[np.bool_] | Sequence[Any]
"""A mark for each step of each row: a tensor of bool on the input's device, an array, lists."""


def checked_resets(
    where: str, resets: Resets, shape: tuple[int, ...], device: torch.device | str
) -> Tensor:
    """Return `resets` as a tensor of bool.

    Args:
        where: The layer.
        resets: The marks.
        shape: Which they must have: the input's without its features.
        device: The input's.

    Raises:
        ShapeError: Another shape, type or device.
    """
    mask: Any = resets
    got = ""
    if not isinstance(mask, Tensor):
        try:
            array = resets if isinstance(resets, np.ndarray) else np.array(resets)
            mask = tensor_of_array(array).reshape(array.shape).to(device)
        except (TypeError, ValueError):  # not of numbers, or lists of several lengths
            got = f"a {type(resets).__name__}"
    kind = (torch.bool, shape, torch.device(device))
    if not got and (mask.dtype, tuple(mask.shape), mask.device) != kind:
        got = f"{mask.dtype} {tuple(mask.shape)} on {mask.device}"
    if got:
        raise ShapeError(
            f"{where}: resets must be torch.bool {shape} on {device}, got {got}",
            "a mark for each step of each row, laid out as the input; of numbers: resets != 0",
        )
    checked: Tensor = mask
    check_memory(f"{where}: resets", checked)
    return checked


def time_first_resets(where: str, resets: Resets, input: Tensor, batch_first: bool) -> Tensor:
    """Return `resets`, laid out as `input`, as a tensor of bool, (T, B).

    Args:
        where: The layer.
        resets: The marks.
        input: (T, B, I), or (B, T, I) if `batch_first`, or (T, I).
        batch_first: The layer's option.

    Raises:
        ShapeError: As `checked_resets`.
    """
    mask = checked_resets(where, resets, tuple(input.shape[:-1]), input.device)
    if mask.dim() == 1:
        return mask[:, None]
    return mask.T if batch_first else mask


def refuse_resets(where: str, resets: Resets | None, input: object) -> None:
    """Refuse `resets` where there is no place for them.

    Raises:
        ShapeError: The input is a PackedSequence.
        OptionError: A graph of the layer is made, which would hold these very pieces.
    """
    if resets is None:
        return
    if keeps_padding() or observes_graph():
        raise OptionError(
            f"{where}: resets= cannot be traced, compiled or exported: rows are cut as they say",
            "leave it out, and run each piece as a row of its own with lengths=",
        )
    if isinstance(input, PackedSequence):
        raise ShapeError(
            f"{where}: resets= needs a padded batch, got a PackedSequence",
            "pass the tensor and its lengths=: pad_packed_sequence returns both",
        )
