"""Words to numbers and back, those of a vocabulary's training part and one for all others.

Unlike the vocabularies of text (`vocabulary.py`) this one forgets: an unknown word stays unknown.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from unrolled.data.content import strings_of
from unrolled.errors import VocabularyError

__all__ = ["BEGIN", "END", "UNKNOWN", "WordVocabulary", "split_words"]

UNKNOWN, BEGIN, END = 0, 1, 2
"""The numbers of the unknown word, of what stands before a first word and after a last one."""

_SPECIAL = ("<unk>", "<s>", "</s>")
_WORD = re.compile(r"\w+(?:['\u2019\-]\w+)*|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Return the words and punctuation marks of `text`, as they are written.

    A word keeps apostrophes and hyphens inside it. What is separated by blanks stays separate.

    Example:
        >>> split_words("Don't: it's a well-made film (2005).")
        ["Don't", ':', "it's", 'a', 'well-made', 'film', '(', '2005', ')', '.']
    """
    return _WORD.findall(text)


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
