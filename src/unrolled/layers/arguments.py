"""Checks of the arguments of a layer's call, in one voice for all layers: input, state, output.

Lengths are checked in `kernels`, which reads them; the arguments of constructors in options.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import ShapeError, check_shape
from unrolled.kernels import check_memory

__all__ = [
    "autocast_dtype",
    "check_dtype",
    "check_out",
    "checked_states",
    "tensor_of_array",
    "time_first",
]


def time_first(
    where: str, input: Tensor, input_size: int, batch_first: bool, weight: Tensor
) -> tuple[Tensor, bool]:
    """Return `input` as (T, B, I), and whether it had a batch dim.

    Args:
        where: The layer.
        input: (T, B, I), or (B, T, I) if `batch_first`, or (T, I).
        input_size: I.
        batch_first: The layer's option.
        weight: A weight of the layer, for its dtype.

    Raises:
        ShapeError: Another shape or dtype, or no step at all.
    """
    batched = input.dim() == 3
    num_steps = input.shape[1 if batched and batch_first else 0] if input.dim() else 0
    if input.dim() not in (2, 3) or input.shape[-1] != input_size or not num_steps:
        layout = f"(B, T, {input_size})" if batch_first else f"(T, B, {input_size})"
        raise ShapeError(
            f"{where}: input must be {layout} or (T, {input_size}), got {tuple(input.shape)}",
            f"T at least 1; batch_first is {batch_first}",
        )
    check_dtype(where, input, weight)
    if not batched:
        return input.unsqueeze(1), False
    return (input.transpose(0, 1) if batch_first else input), True


def check_dtype(where: str, input: Tensor, weight: Tensor) -> None:
    """Raise `ShapeError` unless `input` has the dtype of `weight`, or autocast will convert it."""
    if input.dtype != weight.dtype and autocast_dtype(input.device) is None:
        raise ShapeError(
            f"{where}: input is {input.dtype}, the weights are {weight.dtype}",
            f"convert: input.to({weight.dtype})"
            + (f", or layer.to({input.dtype})" if input.is_floating_point() else ""),
        )


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Return the lower precision that autocast uses on `device` now, None if it is off."""
    kind = device.type
    # torch.compile of 2.10 cannot read the question, so it is not asked where the answer is known
    may = kind in ("cpu", "cuda") or torch.amp.is_autocast_available(kind)
    if may and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return None


def checked_states(
    where: str,
    hx: Any,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    weight: Tensor,
) -> tuple[Tensor, ...]:
    """Return the tensors of the state `hx`, with the dtype of `weight`.

    Under autocast a state comes out of a layer in the lower precision and may go in again.

    Args:
        where: The layer.
        hx: A tensor or a tuple of tensors.
        names: What messages call them.
        shapes: The shape that each must have.
        weight: A weight of the layer, for its dtype and its device.

    Raises:
        ShapeError: Another number of tensors, a wrong shape, dtype or device, or no memory.
    """
    states = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    if len(states) != len(names):
        listed = f" ({', '.join(names)})" if names else ""
        raise ShapeError(
            f"{where}: hx must hold {len(names)} states{listed}, got {len(states)}",
            "pass the state as an earlier call returned it, or None for zeros",
        )
    device = weight.device
    allowed = (weight.dtype, autocast_dtype(device))
    for name, state, shape in zip(names, states, shapes, strict=True):
        hint = "pass None for zeros, or select the rows of the batch"
        check_shape(where, f"state {name}", state, shape, hint)
        if state.dtype not in allowed or state.device != device:
            raise ShapeError(
                f"{where}: state {name} must be {weight.dtype} on {device} as the weights, "
                f"got {state.dtype} on {state.device}",
                f"convert it: state.to({device}, {weight.dtype})",
            )
        if not torch.compiler.is_compiling():
            check_memory(f"{where}: state {name}", state)
    return tuple(state.to(weight.dtype) for state in states)


def tensor_of_array(array: Any) -> Tensor:
    """Return an array, or what numpy makes one of, as a tensor.

    It is of the same memory, unless that is read backwards or read-only, as no tensor can be.
    """
    array = np.ascontiguousarray(array)  # also of one row backwards: it has no second one
    fits = array.flags.writeable and min(array.strides, default=0) >= 0
    return torch.from_numpy(array if fits else array.copy())


def check_out(where: str, out: Any, shape: tuple[int, ...], like: Tensor) -> None:
    """Raise `ShapeError` unless outputs of this shape can be written to `out`.

    Args:
        where: The stream.
        out: A tensor or an array.
        shape: Of the outputs.
        like: For their type and device.
    """
    problem = ""
    if not isinstance(out, (Tensor, np.ndarray)):
        problem = f"a {type(out).__name__}"
    else:
        dtype = str(out.dtype).removeprefix("torch.")
        strides = out.stride() if isinstance(out, Tensor) else out.strides
        if tuple(out.shape) != shape or dtype != str(like.dtype).removeprefix("torch."):
            problem = f"{tuple(out.shape)} of {out.dtype}"
        elif any(not stride and size > 1 for stride, size in zip(strides, shape, strict=True)):
            problem = "one whose rows share their memory"
        elif isinstance(out, np.ndarray):
            problem = "" if out.flags.writeable else "a read-only array"
        elif out.device != like.device:
            problem = f"one on {out.device}, and the input is on {like.device}"
        elif out.requires_grad or (out.is_inference() and not torch.is_inference_mode_enabled()):
            problem = "one that is not to be written over: with a gradient, or of inference mode"
    if problem:
        raise ShapeError(f"{where}: out must be {shape} of {like.dtype}, got {problem}")
    if isinstance(out, Tensor):  # torch writes past the end of a storage that was cut
        check_memory(f"{where}: out", out)
