"""Visitors: each has readings of their own, for a time, within the memory there is.

A session is a name that this server has signed, so that beginning one costs no memory: what is
remembered of it begins with its first reading. Where there are too many, what was unused for
longest is forgotten; a text is then read again, and a picture asked for again.
"""

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakValueDictionary

from unrolled.serving.limits import Limits
from unrolled.serving.reading import Reading

__all__ = ["Key", "Session", "Sessions"]

Key = tuple[str, int]
"""The name of a run and the version of its weights."""

_READINGS_OF_A_SESSION = 4


class Session:
    """What the server remembers of one visitor.

    Args:
        id: The secret by which the visitor is known.
    """

    def __init__(self, id: str) -> None:
        self.id = id
        self.last_used = 0.0
        self.generating = 0
        self.lock = threading.Lock()  # of the readings: one at a time for each visitor
        self.readings: OrderedDict[Key, Reading] = OrderedDict()  # the longest unused first


class Sessions:
    """All sessions. Safe to use from several threads.

    Args:
        limits: How many, for how long, with how much memory.
        clock: Seconds, for tests.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._secret = secrets.token_bytes(32)
        # whoever is being answered, and all that hold a reading, the longest unused first
        self._used: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._holding: OrderedDict[str, Session] = OrderedDict()
        self._nbytes = 0

    def __len__(self) -> int:
        """Return how many sessions hold a reading."""
        return len(self._holding)

    @property
    def nbytes(self) -> int:
        """The memory of all readings, in bytes."""
        return self._nbytes

    def create(self) -> str:
        """Return the name of a new session, of which nothing is remembered yet."""
        name = secrets.token_urlsafe(18)
        return f"{name}.{self._signature(name)}"

    def get(self, id: str) -> Session | None:
        """Return the session called `id`, None if this server has not given that name."""
        name, _, signature = id.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(name).encode()):
            return None
        with self._lock:
            self._expire()
            session = self._used.get(id)
            if session is None:
                session = self._used[id] = Session(id)
            session.last_used = self._clock()
            if id in self._holding:
                self._holding.move_to_end(id)
            return session

    def recall(self, session: Session, key: Key) -> Reading | None:
        """Return the reading that a session holds, which is now the one used last."""
        with self._lock:
            reading = session.readings.get(key)
            if reading is not None:
                session.readings.move_to_end(key)
            return reading

    def keep(self, session: Session, key: Key, reading: Reading) -> None:
        """Remember a reading of a session, in place of the one it went on from."""
        with self._lock:
            self._forget(session, key)
            session.readings[key] = reading
            self._nbytes += reading.nbytes
            self._holding[session.id] = session
            self._holding.move_to_end(session.id)
            session.last_used = self._clock()
            while len(session.readings) > _READINGS_OF_A_SESSION:
                self._forget(session, next(iter(session.readings)))
            while self._nbytes > self._limits.readings_bytes:
                longest_unused = next(iter(self._holding.values()))
                self._forget(longest_unused, next(iter(longest_unused.readings)))
            while len(self._holding) > self._limits.sessions:
                self._forget_all(next(iter(self._holding.values())))

    def _signature(self, name: str) -> str:
        return hmac.digest(self._secret, name.encode(), "sha256").hex()[:32]

    def _forget(self, session: Session, key: Key) -> None:
        if (old := session.readings.pop(key, None)) is not None:
            self._nbytes -= old.nbytes
            if not session.readings:
                del self._holding[session.id]

    def _forget_all(self, session: Session) -> None:
        for key in [*session.readings]:
            self._forget(session, key)

    def _expire(self) -> None:
        oldest = self._clock() - self._limits.session_seconds
        while self._holding:
            session = next(iter(self._holding.values()))
            if session.last_used >= oldest:
                return
            self._forget_all(session)
