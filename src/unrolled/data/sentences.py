r"""Sentences to numbers and back, for models that write them: words, characters or BPE.

A token of words or BPE knows whether a blank stands before it (shown as "␣"), so that what a model
writes is text again, without rules for punctuation:

    word   ␣Je ␣t ' aime .        char   J e ␣ t ' a i m e .

Words are cut by `words.cut_sentence`, apostrophes and hyphens for themselves.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from unrolled.data.content import one_of
from unrolled.data.options import SENTENCE_TOKENS
from unrolled.data.vocabulary import BPEVocabulary
from unrolled.data.words import (
    TEXT_VERSION,
    WordVocabulary,
    as_read,
    cut_sentence,
    text_version_of,
)
from unrolled.errors import require

__all__ = ["SentenceVocabulary"]

_NUM_MARKS = 3  # UNKNOWN, BEGIN and END of words.py come first in every vocabulary


class SentenceVocabulary:
    """The tokens of sentences: 0 is any unknown one, 1 and 2 are the begin and the end.

    Args:
        tokens: "word", "bpe" or "char".
        vocabulary: Of words (or characters) with their blanks, or of byte-pair encoding.
        version: Of how text is read, `words.TEXT_VERSION`.

    Example:
        >>> vocabulary = SentenceVocabulary.from_sentences("word", ["Go on!", "Go!"])
        >>> ids = vocabulary.encode("Go on and on!")
        >>> vocabulary.tokens_of(ids)
        ['␣Go', '␣on', '<unk>', '␣on', '!']
        >>> vocabulary.decode(vocabulary.encode("Go on!"))
        'Go on!'
    """

    def __init__(
        self,
        tokens: str,
        vocabulary: WordVocabulary | BPEVocabulary,
        version: int = TEXT_VERSION,
    ) -> None:
        self.tokens = tokens
        self._vocabulary = vocabulary
        self._version = version

    @classmethod
    def from_sentences(
        cls,
        tokens: str,
        sentences: Iterable[str],
        max_size: int | None = None,
        min_count: int = 1,
    ) -> Self:
        """Return the vocabulary of `sentences`, the most frequent tokens.

        Args:
            tokens: "word", "bpe" or "char".
            sentences: Without doubled blanks.
            max_size: The most tokens beside the three marks; None for all words or characters, and
                4000 for BPE.
            min_count: How often a word or a character must occur, at least. With 2 those that occur
                once teach what an unknown one means. BPE knows no unknown ones.

        Raises:
            OptionError: Unknown `tokens`; BPE below 256, or its library is not installed.
        """
        expected = f"one of {', '.join(SENTENCE_TOKENS)}"
        require(tokens in SENTENCE_TOKENS, "tokens", expected, repr(tokens))
        if tokens == "bpe":
            text = "\n".join(f" {as_read(sentence)}" for sentence in sentences)
            return cls(tokens, BPEVocabulary.train(text, max_size or 4000))
        pieces = (_pieces(tokens, as_read(sentence), TEXT_VERSION) for sentence in sentences)
        words = WordVocabulary.from_sentences(pieces, min_count=min_count, max_size=max_size)
        return cls(tokens, words)

    @property
    def words(self) -> list[str]:
        """What each token writes, without the blank before it."""
        return [self.decode([id]) for id in range(len(self))]

    def __len__(self) -> int:
        if isinstance(self._vocabulary, BPEVocabulary):
            return _NUM_MARKS + len(self._vocabulary)
        return len(self._vocabulary)

    def encode(self, sentence: str) -> Tensor:
        """Return the tokens of a sentence, (N,) int64, without marks; doubled blanks become one."""
        sentence = " ".join(as_read(sentence, self._version).split())
        if isinstance(self._vocabulary, BPEVocabulary):
            if not sentence:
                return torch.empty(0, dtype=torch.int64)
            return self._vocabulary.encode(f" {sentence}") + _NUM_MARKS
        return self._vocabulary.encode(_pieces(self.tokens, sentence, self._version))

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """Return the sentence of tokens; the begin and the end are no text."""
        numbers = [int(id) for id in ids if not 1 <= int(id) < _NUM_MARKS]
        if isinstance(self._vocabulary, BPEVocabulary):
            known = [id - _NUM_MARKS for id in numbers if id >= _NUM_MARKS]
            return self._vocabulary.decode(known).strip()
        return "".join(self._vocabulary.decode(numbers)).strip()

    def tokens_of(self, ids: Sequence[int] | Tensor) -> list[str]:
        """Return each token as it is shown to people."""
        marks = WordVocabulary([])
        if not isinstance(self._vocabulary, BPEVocabulary):
            names = self._vocabulary.decode([int(id) for id in ids])
        else:
            names = [
                self._vocabulary.symbols(id - _NUM_MARKS)
                if id >= _NUM_MARKS
                else marks.decode([id])[0]
                for id in map(int, ids)
            ]
        return [name.replace(" ", "␣") for name in names]

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` rebuilds the vocabulary from, in types that JSON has."""
        content = {"tokens": self.tokens, "vocabulary": self._vocabulary.to_dict()}
        return content | {"text_version": self._version}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the vocabulary that `to_dict` described."""
        tokens = one_of(content, "tokens", SENTENCE_TOKENS)
        kind = BPEVocabulary if tokens == "bpe" else WordVocabulary
        return cls(tokens, kind.from_dict(content["vocabulary"]), text_version_of(content))


def _pieces(tokens: str, sentence: str, version: int) -> list[str]:
    """Return the words of a sentence with the blanks before them, or its characters."""
    if tokens == "char":
        return list(sentence)
    return cut_sentence(sentence, compounds=False, version=version)
