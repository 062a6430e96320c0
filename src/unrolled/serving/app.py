"""The server put together: the page's files, the API, the guard, and how errors are told."""

import ipaddress
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from unrolled.errors import OptionError, UnrolledError
from unrolled.serving.api import router
from unrolled.serving.assets import load_assets
from unrolled.serving.connections import bounded_connection
from unrolled.serving.errors import refusal, refusal_of
from unrolled.serving.guard import Access, Guard, Refused
from unrolled.serving.limits import Limits
from unrolled.serving.runs import Runs
from unrolled.serving.services import Services
from unrolled.serving.sessions import Sessions
from unrolled.serving.workers import BusyError, Workers

__all__ = ["create_app", "is_loopback", "make_server", "serve"]

_log = logging.getLogger("unrolled.serving")


def create_app(runs: Runs, access: Access, limits: Limits | None = None) -> FastAPI:
    """Return the server, an ASGI application.

    Args:
        runs: What it shows.
        access: Who may ask.
        limits: How much.
    """
    limits = limits or Limits()
    workers = Workers(limits.slow_jobs)
    services = Services(runs, Sessions(limits), workers, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        workers.close()

    app = FastAPI(
        title="unrolled",
        summary="Write with recurrent networks and look inside them.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # those pages load their scripts from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = services
    app.include_router(router)
    _add_page(app)
    _add_errors(app)
    app.add_middleware(Guard, access=access, limits=limits)
    return app


def _add_page(app: FastAPI) -> None:
    assets = load_assets()

    def answer(name: str, request: Request) -> Response:
        asset = assets.get(name)
        if asset is None:
            raise HTTPException(404)
        headers = {"ETag": asset.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, headers=headers, media_type=asset.media_type)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return answer("index.html", request)

    @app.get("/static/{name:path}", include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        return answer(name, request)


def _add_errors(app: FastAPI) -> None:
    """Tell every error in the API's one form; of our own mistakes no more than that."""

    @app.exception_handler(UnrolledError)
    async def _(request: Request, error: UnrolledError) -> Response:
        return refusal_of(error, _languages(request))

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        values = {"where": where, "message": first["msg"].removeprefix("Value error, ")}
        return refusal(422, "request", values, languages=_languages(request))

    @app.exception_handler(BusyError)
    async def _(request: Request, _error: BusyError) -> Response:
        wait = {"Retry-After": "5"}
        return refusal(503, "busy", languages=_languages(request), headers=wait)

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        told = error if isinstance(error, Refused) else None
        code = told.code if told else "http"
        values = told.values if told else {"message": error.detail}
        languages, headers = _languages(request), error.headers
        return refusal(error.status_code, code, values, languages=languages, headers=headers)

    @app.exception_handler(Exception)
    async def _(request: Request, _error: Exception) -> Response:
        return refusal(500, "internal", languages=_languages(request))


def _languages(request: Request) -> str:
    return request.headers.get("accept-language", "")


def is_loopback(host: str) -> bool:
    """Return whether `host` can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    paths: Sequence[Path],
    *,
    host: str,
    port: int,
    token: str | None,
    say: Callable[[str], None],
    note: Callable[[str], None] = lambda _: None,
    trust_code: bool = False,
) -> None:
    """Serve runs until a signal ends it.

    Args:
        paths: The runs' folders; none for the lecture alone.
        host: Where to listen. Anywhere but on loopback visitors need a token.
        port: 0 takes a free one.
        token: Which visitors must know; beyond loopback None takes a random one.
        say: Is told the address.
        note: Is told which folders cannot be served, and why; and which have learned nothing yet.
        trust_code: Whether cells of somebody's own, which the folders hold, may be run.

    Raises:
        OptionError: The address cannot be had, or the token is too short to be one, or has
            characters that a header cannot carry.
        RunError: None of the folders is a run.
    """
    if token is not None and len(token) < 8:
        raise OptionError(
            "--token must have at least 8 characters", "leave it out for a random one"
        )
    if token is not None and not (token.isascii() and token.isprintable()):
        raise OptionError("--token must have printable ASCII characters only", "choose another")
    loopback = is_loopback(host)
    if not loopback and token is None:
        token = secrets.token_urlsafe(18)
    runs = Runs(paths, trust_code=trust_code)
    for error in runs.broken.values():
        note(f"left out: {error}")
    for sentence in runs.notes:
        note(sentence)
    server = make_server(create_app(runs, Access(token, loopback)))
    with _listen(host, port) as listening:
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listening.getsockname()[1]}/"
        say(address if token is None else f"{address}?token={quote(token, safe='')}")
        server.run(sockets=[listening])


def make_server(app: FastAPI) -> uvicorn.Server:
    """Return what serves an application of `create_app`, within its limits."""
    limits: Limits = app.state.services.limits
    config = uvicorn.Config(
        app,
        http=bounded_connection(limits),
        ws="none",
        log_config=None,  # whoever starts it says where its log goes
        log_level="warning",
        server_header=False,
        access_log=False,
        h11_max_incomplete_event_size=limits.head_bytes,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        hint = "choose another --port, or 0 for a free one; --host is an address of this machine"
        raise OptionError(f"{host}:{port} cannot be listened on: {error.strerror}", hint) from None
