"""Words as their letters, affixes and shape: what is left to know of a word never seen before.

Words as a whole are numbered in `data/words.py`. In the vocabularies of texts an unknown character
is an error; here it is the letter 0.
"""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from typing import Self

from unrolled.data.words import TEXT_VERSION, as_read

__all__ = ["Affixes", "Alphabet", "shape_of", "without_case"]

_KEPT_AT_EACH_END = 16
_LONGEST_AFFIX = 4
_LONGEST_SHAPE = 8


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


class Affixes:
    """Beginnings, ends and shapes of words, numbered from 1 on; 0 is any other, or none.

    Args:
        names: Different; each as `affixes_of` writes it.

    Example:
        >>> affixes = Affixes.from_words(["gato", "gata", "rato"])
        >>> affixes.names
        ('=x', 'p:g', 'p:ga', 'p:gat', 's:ato', 's:o', 's:to')
        >>> affixes.encode("Gado")
        [2, 3, 0, 0, 6, 0, 0, 0, 0]
    """

    num_kinds = 2 * _LONGEST_AFFIX + 1

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._ids = {name: id for id, name in enumerate(self.names, start=1)}

    def __len__(self) -> int:
        return len(self.names) + 1

    @classmethod
    def from_words(cls, words: Iterable[str]) -> Self:
        """Return those that two or more different words have."""
        counts = Counter(name for word in set(words) for name in affixes_of(word) if name)
        return cls(sorted(name for name, count in counts.items() if count > 1))

    def encode(self, word: str) -> list[int]:
        """Return the numbers of a word's beginnings, ends and shape: `num_kinds` of them."""
        return [self._ids.get(name, 0) for name in affixes_of(word)]


def affixes_of(word: str) -> list[str]:
    """Return the beginnings of 1 to 4 letters, the ends, and the shape; "" for those it lacks.

    Beginnings and ends are in lower case, with 0 for every digit, and shorter than the word.

    Example:
        >>> affixes_of("Rio")
        ['p:r', 'p:ri', '', '', 's:o', 's:io', '', '', '=Xx']
    """
    plain = without_case(word)
    sizes = range(1, _LONGEST_AFFIX + 1)
    begins = [f"p:{plain[:size]}" if size < len(plain) else "" for size in sizes]
    ends = [f"s:{plain[-size:]}" if size < len(plain) else "" for size in sizes]
    return [*begins, *ends, f"={shape_of(word)}"]


def shape_of(word: str) -> str:
    """Return X for capitals, x for small letters, c for other letters, 0 for digits, each once.

    Other characters stand for themselves. A long shape is cut.

    Example:
        >>> [shape_of(word) for word in ("McDonald", "1.160/2016", "-", "東京")]
        ['XxXx', '0.0/0', '-', 'c']
    """
    kinds = (
        "X"
        if c.isupper()
        else "x"
        if c.islower()
        else "0"
        if c.isdigit()
        else "c"
        if c.isalpha()
        else c
        for c in word[: 4 * _LONGEST_SHAPE]
    )
    return "".join(kind for kind, _ in groupby(kinds))[:_LONGEST_SHAPE]


@lru_cache(maxsize=2**16)
def without_case(word: str) -> str:
    """Return a word in lower case and with 0 for every digit: what its embedding goes by.

    Example:
        >>> without_case("ABc-2019")
        'abc-0000'
    """
    return re.sub(r"\d", "0", word.lower())
