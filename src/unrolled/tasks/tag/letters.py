"""Words as their letters: what is left to know of a word that nobody has seen before.

Words as a whole are numbered in `data/words.py`. In the vocabularies of texts an unknown character
is an error; here it is the letter 0.
"""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Self

from unrolled.data.words import TEXT_VERSION, as_read

__all__ = ["Alphabet", "without_case"]

_KEPT_AT_EACH_END = 16


class Alphabet:
    """Letters, numbered from 1 on; 0 is any other.

    Args:
        letters: Different, each a character.
        text_version: Of how words are read, `data.words.TEXT_VERSION`.

    Example:
        >>> alphabet = Alphabet.from_words(["gato", "gata"])
        >>> alphabet.letters, alphabet.encode("gatuno")
        ('agt', [2, 1, 3, 0, 0, 0])
    """

    def __init__(self, letters: str, text_version: int = TEXT_VERSION) -> None:
        self.letters = letters
        self.text_version = text_version
        self._ids = {letter: id for id, letter in enumerate(letters, start=1)}

    def __len__(self) -> int:
        return len(self.letters) + 1

    @classmethod
    def from_words(cls, words: Iterable[str]) -> Self:
        """Return the letters that occur twice or more, so that the unknown one occurs too."""
        counts = Counter(letter for word in words for letter in word)
        return cls("".join(sorted(letter for letter, count in counts.items() if count > 1)))

    def read(self, word: str) -> str:
        """Return a word in the form in which it is read, before it is spelled or looked up."""
        return as_read(word, self.text_version)

    def encode(self, word: str) -> list[int]:
        """Return the number of each letter; of a word of over 32, the first and the last 16."""
        if len(word) > 2 * _KEPT_AT_EACH_END:
            word = word[:_KEPT_AT_EACH_END] + word[-_KEPT_AT_EACH_END:]
        return [self._ids.get(letter, 0) for letter in word]


@lru_cache(maxsize=2**16)
def without_case(word: str) -> str:
    """Return a word in lower case and with 0 for every digit: what its embedding goes by.

    Example:
        >>> without_case("ABc-2019")
        'abc-0000'
    """
    return re.sub(r"\d", "0", word.lower())
