"""How much one visitor, and all of them together, may ask of the server."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields

from unrolled.errors import OptionError

__all__ = ["Guesses", "Limits", "RateLimiter", "network_of"]

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
        sessions: Visitors whose readings are remembered: beyond, what was unused for longest goes.
        session_seconds: Without a request, after which a session's readings are forgotten.
        readings_bytes: Of recorded gates and states, over all sessions: the oldest are dropped
            and read again when asked for.
        requests_per_second: Of each session, in the long run.
        burst: Requests of a session that may come at once.
        slow_jobs: Gradients and predictions that may wait for their turn.
        waiting_bytes: Of all requests together that have begun to come in.
        connections: At the same time; where there are more, the longest silent one gives way.
        address_connections: Of one address; a lecture hall may be behind it.
        head_bytes: Of the lines before a request's body.
        head_seconds: That they may take to come.
        request_seconds: That a body may take to come, and that an answer may wait to be read.
        idle_seconds: That a connection may be kept for a next request.
        token_guesses: Wrong tokens from one address at once.
        guess_seconds: After which it may try another.
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
    waiting_bytes: int = 64 * 1024 * 1024
    connections: int = 900
    address_connections: int = 450
    head_bytes: int = 16 * 1024
    head_seconds: int = 10
    request_seconds: int = 90
    idle_seconds: int = 75
    token_guesses: int = 10
    guess_seconds: int = 6

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
        seconds = self.expected(key)
        if not seconds:
            level, now = self._buckets[key]
            self._buckets[key] = (level - 1, now)
        return seconds

    def expected(self, key: str) -> float:
        """Return what `wait` would, and take nothing."""
        now = self._clock()
        level, then = self._buckets.pop(key, (float(self._burst), now))
        level = min(float(self._burst), level + (now - then) * self._per_second)
        self._buckets[key] = (level, now)
        if len(self._buckets) > _MOST_KEYS:
            self._buckets.popitem(last=False)
        return 0.0 if level >= 1 else (1 - level) / self._per_second


class Guesses:
    """Wrong tokens: an address may try a few, then one every few seconds.

    The same wrong token again is no new guess: it is what browsers send that were let in before the
    token changed.

    Args:
        limits: How many.
        clock: Seconds, for tests.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = RateLimiter(1 / limits.guess_seconds, limits.token_guesses, clock)
        self._wrong: OrderedDict[int, None] = OrderedDict()

    def wait(self, network: str) -> float:
        """Return 0 where another token may be tried, or the seconds until then."""
        return self._rates.expected(network)

    def was_wrong(self, network: str, token: str) -> None:
        """Count a guess."""
        if hash(token) not in self._wrong:
            self._rates.wait(network)
        self._wrong[hash(token)] = None
        self._wrong.move_to_end(hash(token))
        if len(self._wrong) > _MOST_KEYS:
            self._wrong.popitem(last=False)


def network_of(address: str) -> str:
    """Return whose address it is: itself, of IPv6 the /64 that one subscriber has.

    Example:
        >>> network_of("192.0.2.7"), network_of("::ffff:192.0.2.7"), network_of("2001:db8::1:2")
        ('192.0.2.7', '192.0.2.7', '2001:db8::/64')
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))
