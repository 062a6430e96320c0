"""`unrolled lecture`: recurrent networks explained on a page, in twelve scenes to try."""

from unrolled.cli.language import BrowserLanguage, known_language
from unrolled.cli.listening import Host, Port, Token, serve_page

__all__ = ["lecture"]


def lecture(
    language: BrowserLanguage = None,
    port: Port = 8000,
    host: Host = "127.0.0.1",
    token: Token = None,
) -> None:
    """Open a lecture on recurrent networks: twelve scenes to try, with exercises."""
    first = "#lecture/sequence"
    shown = first if language is None else f"{first}/{known_language(language)}"
    serve_page((), host=host, port=port, token=token, shown=shown)
