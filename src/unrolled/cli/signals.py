"""Signals that end a training or a comparison: SIGINT (Ctrl-C) and SIGTERM."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["handling_signals"]


@contextmanager
def handling_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Have `handle` called with the number of each signal inside the `with` block."""

    def on_signal(number: int, _: FrameType | None) -> None:
        handle(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
