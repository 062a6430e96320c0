"""The languages of the page, one file each: `en.json`, `pt-BR.json`, all that is said in it.

A new language is a new file beside those, called by its code (BCP 47), with whatever it has another
word for; the rest is said in English. Nothing else has to know of it. Who shows words takes them
from here, so that two places cannot say the same thing differently.

Words may hold places, such as "{unit}", that `fill` puts values in.
"""

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from unrolled.errors import OptionError

__all__ = ["ENGLISH", "Phrases", "Words", "best_language", "fill", "language_names", "load_words"]

Words = dict[str, Any]
"""What is said, by what it is: texts, lists, and further words by what they are."""

ENGLISH = "en"

_FOLDER: Traversable = files("unrolled.languages")
_PLACE = re.compile(r"\{(\w+)\}")


def language_names() -> dict[str, str]:
    """Return the languages' own names by their codes, English first."""
    codes = sorted(file.name.removesuffix(".json") for file in _files())
    codes.sort(key=lambda code: code != ENGLISH)
    return {code: _read(code)["name"] for code in codes}


def load_words(code: str = ENGLISH) -> Words:
    """Return all words of a language.

    Raises:
        OptionError: There is no such language.
    """
    known = language_names()
    if code not in known:
        raise OptionError(f"no language {code!r}; there are: {' '.join(known)}")
    return _merged(_read(ENGLISH), _read(code))


def best_language(wanted: str) -> str:
    """Return the code of the first language that is wanted and there is, else English.

    Args:
        wanted: Codes in the order of preference, as browsers send them: "pt-PT,pt;q=0.9,en".

    Example:
        >>> best_language("pt-PT,pt;q=0.9,en"), best_language("x-none"), best_language("")
        ('pt-BR', 'en', 'en')
    """
    known = [*language_names()]
    for part in wanted.split(","):
        code = part.partition(";")[0].strip().lower()
        exact = [each for each in known if each.lower() == code]
        related = [each for each in known if each.lower().split("-")[0] == code.split("-")[0]]
        if exact or related:
            return (exact or related)[0]
    return ENGLISH


def fill(text: str, values: Mapping[str, object]) -> str:
    """Return a text with values in its places; a place without a value stays as it is.

    Example:
        >>> fill("{number} of {total}", {"number": 3, "total": 9})
        '3 of 9'
    """
    return _PLACE.sub(lambda place: str(values.get(place[1], place[0])), text)


class Phrases:
    """What a report says in a language: a part of its words, and numbers in its signs.

    Args:
        language: Its code.
        part: Which of the words, by name.

    Raises:
        OptionError: There is no such language.

    Example:
        >>> say = Phrases("pt-BR", "report")
        >>> say("figures.back", units=say.many("character")), say.number(1234.5, ",.1f")
        ('caracteres atrás', '1.234,5')
    """

    def __init__(self, language: str, part: str) -> None:
        words = load_words(language)
        self.language = language
        self._words = words[part]
        self._units = words["units"]
        self._patterns = words["patterns"]
        self._signs = str.maketrans(",.", ".,") if words["decimal"] == "," else {}

    def __call__(self, name: str, /, **values: object) -> str:
        """Return a text by its name, the parts of which points separate, with values in it."""
        return fill(self._found(name), values)

    def all(self, name: str, /, **values: object) -> list[str]:
        """Return a list of texts."""
        return [fill(text, values) for text in self._found(name)]

    def of(self, name: str, kind: str, /, **values: object) -> str:
        """Return which of several texts is for a kind, or that for all others."""
        words = self._found(name)
        return fill(words.get(kind, words.get("other", kind)), values)

    def number(self, value: float, form: str = "") -> str:
        """Return a number, in a form of Python's, with the signs of the language."""
        return self.signs(f"{value:{form}}")

    def signs(self, number: str) -> str:
        """Return a number that is written as in English with the signs of the language."""
        return number.translate(self._signs)

    def one(self, unit: str) -> str:
        """Return what a step is called."""
        return str(self._units[unit]["one"]) if unit in self._units else unit

    def many(self, unit: str) -> str:
        """Return what steps are called."""
        return str(self._units[unit]["many"]) if unit in self._units else f"{unit}s"

    def pattern(self, name: str) -> str:
        """Return what a pattern of a text is called."""
        return str(self._patterns.get(name, name))

    def _found(self, name: str) -> Any:
        words: Any = self._words
        for part in name.split("."):
            words = words[part]
        return words


def _files() -> list[Traversable]:
    return [file for file in _FOLDER.iterdir() if file.name.endswith(".json")]


def _read(code: str) -> Words:
    words: Words = json.loads(_FOLDER.joinpath(f"{code}.json").read_text(encoding="utf-8"))
    return words


def _merged(general: Words, special: Words) -> Words:
    """Return `general` with what `special` says in its place, at any depth."""
    both = dict(general)
    for key, value in special.items():
        old = general.get(key)
        deeper = isinstance(old, dict) and isinstance(value, dict)
        both[key] = _merged(old or {}, value) if deeper else value
    return both
