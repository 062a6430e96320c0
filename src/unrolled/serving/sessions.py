"""Visitors: each has a session with readings of its own, for a time, within the memory there is."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from unrolled.serving.limits import Limits
from unrolled.serving.reading import Reading

__all__ = ["Key", "Session", "Sessions", "TooManySessionsError"]

Key = tuple[str, int]
"""The name of a run and the version of its weights."""

_READINGS_OF_A_SESSION = 4


class TooManySessionsError(Exception):
    """There is no room for another visitor now."""


class Session:
    """What the server remembers of one visitor.

    Args:
        id: The secret by which the visitor is known.
        now: When it began, in seconds.
    """

    def __init__(self, id: str, now: float) -> None:
        self.id = id
        self.last_used = now
        self.generating = 0
        self.lock = threading.Lock()  # of the readings: one at a time for each visitor
        self.readings: OrderedDict[Key, Reading] = OrderedDict()


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
        self._sessions: OrderedDict[str, Session] = OrderedDict()  # the longest unused first
        self._nbytes = 0

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def nbytes(self) -> int:
        """The memory of all readings, in bytes."""
        return self._nbytes

    def create(self) -> Session:
        """Begin a session.

        Raises:
            TooManySessionsError: There are as many as there may be.
        """
        with self._lock:
            self._expire()
            if len(self._sessions) >= self._limits.sessions:
                raise TooManySessionsError
            session = Session(secrets.token_urlsafe(18), self._clock())
            self._sessions[session.id] = session
            return session

    def get(self, id: str) -> Session | None:
        """Return the session called `id`, None if there is none or its time is over."""
        with self._lock:
            self._expire()
            session = self._sessions.get(id)
            if session is not None:
                session.last_used = self._clock()
                self._sessions.move_to_end(id)
            return session

    def keep(self, session: Session, key: Key, reading: Reading) -> None:
        """Remember a reading of a session, in place of the one it went on from."""
        with self._lock:
            self._forget(session, key)
            if session.id not in self._sessions:
                return
            session.readings[key] = reading
            self._nbytes += reading.nbytes
            while len(session.readings) > _READINGS_OF_A_SESSION:
                self._forget(session, next(iter(session.readings)))
            for other in [*self._sessions.values()]:
                while self._nbytes > self._limits.readings_bytes and other.readings:
                    self._forget(other, next(iter(other.readings)))

    def _forget(self, session: Session, key: Key) -> None:
        if (old := session.readings.pop(key, None)) is not None:
            self._nbytes -= old.nbytes

    def _expire(self) -> None:
        oldest = self._clock() - self._limits.session_seconds
        while self._sessions:
            session = next(iter(self._sessions.values()))
            if session.last_used >= oldest:
                return
            del self._sessions[session.id]
            for key in [*session.readings]:
                self._forget(session, key)
