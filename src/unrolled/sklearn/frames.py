"""Forecasts as series and frames of pandas, with the index of the steps that come next.

pandas is no dependency: whoever gives a frame has it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError

__all__ = ["framed", "tail_of"]

Floats = NDArray[np.float64]

_TAIL = 100
"""Steps by which the ones that come next are found: of business days more than a week is needed."""


def tail_of(given: Any) -> Any:
    """Return the end of a series or frame of pandas, or of each of several; None of anything else.

    Args:
        given: A series, a frame, a list of those, or a frame whose index has more levels than one,
            of which the last is the step.
    """
    if isinstance(given, list | tuple):
        tails = [tail_of(each) for each in given]
        return tails if tails and all(tail is not None for tail in tails) else None
    if not hasattr(given, "iloc"):
        return None
    if given.index.nlevels == 1:
        return given.iloc[-_TAIL:]
    import pandas

    # series by series, in the order of the forecasts: in rows that lie between those of others, the
    # last steps of one may come before those of an earlier one
    return pandas.concat([group.iloc[-_TAIL:] for _, group in _groups(given)])


def framed(like: Any, forecasts: Floats) -> Any:
    """Return forecasts in the container of a series' end.

    Args:
        like: As of `tail_of`.
        forecasts: The steps of one series, (H,) or (H, C); of several those of each.

    Raises:
        DataError: It is nothing of pandas, or nothing tells what comes after its index.
    """
    if like is None:
        message = "y: a frame of forecasts is of series and frames of pandas, and these are arrays"
        raise DataError(message, "predict() returns arrays")
    if isinstance(like, list):
        pairs = zip(like, forecasts, strict=True)
        return [_after(f"y[{n}]", one, steps) for n, (one, steps) in enumerate(pairs)]
    if like.index.nlevels == 1:
        return _after("y", like, forecasts)
    import pandas

    levels = [*range(like.index.nlevels - 1)]
    parts = {}
    for (key, group), steps in zip(_groups(like), forecasts, strict=True):
        parts[key] = _after(f"y, series {key!r}", group.droplevel(levels), steps)
    return pandas.concat(parts, names=like.index.names)


def _groups(frame: Any) -> Any:
    levels = [*range(frame.index.nlevels - 1)]
    return frame.groupby(level=levels if len(levels) > 1 else 0, sort=False, dropna=False)


def _after(where: str, like: Any, steps: Floats) -> Any:
    """Return the forecast of a series or frame, as one of its own kind."""
    index = _next(where, like.index, len(steps))
    if hasattr(like, "columns"):
        return type(like)(steps, index=index, columns=like.columns)
    return type(like)(steps, index=index, name=like.name)


def _next(where: str, index: Any, num: int) -> Any:
    """Return the index of the steps that come after one of pandas."""
    import pandas

    if isinstance(index, pandas.PeriodIndex):
        return pandas.period_range(index[-1] + 1, periods=num, freq=index.freq, name=index.name)
    if isinstance(index, pandas.DatetimeIndex | pandas.TimedeltaIndex):
        try:
            step = type(index)(index, freq="infer").freq
        except ValueError:  # of fewer than three
            step = None
        if step is None:
            hint = "y.asfreq(...) gives it one; predict() returns arrays"
            raise DataError(f"{where}: its index has no frequency that can be told", hint)
        made = pandas.date_range
        if isinstance(index, pandas.TimedeltaIndex):
            made = pandas.timedelta_range
        return made(index[-1], periods=num + 1, freq=step, name=index.name)[1:]
    if index.dtype.kind in "iuf" and len(index) > 1:
        is_whole = index.dtype.kind in "iu"
        gaps = np.diff(index.to_numpy(dtype=np.int64 if is_whole else np.float64))
        if np.allclose(gaps, gaps[0], rtol=0.0 if is_whole else 1e-5, atol=0.0):
            last = gaps.dtype.type(index[-1])
            return pandas.Index(last + gaps[0] * np.arange(1, num + 1), name=index.name)
    message = f"{where}: nothing tells what comes after {index[-1]!r} in its index"
    hint = "pandas.to_datetime makes dates of texts; predict() returns arrays"
    raise DataError(message, hint)
