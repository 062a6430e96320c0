"""Serving the page from a command: the options that say where, and what is told meanwhile."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.terminal import say, visible

__all__ = ["Host", "Port", "Token", "serve_page"]

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Address to listen on; beyond this machine a token is needed."
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="UNROLLED_TOKEN",
        help="Token that visitors must know.",
        show_default="none on this machine, a random one beyond",
    ),
]


def serve_page(
    runs: Sequence[Path],
    *,
    host: str,
    port: int,
    token: str | None,
    trust_code: bool = False,
    shown: str = "",
) -> None:
    """Serve the page until a signal ends it, telling its address.

    Args:
        runs: Folders of trained models.
        host: Where to listen.
        port: 0 takes a free one.
        token: Which visitors must know.
        trust_code: Whether cells of somebody's own may be run.
        shown: What the address ends in: the part of the page that is shown first.

    Raises:
        OptionError: The libraries that serve are missing, or the address cannot be had.
        RunError: None of the folders is a run.
    """
    from unrolled.cli.program import program
    from unrolled.errors import OptionError, render

    try:
        from unrolled.serving.app import serve as serve_runs
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "unrolled":
            raise
        hint = 'pip install "unrolled[serve]"'
        raise OptionError(f"the page needs the library {error.name}", hint) from None

    def say_address(address: str) -> None:
        say(f"{address}{shown}")
        say("Ctrl-C ends it.", err=True)

    def note(words: str) -> None:
        say(f"note: {render(words, program=program())}", err=True)

    handler = logging.StreamHandler()
    handler.setFormatter(_Visible())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    serve_runs(
        runs,
        host=host,
        port=port,
        token=token,
        trust_code=trust_code,
        say=say_address,
        note=note,
    )


class _Visible(logging.Formatter):
    """The server's log, which quotes what visitors and folders hold."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), lines=True)
