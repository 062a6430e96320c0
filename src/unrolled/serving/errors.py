"""Why a request is refused: a code and values for programs, words for people in their language.

The words are in `languages`, under "errors", by the code.
"""

import json
from collections.abc import Mapping
from functools import cache

from starlette.responses import Response

from unrolled.errors import OptionError, UnrolledError, VocabularyError
from unrolled.languages import ENGLISH, best_language, fill, load_words

__all__ = ["ApiError", "refusal", "refusal_of"]

Values = Mapping[str, object]


class ApiError(OptionError):
    """A question that has no answer.

    Args:
        code: The name of its words.
        status: The HTTP status.
        values: What stands in the places of the words.
    """

    def __init__(self, code: str, status: int = 422, **values: object) -> None:
        super().__init__(*_said(code, values, ENGLISH))
        self.code, self.status, self.values = code, status, values


def refusal(
    status: int,
    code: str,
    values: Values | None = None,
    *,
    languages: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error as the API gives it.

    Args:
        status: The HTTP status.
        code: For programs, and the name of its words.
        values: What stands in the places of the words, in types that JSON has.
        languages: Those that the visitor reads, as browsers send them.
        headers: Of the answer.
    """
    values = dict(values or {})
    language = best_language(languages)
    message, hint = _said(code, values, language)
    content = {"code": code, "message": message, "hint": hint, "values": values}
    body = json.dumps({"error": content})  # ASCII: a message may quote half a surrogate pair
    always = {"Cache-Control": "no-store", "Content-Language": language, "Vary": "Accept-Language"}
    return Response(body, status, always | dict(headers or {}), "application/json")


def refusal_of(error: UnrolledError, languages: str) -> Response:
    """Return an error of this package's own: what has no code is said in English, as it is."""
    if isinstance(error, ApiError):
        return refusal(error.status, error.code, error.values, languages=languages)
    code = "vocabulary" if isinstance(error, VocabularyError) else "option"
    values = {"message": error.message, "hint": error.hint}
    return refusal(422, code, values, languages=languages)


def _said(code: str, values: Values, language: str) -> tuple[str, str]:
    words, groups = _words(language)
    shown = {name: _grouped(x, groups) if type(x) is int else x for name, x in values.items()}
    return fill(words[code]["message"], shown), fill(words[code]["hint"], shown)


def _grouped(number: int, mark: str) -> str:
    return f"{number:,}".replace(",", mark)


@cache
def _words(language: str) -> tuple[dict[str, dict[str, str]], str]:
    """Return the words of all errors, and what a language puts between thousands."""
    words = load_words(language)
    return words["errors"], "," if words["decimal"] == "." else "."
