"""The option that says in which language a report or a page is written."""

from typing import Annotated

import typer

from unrolled.errors import OptionError, field
from unrolled.languages import Phrases, best_language, language_names

__all__ = ["BrowserLanguage", "Language", "known_language", "phrases"]

_HELP = f"Language of what is written. One of {', '.join(language_names())}."

Language = Annotated[str, typer.Option("--language", metavar="CODE", help=_HELP)]
BrowserLanguage = Annotated[
    str | None,
    typer.Option("--language", metavar="CODE", help=_HELP, show_default="the browser's"),
]


def known_language(language: str) -> str:
    """Return the code of a language that is asked for by it, or by its beginning: pt is pt-BR.

    Raises:
        OptionError: There is no such language.
    """
    known = language_names()
    if language in known:
        return language
    code = best_language(language)
    if language and code.lower().split("-")[0] == language.lower():
        return code
    message = f"{field('language')} must be one of {', '.join(known)}, got {language!r}"
    raise OptionError(message)


def phrases(language: str, part: str) -> Phrases:
    """Return what is said in a language, before anything is computed.

    Raises:
        OptionError: There is no such language.
    """
    return Phrases(known_language(language), part)
