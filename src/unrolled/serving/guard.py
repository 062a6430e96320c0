"""What every request has to pass before anything is done for it.

1. The size of the head.
2. The Host: a server on loopback answers to loopback's names alone, so that a page elsewhere
   cannot reach it by pointing its own name at 127.0.0.1 (DNS rebinding).
3. The Origin: requests made by pages of another origin are refused.
4. The token, where one is set: in the cookie, or as `Authorization: Bearer`. `/?token=...` sets
   the cookie. SameSite=Lax sends it with a click on another site's page, and with nothing else that
   such a page can ask for. An address may try a few wrong tokens; whoever was let in before is not
   held up by others who guess.
5. The rate, for each session (or address), and the size of the body.

Every answer gets headers that keep the browser from loading anything from elsewhere.
"""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.cookies import CookieError, SimpleCookie
from math import ceil
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unrolled.serving.errors import refusal
from unrolled.serving.limits import Guesses, Limits, RateLimiter, network_of

__all__ = ["COOKIE", "KNOWN_COOKIE", "Access", "Guard", "Refused"]

COOKIE = "unrolled_token"
KNOWN_COOKIE = "unrolled_known"
"""Of those who have shown the token to this very server: a secret that nobody can guess.

Browsers keep cookies by the name of a host, whatever the port: both names end in that.
"""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; media-src blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Args:
        token: Which visitors must know; None on loopback.
        loopback: Whether the server listens to this machine alone.
    """

    token: str | None
    loopback: bool


class Refused(HTTPException):
    """A request that is refused while its body comes in.

    Args:
        status: The HTTP status.
        code: The name of its words.
        values: What stands in the places of the words.
        headers: Of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        values: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, code, headers)
        self.code, self.values = code, values or {}


class Guard:
    """The middleware that does all this.

    Args:
        app: What is guarded.
        access: Who may ask.
        limits: How often and how much.
    """

    def __init__(self, app: ASGIApp, access: Access, limits: Limits) -> None:
        self._app = app
        self._access = access
        self._limits = limits
        self._rates = RateLimiter(limits.requests_per_second, limits.burst)
        # behind one address there may be a lecture hall
        everyone = 20
        self._addresses = RateLimiter(
            limits.requests_per_second * everyone, limits.burst * everyone
        )
        self._guesses = Guesses(limits)
        self._known = secrets.token_urlsafe(18)
        self._waiting = 0  # bytes of the bodies that have not been answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        body = _Body(receive, self._most_bytes(scope))
        may_wait = "expect" in Headers(scope=scope)  # for leave to send its body: it has sent none

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                if not may_wait:
                    await body.pass_over(self._limits.head_seconds)
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        refused = self._refuse(scope, headers)
        if refused is not None:
            await refused(scope, receive, guarded_send)
            return

        async def counted() -> Message:
            before = body.received
            message = await body.receive()
            self._waiting += body.received - before
            if self._waiting > self._limits.waiting_bytes:
                raise Refused(503, "busy", headers={"Retry-After": "5"})
            return message

        try:
            await self._app(scope, counted, guarded_send)
        finally:
            self._waiting -= body.received

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        refuse = partial(refusal, languages=headers.get("accept-language", ""))
        num_bytes = len(scope.get("raw_path", b"")) + len(scope["query_string"])
        num_bytes += sum(len(name) + len(value) for name, value in headers.raw)
        if num_bytes > self._limits.head_bytes:
            return refuse(431, "head", {"most": self._limits.head_bytes})
        host = headers.get("host", "")
        if self._access.loopback and _name_of(host) not in _LOOPBACK:
            return refuse(403, "host")
        origin = headers.get("origin")
        if origin is not None and _authority_of(origin) != host.lower():
            return refuse(403, "origin")
        from_here = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        if not from_here and scope["method"] not in ("GET", "HEAD"):
            return refuse(403, "origin")
        if self._access.token is not None and (answer := self._check_token(scope, headers)):
            return answer
        if (wait := self._wait(scope, headers)) > 0:
            return refuse(429, "rate", headers={"Retry-After": str(ceil(wait))})
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > (most := self._most_bytes(scope)):
            return refuse(413, "size", {"most": most})
        return None

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Return None for who knows the token, else what to answer."""
        languages, port = headers.get("accept-language", ""), _port_of(headers.get("host", ""))
        cookies = _cookies_in(headers, port)
        asked = ""
        if scope["method"] == "GET" and scope["path"] == "/" and scope["query_string"]:
            asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if _are_equal(cookies.get(KNOWN_COOKIE, ""), self._known):
            return RedirectResponse("/", 303) if asked else None
        tokens = [asked, _bearer_in(headers), cookies.get(COOKIE, "")]
        tokens = [token for token in tokens if token]
        network = network_of(_address_of(scope))
        if tokens and (wait := self._guesses.wait(network)) > 0:
            seconds = {"Retry-After": str(ceil(wait))}
            return refusal(429, "guesses", languages=languages, headers=seconds)
        assert self._access.token is not None
        right = [token for token in tokens if _are_equal(token, self._access.token)]
        if asked in right:
            answer = RedirectResponse("/", 303)
            for name, value in ((COOKIE, asked), (KNOWN_COOKIE, self._known)):
                answer.set_cookie(f"{name}{port}", value, httponly=True, samesite="lax")
            return answer
        for token in tokens:
            if token not in right:
                self._guesses.was_wrong(network, token)
        if right:
            return None
        challenge = {"WWW-Authenticate": "Bearer"}
        return refusal(401, "token", languages=languages, headers=challenge)

    def _wait(self, scope: Scope, headers: Headers) -> float:
        wait = self._addresses.wait(network_of(_address_of(scope)))
        session = headers.get("x-session")
        if not wait and session is not None:
            wait = self._rates.wait(session[:64])
        return wait

    def _most_bytes(self, scope: Scope) -> int:
        has_medium = scope["path"] == "/api/caption"
        return self._limits.media_bytes if has_medium else self._limits.body_bytes


class _Body:
    """The body of a request, measured while it comes, for one whose length was not told."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self.received = 0
        self._is_over = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._note(message)
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            if self.received > self._most:
                raise Refused(413, "size", {"most": self._most})
        return message

    async def pass_over(self, seconds: float) -> None:
        """Take in what is still to come, and drop it: who is sending it cannot hear an answer.

        A connection that is closed while something comes in is reset, and the answer lost.

        Args:
            seconds: How long that may take.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._is_over:
                    self._note(await self._receive())

    def _note(self, message: Message) -> None:
        self._is_over = message["type"] != "http.request" or not message.get("more_body", False)


def _name_of(host: str) -> str:
    """Return a Host header's name without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _port_of(host: str) -> str:
    """Return the port of a Host header as the end of a cookie's name; nothing for the usual one."""
    try:
        port = urlsplit(f"//{host}").port
    except ValueError:
        return ""
    return "" if port is None else f"_{port}"


def _authority_of(origin: str) -> str | None:
    """Return an Origin header's name and port, None if it is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _address_of(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _are_equal(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode())


def _bearer_in(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _cookies_in(headers: Headers, port: str) -> dict[str, str]:
    """Return our cookies; those of other programs on this host may be written in any way."""
    cookies: dict[str, str] = {}
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name in (f"{COOKIE}{port}", f"{KNOWN_COOKIE}{port}"):
            ours = name.removesuffix(port)
            try:
                cookies[ours] = SimpleCookie(part)[name].value  # it may be in quotes
            except (CookieError, KeyError):
                cookies[ours] = value
    return cookies
