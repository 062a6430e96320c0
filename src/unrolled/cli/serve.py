"""`unrolled serve`: the page on which one writes with runs and looks inside them."""

from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.listening import Host, Port, Token, serve_page
from unrolled.cli.trust import TrustCode

__all__ = ["serve"]


def serve(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of trained models.")],
    port: Port = 8000,
    host: Host = "127.0.0.1",
    token: Token = None,
    trust_code: TrustCode = False,
) -> None:
    """Open runs on a page: write with them, step through their cells, see what they remember."""
    serve_page(runs, host=host, port=port, token=token, trust_code=trust_code)
