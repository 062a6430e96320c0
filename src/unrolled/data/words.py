r"""Text to words, words to numbers and back: those of a training part, and one for all others.

One cutter for all tasks. It loses nothing, for each piece keeps the blanks before it:

    Don't go, cafe\u0301!       Don't| go|,| caf\u00e9|!
    हिन्दी 我们                हिन्दी| 我|们

A mark (a vowel sign, an accent, a point) is part of what it stands on. Scripts that put no blanks
between words, such as Chinese and Thai, are cut into what their readers see as one character. Text
is read in Unicode's composed form, NFC, in training and in prediction.

Unlike the vocabularies of text (`vocabulary.py`) this one forgets: an unknown word stays unknown.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Self

import regex
import torch
from torch import Tensor

from unrolled.data.content import strings_of
from unrolled.errors import VocabularyError

__all__ = [
    "BEGIN",
    "END",
    "TEXT_VERSION",
    "UNKNOWN",
    "WordVocabulary",
    "as_read",
    "cut_sentence",
    "cut_text",
    "cut_tokens",
    "split_words",
    "text_version_of",
    "unknown_note",
]

UNKNOWN, BEGIN, END = 0, 1, 2
"""The numbers of the unknown word, of what stands before a first word and after a last one."""

TEXT_VERSION = 2
"""How text is read and cut, which a run keeps: 2 is what stands above. Version 1, of runs that name
none, took text as it stood and cut words at marks."""

_SPECIAL = ("<unk>", "<s>", "</s>")
# Scripts without blanks between words
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_BLANK = r"[\s\x1c-\x1f]"  # as of `str.split`
_ASCII_TOKENS = re.compile(r" ?(?:<\w+>|\w+(?:['\-]\w+)*|[^\w\s])|\s")


def as_read(text: str, version: int = TEXT_VERSION) -> str:
    r"""Return text in the form in which it is read: NFC.

    Example:
        >>> as_read("cafe\u0301") == "caf\u00e9"
        True
    """
    return unicodedata.normalize("NFC", text) if version > 1 else text


def cut_text(text: str, *, compounds: bool = True, version: int = TEXT_VERSION) -> list[str]:
    """Return the words and punctuation marks of `text`, each with the blanks before it.

    Joined they are `as_read(text)`, but for blanks at the very end.

    Args:
        text: Any.
        compounds: Whether a word keeps apostrophes and hyphens inside it.
        version: `TEXT_VERSION`, or that of an older run.

    Example:
        >>> cut_text("It's a well-made film."), cut_text("It's", compounds=False)
        (["It's", ' a', ' well-made', ' film', '.'], ['It', "'", 's'])
    """
    pattern: Any = _pattern_of_ascii(compounds)
    if version > 1 and not text.isascii():
        text, pattern = as_read(text), _pattern(compounds)
    pieces: list[str] = pattern.findall(text)
    return pieces


def cut_sentence(text: str, *, compounds: bool = True, version: int = TEXT_VERSION) -> list[str]:
    """Return the pieces of a sentence that is to be written: joined and stripped they are the text.

    As `cut_text`, but a blank stands before the first word too, so that it is the word that it is
    elsewhere; not in scripts that put none between words.

    Example:
        >>> cut_sentence("Go on!")
        [' Go', ' on', '!']
    """
    blank = "" if version > 1 and _unspaced().match(text) else " "
    return cut_text(f"{blank}{text}", compounds=compounds, version=version)


def cut_tokens(text: str) -> list[str]:
    r"""Return the words and marks of `text`, each with the one blank before it, and other spaces.

    Joined they are `text`, as it stands. A name in angle brackets is one word.

    Example:
        >>> cut_tokens("No <unk>,  no\n")
        ['No', ' <unk>', ',', ' ', ' no', '\n']
    """
    pattern: Any = _ASCII_TOKENS if text.isascii() else _tokens()
    pieces: list[str] = pattern.findall(text)
    return pieces


def split_words(text: str, version: int = TEXT_VERSION) -> list[str]:
    """Return the words and punctuation marks of `text`, without blanks.

    A word keeps apostrophes and hyphens inside it. What is separated by blanks stays separate.

    Example:
        >>> split_words("Don't: it's a well-made film (2005).")
        ["Don't", ':', "it's", 'a', 'well-made', 'film', '(', '2005', ')', '.']
    """
    return [piece.lstrip() for piece in cut_text(text, version=version)]


def text_version_of(content: Mapping[str, Any]) -> int:
    """Return the version in which a run reads text, from what it keeps."""
    version = content.get("text_version", 1)
    if version not in range(1, TEXT_VERSION + 1) or isinstance(version, bool):
        raise ValueError(f"text_version must be at most {TEXT_VERSION}, got {version!r}")
    return int(version)


def unknown_note(unknown: int, total: int, where: str, hint: str) -> list[str]:
    """Return a note if most words of a part are unknown, which says little of what it could be.

    Args:
        unknown: How many words a vocabulary lacks.
        total: How many there are.
        where: They are.
        hint: What may be better.
    """
    if 2 * unknown <= total:
        return []
    share = f"{unknown:,} of {total:,} words ({unknown / total:.0%})"
    return [f"{share} of the {where} are unknown to the vocabulary: {hint}"]


@cache
def _pattern_of_ascii(compounds: bool) -> re.Pattern[str]:
    """Return what cuts ASCII, and any text in version 1: twice as fast as the other."""
    joined = r"(?:['\u2019\-]\w+)*" if compounds else ""
    return re.compile(rf"\s*(?:\w+{joined}|[^\w\s])")


@cache
def _unspaced() -> Any:
    return regex.compile(_UNSPACED)


@cache
def _tokens() -> Any:
    word = _word(compounds=True)
    return regex.compile(rf" ?(?:<\w+>|{word}|(?!{_BLANK})\X)|{_BLANK}", regex.V1)


@cache
def _pattern(compounds: bool) -> Any:
    return regex.compile(rf"{_BLANK}*(?:{_word(compounds)}|(?!{_BLANK})\X)", regex.V1)


def _word(compounds: bool) -> str:
    letter = rf"[[\p{{L}}\p{{N}}_]--{_UNSPACED}][\p{{M}}\u200c\u200d]*+"
    inside = r"[\p{Cf}--[\u200b-\u200d\ufeff]]*"  # soft hyphens, marks of direction
    word = f"{letter}(?:{inside}{letter})*+"
    joined = rf"(?:['\u2019\-]{word})*" if compounds else ""
    return f"{word}{joined}"


class WordVocabulary:
    """Words numbered from 3 on; 0 is any other word, 1 and 2 are the begin and the end.

    Args:
        words: Different, none of them `<unk>`, `<s>` or `</s>`.

    Raises:
        VocabularyError: A word occurs twice or is one of those.

    Example:
        >>> vocabulary = WordVocabulary.from_sentences([["a", "b"], ["a"]], min_count=2)
        >>> vocabulary.encode(["a", "b"]), vocabulary.decode([3, 0])
        (tensor([3, 0]), ['a', '<unk>'])
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = (*_SPECIAL, *words)
        self._ids = {word: id for id, word in enumerate(self._words)}
        if len(self._ids) != len(self._words):
            twice = [word for word, count in Counter(self._words).items() if count > 1]
            raise VocabularyError(f"the words of a vocabulary must be different, twice: {twice[0]}")

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    @classmethod
    def from_sentences(
        cls, sentences: Iterable[Iterable[str]], *, min_count: int = 1, max_size: int | None = None
    ) -> Self:
        """Return the vocabulary of the words of `sentences`, the most frequent first.

        Args:
            sentences: Each a sequence of words.
            min_count: How often a word must occur, at least.
            max_size: The most words, None for any number.
        """
        counts = Counter(word for sentence in sentences for word in sentence)
        for special in _SPECIAL:
            del counts[special]
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([word for word, count in ranked if count >= min_count][:max_size])

    def encode(self, words: Sequence[str]) -> Tensor:
        """Return the number of each word, (N,) int64."""
        return torch.tensor([self._ids.get(word, UNKNOWN) for word in words], dtype=torch.int64)

    def decode(self, ids: Tensor | Sequence[int]) -> list[str]:
        """Return the words of `ids`."""
        numbers = ids.tolist() if isinstance(ids, Tensor) else ids
        return [self._words[id] for id in numbers]

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` rebuilds the vocabulary from, in types that JSON has."""
        return {"words": list(self._words[len(_SPECIAL) :])}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the vocabulary that `to_dict` described."""
        return cls(strings_of(content, "words"))
