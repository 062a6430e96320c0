"""`unrolled serve`: the page on which one writes with runs and looks inside them."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.terminal import say, visible
from unrolled.cli.trust import TrustCode

__all__ = ["serve"]


def serve(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of trained models.")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Address to listen on; beyond this machine a token is needed."
        ),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="UNROLLED_TOKEN",
            help="Token that visitors must know.",
            show_default="none on this machine, a random one beyond",
        ),
    ] = None,
    trust_code: TrustCode = False,
) -> None:
    """Open runs on a page: write with them, step through their cells, see what they remember."""
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
        say(address)
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
