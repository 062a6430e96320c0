"""Connections: how many there may be, and how long one may take over what it has to say.

uvicorn ends a connection that is idle between two requests and bounds the head of a request; this
bounds the time of a head, of a body and of a reader, and shares the places among addresses. Where
all are taken, the connection that has been silent for longest gives way: whoever is being answered
stays.
"""

import asyncio
import time
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from unrolled.serving.limits import Limits, network_of

__all__ = ["Connection", "Places", "bounded_connection"]

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


class Places:
    """The connections of one server, by the network they come from.

    Args:
        limits: How many there may be.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._taken: dict[str, set[Connection]] = {}

    def take(self, connection: "Connection") -> bool:
        """Give a connection a place; return whether there is one, once others have given way."""
        own = self._taken.get(connection.network, set())
        while len(own) >= self.limits.address_connections:
            if not self._one_gives_way(own):
                return False
        while sum(map(len, self._taken.values())) >= self.limits.connections:
            if not self._one_gives_way(max(self._taken.values(), key=len)):
                return False
        self._taken.setdefault(connection.network, set()).add(connection)
        return True

    def leave(self, connection: "Connection") -> None:
        """Free the place of a connection, if it has one."""
        others = self._taken.get(connection.network, set())
        others.discard(connection)
        if not others:
            self._taken.pop(connection.network, None)

    def _one_gives_way(self, connections: "set[Connection]") -> bool:
        waiting = [each for each in connections if not each.is_answered]
        if not waiting:
            return False
        silent = min(waiting, key=lambda each: each.last_heard)
        self.leave(silent)
        silent.end()
        return True


class Connection(H11Protocol):
    """A connection that has to be brief. Made by uvicorn, once for each.

    Args:
        arguments: Those that uvicorn gives.
    """

    places: ClassVar[Places]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.network = ""
        self.last_heard = 0.0
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._awaited = ""

    @property
    def is_answered(self) -> bool:
        """Whether a whole request has come, and its answer is not yet complete."""
        being_answered = self.cycle is not None and not self.cycle.response_complete
        return being_answered and self.conn.their_state is not h11.SEND_BODY

    def end(self) -> None:
        """End it at once."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place; without one, say so and end."""
        super().connection_made(transport)
        self.network = network_of(self.client[0] if self.client else "")
        self.last_heard = time.monotonic()
        if self.places.take(self):
            self._await("head")
        else:
            transport.write(_FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place."""
        self._await("")
        self.resume_writing()
        self.places.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request; the first one starts its time."""
        self.last_heard = time.monotonic()
        super().data_received(data)
        self._await(self._wanted() or ("head" if self.conn.their_state is h11.IDLE else ""))

    def on_response_complete(self) -> None:
        """Go on to the next request, or wait for it as long as uvicorn does."""
        self.last_heard = time.monotonic()
        super().on_response_complete()
        self._await(self._wanted())

    def pause_writing(self) -> None:
        """Wait for the visitor to read what was sent, for a time."""
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(self.places.limits.request_seconds, self.end)

    def resume_writing(self) -> None:
        """Go on sending."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _wanted(self) -> str:
        if self.conn.their_state is not h11.SEND_BODY:
            return ""
        return "rest" if self.cycle.response_complete else "body"  # of a refused one, a short while

    def _await(self, part: str) -> None:
        """Give the visitor time for a part of a request: none is added while that comes in."""
        if part == self._awaited:
            return
        self._awaited = part
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if part:
            limits = self.places.limits
            seconds = limits.request_seconds if part == "body" else limits.head_seconds
            self._reading = self.loop.call_later(seconds, self.end)


def bounded_connection(limits: Limits) -> type[Connection]:
    """Return the protocol of a server with these limits, for uvicorn's option `http`."""

    class Bounded(Connection):
        places = Places(limits)

    return Bounded
