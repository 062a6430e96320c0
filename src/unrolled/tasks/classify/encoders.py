"""What stands between an example and a model that reads it: text or numbers to a tensor.

An encoder is fitted to the training part, and kept in the run's vocabulary.json. Formats of files
are the readers' part.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from unrolled.data.content import flag_of, numbers_of, one_of, strings_of
from unrolled.data.vocabulary import BPEVocabulary
from unrolled.data.words import (
    TEXT_VERSION,
    UNKNOWN,
    WordVocabulary,
    as_read,
    cut_text,
    text_version_of,
)
from unrolled.tasks.classify.series import SCALES

__all__ = ["BPEEncoder", "CharEncoder", "NumberEncoder", "TextEncoder", "WordEncoder"]

Steps = Sequence[Sequence[float]]

_LEAST_SPREAD = 1e-9  # of the training part's: less is rounding of what never changes


class TextEncoder(ABC):
    """Text to the numbers of its tokens.

    Args:
        lowercase: Whether capitals are read as small letters.
        version: Of how text is read, `words.TEXT_VERSION`.
    """

    kind: ClassVar[str]
    """What the command line calls its tokens."""

    def __init__(self, lowercase: bool, version: int = TEXT_VERSION) -> None:
        self.lowercase = lowercase
        self._version = version

    @property
    @abstractmethod
    def size(self) -> int:
        """V, how many different tokens there are."""

    @abstractmethod
    def tokens(self, text: str) -> list[str]:
        """Return the tokens of `text`, to be read by people."""

    def pieces(self, text: str) -> list[str]:
        """Return the tokens of `text` with the blanks before them, as many as `tokens`."""
        return self.tokens(text)

    @abstractmethod
    def encode(self, text: str) -> Tensor:
        """Return the number of each token, (T,) int64."""

    def packed(self, text: str) -> bytes:
        """Return what `encode` does, in the memory that it needs: all texts of a training stay."""
        return self.encode(text).numpy().astype(self._packing).tobytes()

    def unpacked(self, content: bytes) -> Tensor:
        """Return the numbers that `packed` has made bytes, (T,) int64."""
        return torch.from_numpy(np.frombuffer(content, self._packing).astype(np.int64))

    @property
    def _packing(self) -> type[np.uint16] | type[np.int32]:
        return np.uint16 if self.size <= 2**16 else np.int32

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` rebuilds the encoder from, in types that JSON has."""

    @classmethod
    @abstractmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the encoder that `to_dict` described."""

    def _read(self, text: str) -> str:
        text = as_read(text, self._version)
        return text.lower() if self.lowercase else text

    def _how(self) -> dict[str, Any]:
        """Return how text is read, for `to_dict`."""
        return {"lowercase": self.lowercase, "text_version": self._version}


class WordEncoder(TextEncoder):
    """Words and punctuation marks; those that training did not have often enough are one.

    Args:
        vocabulary: The known words.
        lowercase: Whether capitals are read as small letters.
        version: Of how text is read.

    Example:
        >>> encoder = WordEncoder.fit(["Good, good.", "Bad."], lowercase=True, min_count=2)
        >>> encoder.tokens("So good!"), encoder.encode("So good!")
        (['so', 'good', '!'], tensor([0, 4, 0]))
    """

    kind = "word"

    def __init__(
        self, vocabulary: WordVocabulary, lowercase: bool, version: int = TEXT_VERSION
    ) -> None:
        super().__init__(lowercase, version)
        self._vocabulary = vocabulary

    @classmethod
    def fit(cls, texts: Iterable[str], *, lowercase: bool, min_count: int) -> Self:
        """Return the encoder of the words that occur in `texts` at least `min_count` times."""
        empty = cls(WordVocabulary([]), lowercase)
        sentences = (empty.tokens(text) for text in texts)
        return cls(WordVocabulary.from_sentences(sentences, min_count=min_count), lowercase)

    @property
    def words(self) -> list[str]:
        """All of them, by their numbers."""
        return self._vocabulary.decode(range(self.size))

    @property
    def size(self) -> int:
        """The known words and three more: the unknown, begin and end."""
        return len(self._vocabulary)

    def tokens(self, text: str) -> list[str]:
        """Return the words as they are read."""
        return [piece.lstrip() for piece in self.pieces(text)]

    def pieces(self, text: str) -> list[str]:
        """Return the words with the blanks before them."""
        return cut_text(self._read(text), version=self._version)

    def encode(self, text: str) -> Tensor:
        """Return the number of each word, (T,) int64."""
        return self._vocabulary.encode(self.tokens(text))

    def num_unknown(self, texts: Iterable[str]) -> tuple[int, int]:
        """Return how many words of `texts` are unknown, and how many there are."""
        ids = [self.encode(text) for text in texts]
        return sum(int((each == UNKNOWN).sum()) for each in ids), sum(map(len, ids))

    def to_dict(self) -> dict[str, Any]:
        """Return the words."""
        return {"kind": self.kind, **self._how(), **self._vocabulary.to_dict()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the encoder that `to_dict` described."""
        vocabulary, lowercase = WordVocabulary.from_dict(content), flag_of(content, "lowercase")
        return cls(vocabulary, lowercase, text_version_of(content))


class CharEncoder(WordEncoder):
    """Characters; those that training did not have often enough are one."""

    kind = "char"

    def tokens(self, text: str) -> list[str]:
        """Return the characters as they are read."""
        return list(self._read(text))

    pieces = tokens


class BPEEncoder(TextEncoder):
    """Byte pairs: pieces of words, down to single bytes where nothing longer is known.

    Args:
        vocabulary: The pieces.
        lowercase: Whether capitals are read as small letters.
        version: Of how text is read.
    """

    kind = "bpe"

    def __init__(
        self, vocabulary: BPEVocabulary, lowercase: bool, version: int = TEXT_VERSION
    ) -> None:
        super().__init__(lowercase, version)
        self._vocabulary = vocabulary

    @classmethod
    def fit(cls, texts: Iterable[str], *, lowercase: bool, size: int) -> Self:
        """Return the encoder of the `size` pieces that `texts` are best written with."""
        lines = (as_read(text.lower() if lowercase else text) for text in texts)
        return cls(BPEVocabulary.train("\n".join(lines), size), lowercase)

    @property
    def size(self) -> int:
        """The pieces, 256 single bytes among them."""
        return len(self._vocabulary)

    def tokens(self, text: str) -> list[str]:
        r"""Return the pieces; one that ends inside a character is shown as `\xNN`."""
        return [self._vocabulary.symbols(id) for id in self.encode(text).tolist()]

    def encode(self, text: str) -> Tensor:
        """Return the number of each piece, (T,) int64."""
        return self._vocabulary.encode(self._read(text))

    def to_dict(self) -> dict[str, Any]:
        """Return the pieces."""
        return {**self._how(), **self._vocabulary.to_dict()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the encoder that `to_dict` described."""
        vocabulary, lowercase = BPEVocabulary.from_dict(content), flag_of(content, "lowercase")
        return cls(vocabulary, lowercase, text_version_of(content))


class NumberEncoder:
    """Numbers as (x - mean) / spread, 0 where one is missing.

    Mean and spread of each feature are those of the training part, those of its series, or both are
    given, one after the other. The spread of what never changes is 1.

    Args:
        names: Of the I features.
        means: (I,), of each feature over all steps of the training part.
        spreads: (I,), its standard deviation; 1 where it never changes.
        scale: "training", "series" or "both".

    Example:
        >>> encoder = NumberEncoder.fit(["x", "y"], [[(1, 5), (3, 5)], [(float("nan"), 5)]])
        >>> encoder.encode([(3, 5), (2, float("nan"))]).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """

    def __init__(
        self,
        names: Sequence[str],
        means: Sequence[float],
        spreads: Sequence[float],
        scale: str = "training",
    ) -> None:
        self.names = tuple(names)
        self.scale = scale
        self._means = torch.tensor(means, dtype=torch.float64)
        self._spreads = torch.tensor(spreads, dtype=torch.float64)

    @classmethod
    def fit(cls, names: Sequence[str], examples: Iterable[Steps]) -> Self:
        """Return the encoder of features whose numbers in `examples` are (T, I) each."""
        steps = [step for example in examples for step in example]
        means, spreads = [], []
        for index in range(len(names)):
            known = [step[index] for step in steps if not math.isnan(step[index])]
            column = torch.tensor(known or [0.0], dtype=torch.float64)
            if column.min() == column.max():  # whose rounded deviation may be 1e-17, which is not 0
                means.append(column[0].item())
                spreads.append(1.0)
            else:
                means.append(column.mean().item())
                spreads.append(column.std(correction=0).item() or 1.0)
        return cls(names, means, spreads)

    @property
    def size(self) -> int:
        """Numbers in a step as the model reads it: I, or 2 I on both scales."""
        return len(self.names) * (2 if self.scale == "both" else 1)

    def scaled_by(self, scale: str) -> Self:
        """Return the encoder of the same numbers on another scale."""
        return type(self)(self.names, self._means.tolist(), self._spreads.tolist(), scale)

    def waves(self, num_steps: int) -> list[list[float]]:
        """Return a wave for each feature, of its mean and spread: numbers of a likely size."""
        phases = torch.linspace(0, 1, len(self.names) + 1, dtype=torch.float64)[:-1, None]
        times = torch.arange(num_steps, dtype=torch.float64) / num_steps
        waves = torch.sin(2 * math.pi * (times + phases))
        numbers: list[list[float]] = (
            self._means[:, None] + self._spreads[:, None] * waves
        ).tolist()
        return numbers

    def encode(self, steps: Steps) -> Tensor:
        """Return the numbers on their scale, (T, `size`) float32."""
        x = torch.tensor(steps, dtype=torch.float64).reshape(len(steps), len(self.names))
        by_training = (x - self._means) / self._spreads
        if self.scale == "training":
            scaled = by_training
        else:
            scaled = _standardized(by_training)
            if self.scale == "both":
                scaled = torch.cat([by_training, scaled], dim=1)
        return scaled.nan_to_num(nan=0.0).float()

    def to_dict(self) -> dict[str, Any]:
        """Return the names and the scales."""
        return {
            "kind": "number",
            "names": list(self.names),
            "means": self._means.tolist(),
            "spreads": self._spreads.tolist(),
            "scale": self.scale,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the encoder that `to_dict` described."""
        names = strings_of(content, "names", least=1)
        means = numbers_of(content, "means", len(names))
        spreads = numbers_of(content, "spreads", len(names), above=0)
        return cls(names, means, spreads, one_of(content, "scale", SCALES))


def _standardized(x: Tensor) -> Tensor:
    """Return the columns of (T, I) with mean 0 and spread 1, of the numbers that are known."""
    known = ~x.isnan()
    count = known.sum(0).clamp(min=1)
    centred = x - x.nan_to_num(nan=0.0).sum(0) / count
    spread = (centred.nan_to_num(nan=0.0).square().sum(0) / count).sqrt()
    return centred / spread.where(spread > _LEAST_SPREAD, 1.0)
