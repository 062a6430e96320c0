"""Some of the steps of a sequence, or more than it has: slices and padding of time."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from unrolled.streaming.following import Call, Follower
from unrolled.streaming.parts import Drop, Hold, Pad
from unrolled.streaming.values import Series
from unrolled.streaming.windows import first_series

__all__ = ["item", "pad"]


def _drop(follower: Follower, series: Series, count: int) -> Series:
    """Return all but the first `count` steps."""
    if not count:
        return series
    sample = series.sample.narrow(series.time, count, series.length - count)
    rest = replace(
        series,
        slot=follower.new_slot(),
        sample=sample,
        length=series.length - count,
        emitted=series.emitted - count,
        first=series.first + count * series.rate,
    )
    follower.append(Drop(count, series.time), [series.slot], rest.slot)
    return rest


def _cut_end(follower: Follower, series: Series, count: int) -> Series:
    """Return all but the last `count` steps: first those that look behind the end."""
    if not count:
        return series
    held = max(count - (series.length - series.emitted), 0)
    length, slot = series.length - count, series.slot
    if held:
        slot = follower.new_slot()
        follower.append(Hold(held, series.time), [series.slot], slot)
    emitted = series.emitted - held
    return replace(
        series,
        slot=slot,
        sample=series.sample.narrow(series.time, 0, length),
        length=length,
        emitted=emitted,
        first=series.first + held * series.rate,
        ahead=series.ahead if emitted < length else "",
    )


def item(follower: Follower, call: Call) -> Any:
    """Follow a slice, x[...]."""
    series, index = first_series(follower, call), call.arguments[1]
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(part, (Tensor, list)) for part in parts):
        raise follower.refuse("[]", "looks up steps or rows by their numbers")
    missing = series.sample.dim() - sum(part is not None and part is not ... for part in parts)
    full = [slice(None)] * missing
    at = parts.index(...) if ... in parts else len(parts)
    parts[at : at + 1] = full
    axes = [n for n, part in enumerate(parts) if part is not None]
    of_batch, of_time = parts[axes[series.batch]], parts[axes[series.time]]
    if of_batch != slice(None):
        raise follower.refuse("[]", "takes some rows of the batch")
    if not isinstance(of_time, slice) or of_time.step not in (None, 1):
        raise follower.refuse("[]", "takes some steps of the sequence, not all in turn")
    start, stop, _ = of_time.indices(series.length)
    if max(start, series.length - stop) > series.length // 2:
        raise follower.refuse("[]", "takes a part of the sequence that does not grow with it")
    cut = _cut_end(follower, _drop(follower, series, start), series.length - stop)
    parts[axes[series.time]] = slice(None)
    if all(part == slice(None) for part in parts):
        sample = cut.sample.view_as(cut.sample)  # another object, for it is another value
        return follower.know(replace(cut, sample=sample))
    tensor = follower.know(replace(cut, sample=cut.sample.view_as(cut.sample)))
    return follower.apply(Call(call.function, (tensor, tuple(parts)), {}, "[]"))


def pad(follower: Follower, call: Call) -> Any:
    """Follow padding, or its opposite."""
    series, widths = first_series(follower, call), list(call.value(1, "pad"))
    mode, value = call.value(2, "mode", "constant"), call.value(3, "value") or 0.0
    place = 2 * (series.sample.dim() - 1 - series.time)
    before, after = [*widths[place : place + 2], 0, 0][:2]
    if not before and not after:
        at = 2 * (series.sample.dim() - 1 - series.batch)
        if any(widths[at : at + 2]):
            raise follower.refuse(call.name, "adds rows to the batch")
        return follower.apply(call)
    if any(widths[:place] + widths[place + 2 :]):
        raise follower.refuse(call.name, "pads time and another axis at once", "pad one by one")
    if mode != "constant":
        raise follower.refuse(call.name, f"pads time by the mode {mode!r}", "use zeros")
    series = _cut_end(follower, _drop(follower, series, max(-before, 0)), max(-after, 0))
    padded = replace(
        series,
        length=series.length + max(before, 0) + max(after, 0),
        emitted=series.emitted + max(before, 0),
        first=series.first - max(before, 0) * series.rate,
        ahead=series.ahead or (follower.where(call.name) if after > 0 else ""),
    )
    shape = list(series.sample.shape)
    shape[series.time] = padded.length
    padded = replace(padded, sample=series.sample.new_empty(shape))
    if before > 0:
        padded = replace(padded, slot=follower.new_slot())
        follower.append(Pad(before, series.time, value), [series.slot], padded.slot)
    return follower.know(padded)
