"""A text that is written for a visitor while it is drawn, in turn with those of others."""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from time import perf_counter
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from unrolled.kernels import caching_weights
from unrolled.serving.runs import ServedRun
from unrolled.serving.sessions import Session, Sessions
from unrolled.serving.workers import Workers

__all__ = ["Writing", "written_lines"]

_TOKENS_OF_A_SLICE = 16  # fewer cost more in passing them on than in drawing them
_SECONDS_OF_A_SLICE = 0.05


class Writing(StreamingResponse):
    """A text that is being written: it counts from now to its end, also where nobody reads it.

    Args:
        lines: What is sent.
        session: Of whom it is written for.
    """

    def __init__(self, lines: AsyncIterator[str], session: Session) -> None:
        super().__init__(lines, media_type="application/x-ndjson")
        self._session = session
        session.generating += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the text; it counts no more when that has ended, however."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._session.generating -= 1


async def written_lines(
    workers: Workers,
    sessions: Sessions,
    session: Session,
    run: ServedRun,
    pieces: Iterator[str],
    last: dict[str, Any],
    prompt: str,
) -> AsyncIterator[str]:
    """Yield a visitor's text as JSON lines, a few tokens each time it is their turn.

    After the text comes what `last` says.
    """

    def next_slice() -> tuple[str, bool]:
        end = perf_counter() + _SECONDS_OF_A_SLICE
        text: list[str] = []
        with caching_weights(run.weight_cache):
            for piece in islice(pieces, _TOKENS_OF_A_SLICE):
                text.append(piece)
                if perf_counter() > end:
                    break
        return "".join(text), bool(text)

    if prompt:
        yield _line({"prompt": prompt})
    while True:
        text, more = await workers.write(next_slice)
        if not more:
            break
        sessions.get(session.id)  # whoever is written for is there
        yield _line({"text": text})
    yield _line({"done": True, **last})


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False) + "\n"
