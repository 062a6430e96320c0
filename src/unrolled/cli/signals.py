"""Signals: SIGINT (Ctrl-C) and SIGTERM end a training, SIGPIPE ends what nobody reads."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["ending_with_its_reader", "handling_signals"]


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


@contextmanager
def ending_with_its_reader() -> Iterator[None]:
    """Have the process end when nobody reads its output (`| head`), as other programs do."""
    if not hasattr(signal, "SIGPIPE"):
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGPIPE, before)
