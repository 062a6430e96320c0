"""The option that says in which language a report or a page is written."""

from typing import Annotated

import typer

from unrolled.errors import OptionError, field
from unrolled.languages import Phrases, language_names

__all__ = ["Language", "phrases"]

Language = Annotated[
    str,
    typer.Option(
        "--language",
        metavar="CODE",
        help=f"Language of what is written. One of {', '.join(language_names())}.",
    ),
]


def phrases(language: str, part: str) -> Phrases:
    """Return what is said in a language, before anything is computed.

    Raises:
        OptionError: There is no such language.
    """
    if language not in (known := language_names()):
        message = f"{field('language')} must be one of {', '.join(known)}, got {language!r}"
        raise OptionError(message)
    return Phrases(language, part)
