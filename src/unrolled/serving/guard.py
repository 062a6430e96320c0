"""What every request has to pass before anything is done for it.

1. The Host: a server on loopback answers to loopback's names alone, so that a page elsewhere
   cannot reach it by pointing its own name at 127.0.0.1 (DNS rebinding).
2. The Origin: requests made by pages of another origin are refused.
3. The token, where one is set: in the cookie, or as `Authorization: Bearer`. `/?token=...` sets
   the cookie.
4. The rate, for each session (or address), and the size of the body.

Every answer gets headers that keep the browser from loading anything from elsewhere.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from math import ceil
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unrolled.serving.limits import Limits, RateLimiter

__all__ = ["COOKIE", "Access", "Guard", "refusal"]

COOKIE = "unrolled_token"
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


def refusal(
    status: int, code: str, message: str, hint: str = "", headers: dict[str, str] | None = None
) -> Response:
    """Return an error as the API gives it: a code for programs, words for people."""
    content = {"error": {"code": code, "message": message, "hint": hint}}
    body = json.dumps(content, ensure_ascii=False)
    return Response(
        body, status, {"Cache-Control": "no-store"} | (headers or {}), "application/json"
    )


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        refused = self._refuse(scope, headers)
        if refused is not None:
            await refused(scope, receive, guarded_send)
            return
        await self._app(scope, self._measured(receive, self._most_bytes(scope)), guarded_send)

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if self._access.loopback and _name_of(host) not in _LOOPBACK:
            return refusal(
                403, "host", "this server answers to localhost only", "open http://localhost"
            )
        origin = headers.get("origin")
        if origin is not None and _authority_of(origin) != host.lower():
            return refusal(403, "origin", "requests from other sites are refused")
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET":
            return refusal(403, "origin", "requests from other sites are refused")
        if self._access.token is not None and (answer := self._check_token(scope, headers)):
            return answer
        if (wait := self._wait(scope, headers)) > 0:
            seconds = {"Retry-After": str(ceil(wait))}
            return refusal(429, "rate", "too many requests", "wait a moment", seconds)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > (most := self._most_bytes(scope)):
            return refusal(413, "size", _too_large(most), "send less")
        return None

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Return None for who knows the token, else what to answer."""
        if scope["method"] == "GET" and scope["path"] == "/" and scope["query_string"]:
            token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if self._is_token(token):
                answer = RedirectResponse("/", 303)
                answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
                return answer
        if any(self._is_token(token) for token in _tokens_in(headers)):
            return None
        return refusal(
            401,
            "token",
            "this server wants its token",
            "open the address that `unrolled serve` printed, which ends in ?token=...",
            {"WWW-Authenticate": "Bearer"},
        )

    def _is_token(self, given: str) -> bool:
        assert self._access.token is not None
        return secrets.compare_digest(given.encode(), self._access.token.encode())

    def _wait(self, scope: Scope, headers: Headers) -> float:
        address = scope["client"][0] if scope.get("client") else ""
        wait = self._addresses.wait(address)
        session = headers.get("x-session")
        if not wait and session is not None:
            wait = self._rates.wait(session[:64])
        return wait

    def _most_bytes(self, scope: Scope) -> int:
        has_medium = scope["path"] == "/api/caption"
        return self._limits.media_bytes if has_medium else self._limits.body_bytes

    def _measured(self, receive: Receive, most: int) -> Receive:
        """Return `receive`, which ends with an error where a body without a length goes on."""
        received = 0

        async def measured() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > most:
                    raise HTTPException(413, _too_large(most))
            return message

        return measured


def _too_large(most: int) -> str:
    return f"a request may have {most:,} bytes"


def _name_of(host: str) -> str:
    """Return a Host header's name without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _authority_of(origin: str) -> str | None:
    """Return an Origin header's name and port, None if it is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _tokens_in(headers: Headers) -> Iterable[str]:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield given.strip()
    try:
        cookies: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return
    if (morsel := cookies.get(COOKIE)) is not None:
        value: Any = morsel.value
        yield value
