"""Functions of several steps at a time, and what is asked of those that work along an axis."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unrolled.streaming.following import Call, Follower
from unrolled.streaming.parts import Apply, Window
from unrolled.streaming.values import Series

__all__ = ["add_window", "check_apart", "first_series", "follow_conv", "series_dims"]


def first_series(follower: Follower, call: Call) -> Series:
    """Return the sequence that a call is of.

    Raises:
        OptionError: There is none, but the state at the end of one.
    """
    series = follower.series_of(call.arguments[0] if call.arguments else None)
    if series is None:
        series = next((s for v in call.keywords.values() if (s := follower.series_of(v))), None)
    if series is None:
        follower.apply(call)  # refuses the state at an end
        raise follower.refuse(call.name, "reads a sequence where a weight is usual")
    return series


def check_apart(follower: Follower, call: Call, series: Series, axes: set[int]) -> None:
    """Raise `OptionError` if time or the batch is among the axes that are worked along."""
    if series.time in axes:
        raise follower.refuse(call.name, "works along time, over all of it")
    if series.batch in axes:
        raise follower.refuse(call.name, "works along the batch")


def series_dims(shape: Any) -> int:
    """Return how many axes a normalised shape has."""
    return len(shape) if isinstance(shape, (tuple, list, torch.Size)) else 1


def add_window(
    follower: Follower,
    call: Call,
    series: Series,
    function: Apply,
    sample: Tensor,
    *,
    size: int,
    stride: int,
    padding: tuple[int, int],
    more: Sequence[int] = (),
) -> Tensor:
    """Write down a function of `size` steps at a time; return what it gives."""
    before, after = padding
    if series.time != series.sample.dim() - 1:
        raise follower.refuse(call.name, "works along an axis that is not time")
    if after and stride > 1:
        raise follower.refuse(call.name, _looks_ahead(after), _PAD_HINT)
    length = (series.length + before + after - size) // stride + 1
    emitted = (series.emitted + before - size) // stride + 1
    result = replace(
        series,
        length=length,
        emitted=emitted,
        first=series.first + (size - 1 - before) * series.rate,
        rate=series.rate * stride,
        ahead=series.ahead or (follower.where(call.name) if after else ""),
    )
    try:
        result = result.like(follower.new_slot(), sample)
    except LookupError:
        raise follower.refuse(call.name, "mixes steps of time, or rows of the batch") from None
    part = Window(function, size, stride, before, series.time, series.batch)
    follower.append(part, [series.slot, *more], result.slot)
    return follower.know(result)


_PAD_HINT = "pad the past alone: F.pad(x, (n, 0)), and no padding of its own"


def _looks_ahead(count: int) -> str:
    return f"looks {count} steps ahead: its padding is not causal"


def follow_conv(
    follower: Follower,
    call: Call,
    series: Series,
    function: Apply,
    weight: Tensor,
    stride: Any,
    padding: Any,
    dilation: Any,
    more: Sequence[int] = (),
) -> Tensor:
    """Write down a convolution; return what it gives.

    Args:
        follower: Who writes.
        call: What was called.
        series: What is convolved.
        function: What convolves a piece that is padded.
        weight: (out, in, k).
        stride: As torch has it.
        padding: As torch has it.
        dilation: As torch has it.
        more: Slots of what the function reads beside the piece.
    """
    stride, dilation = (v[0] if isinstance(v, (tuple, list)) else v for v in (stride, dilation))
    span = (weight.shape[2] - 1) * dilation
    if padding == "same":
        before, after = span // 2, span - span // 2
    else:
        before = 0 if padding == "valid" else padding
        before = after = before[0] if isinstance(before, (tuple, list)) else before
    if series.batch != 0 or series.sample.dim() != 3 or series.time != 2:
        raise follower.refuse(call.name, "reads time along another axis", "it reads (B, C, T)")
    groups_times = series.sample.shape[1] // weight.shape[1]
    if groups_times * weight.shape[1] != series.sample.shape[1]:
        raise follower.refuse(call.name, f"reads other than {series.sample.shape[1]} channels")
    length = (series.length + before + after - span - 1) // stride + 1
    shape = (series.batch_size, weight.shape[0], length)
    sample = torch.empty(shape, dtype=series.sample.dtype, device="meta")
    return add_window(
        follower,
        call,
        series,
        function,
        sample,
        size=span + 1,
        stride=stride,
        padding=(before, after),
        more=more,
    )
