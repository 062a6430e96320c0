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
from unrolled.layers.observing import is_observed, observes_graph

__all__ = ["Resets", "begun_anew", "checked_resets", "refuse_resets", "time_first_resets"]

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


def begun_anew(
    where: str,
    input: Tensor,
    hx: Any,
    resets: Resets,
    resets_to: Any,
    batch_first: bool,
    shapes: Sequence[tuple[int, ...]],
) -> tuple[Any, Resets | None, Any]:
    """Return `hx`, `resets` and `resets_to` for a call that says the same.

    Marks of the first step alone, as a policy has them, cut no row: they are in the states then,
    and the other two are None. What is not as it must be stays as it is, for who looks at all.

    Args:
        where: The layer.
        input: The layer's, of three dimensions; its width is right.
        hx: The layer's.
        resets: The marks.
        resets_to: The layer's.
        batch_first: The layer's option.
        shapes: Those of the states, in order.

    Raises:
        ShapeError: As `checked_resets`.
    """
    as_given = hx, resets, resets_to
    if not input.numel() or is_observed():
        return as_given
    marks = time_first_resets(where, resets, input, batch_first)
    before = _states_like(hx, shapes, input)
    after = _states_like(resets_to, shapes, input)
    if before is None or after is None or (len(marks) > 1 and bool(marks[1:].any())):
        return as_given
    if not before and after:  # from zeros
        return as_given
    rows = marks[0, :, None]
    if after:
        states = [torch.where(rows, a, b) for a, b in zip(after, before, strict=True)]
    else:
        states = [state.masked_fill(rows, 0.0) for state in before]
    return (states[0] if len(states) == 1 else tuple(states)) if states else None, None, None


def _states_like(
    hx: Any, shapes: Sequence[tuple[int, ...]], input: Tensor
) -> Sequence[Tensor] | None:
    """Return the tensors of a state, none of None; None unless they have these shapes."""
    if hx is None:
        return ()
    states = (hx,) if isinstance(hx, Tensor) else hx
    if not isinstance(states, (tuple, list)) or len(states) != len(shapes):
        return None
    for state, shape in zip(states, shapes, strict=True):
        if not isinstance(state, Tensor) or tuple(state.shape) != shape:
            return None
        if state.dtype is not input.dtype or state.device != input.device:
            return None
        check_memory("state", state)
    return states


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
