"""How much one visitor, and all of them together, may ask of the server."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields

from unrolled.errors import OptionError

__all__ = ["Limits", "RateLimiter"]

_MOST_KEYS = 4096  # visitors remembered; the one not seen for longest is forgotten first


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The server's limits. All are at least 1.

    Args:
        text_characters: Of a text that is read.
        generate_tokens: Drawn by one request.
        hypotheses: That a search for a translation or a caption follows side by side.
        body_bytes: Of a request.
        media_bytes: Of a request with a picture or a recording.
        sessions: Visitors at the same time.
        session_seconds: Without a request, after which a session ends.
        readings_bytes: Of recorded gates and states, over all sessions: the oldest are dropped
            and read again when asked for.
        requests_per_second: Of each session, in the long run.
        burst: Requests of a session that may come at once.
        slow_jobs: Gradients and predictions that may wait for their turn.
    """

    text_characters: int = 4000
    generate_tokens: int = 4000
    hypotheses: int = 32
    body_bytes: int = 64 * 1024
    media_bytes: int = 6 * 1024 * 1024
    sessions: int = 500
    session_seconds: int = 1800
    readings_bytes: int = 512 * 1024 * 1024
    requests_per_second: int = 30
    burst: int = 90
    slow_jobs: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            if (value := getattr(self, field.name)) < 1:
                raise OptionError(f"Limits: {field.name} must be at least 1, got {value}")


class RateLimiter:
    """A token bucket for each visitor: `burst` requests at once, then `per_second`.

    Args:
        per_second: How fast a bucket fills.
        burst: How much it holds.
        clock: Seconds, for tests.
    """

    def __init__(
        self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Take one request out of `key`'s bucket; return 0, or the seconds until there is one."""
        now = self._clock()
        level, then = self._buckets.pop(key, (float(self._burst), now))
        level = min(float(self._burst), level + (now - then) * self._per_second)
        allowed = level >= 1
        self._buckets[key] = (level - 1 if allowed else level, now)
        if len(self._buckets) > _MOST_KEYS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - level) / self._per_second
