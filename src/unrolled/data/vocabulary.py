"""Text to token numbers and back: characters, bytes, byte-pair encoding (BPE), or words.

All four are lossless: `decode(encode(text)) == text`. Reading text from files is not done here.
"""

import codecs
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from unrolled.data.content import strings_of
from unrolled.data.words import cut_tokens
from unrolled.errors import OptionError, VocabularyError

__all__ = [
    "BPEVocabulary",
    "ByteVocabulary",
    "CharVocabulary",
    "Decoder",
    "Vocabulary",
    "WordTokenVocabulary",
    "vocabulary_from_dict",
]

_LINES_AT_ONCE = 2**14  # for a token, the library's results take 20 times the memory of its number


class Decoder:
    """The text of tokens that come one at a time, none of it before it is certain.

    A token may end inside a character, whose bytes are withheld until it is complete. The pieces in
    order are the text that `Vocabulary.decode` gives.

    Args:
        tokens: The bytes of each token in UTF-8.

    Example:
        >>> decoder = ByteVocabulary().decoder()
        >>> [decoder.push(id) for id in "né".encode()], decoder.finish()
        (['n', '', 'é'], '')
    """

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self._tokens = tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """Return the text that token `id` completes, which may be none."""
        return self._decoder.decode(self._tokens[id])

    def finish(self) -> str:
        """Return what is left if the text ends here: U+FFFD for an incomplete character."""
        return self._decoder.decode(b"", final=True)


class Vocabulary(ABC):
    """The tokens that text is made of, numbered from 0. Each stands for a few bytes of UTF-8.

    Args:
        tokens: The bytes of each token, which may begin or end inside a character.
    """

    kind: ClassVar[str]
    """The name of the class on the command line and in a run's folder."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._tokens)

    @abstractmethod
    def encode(self, text: str) -> Tensor:
        """Return the tokens of `text`, (N,) int64.

        Raises:
            VocabularyError: `text` has characters that these tokens cannot write.
        """

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Return the text of the tokens `ids`; bytes that are no UTF-8 become U+FFFD."""
        numbers = ids.tolist() if isinstance(ids, Tensor) else ids
        return b"".join(self._tokens[id] for id in numbers).decode(errors="replace")

    def symbols(self, id: int) -> str:
        r"""Return the text of token `id` alone; bytes that are no UTF-8 are shown as `\xNN`."""
        return self._tokens[id].decode(errors="backslashreplace")

    def decoder(self) -> Decoder:
        """Return a decoder that takes the tokens of one text, one after the other."""
        return Decoder(self._tokens)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` rebuilds the vocabulary from, in types that JSON has."""

    @classmethod
    @abstractmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the vocabulary that `to_dict` described."""


class CharVocabulary(Vocabulary):
    """The characters (code points) of a text, in the order of Unicode.

    Args:
        symbols: The characters, in strictly rising order.

    Raises:
        VocabularyError: The characters are not in order, or one is half a surrogate pair.

    Example:
        >>> vocabulary = CharVocabulary.from_text("hello")
        >>> [vocabulary.symbols(id) for id in range(len(vocabulary))]
        ['e', 'h', 'l', 'o']
        >>> vocabulary.encode("hole")
        tensor([1, 3, 2, 0])
    """

    kind = "char"

    def __init__(self, symbols: Sequence[str]) -> None:
        super().__init__([_utf8(symbol) for symbol in symbols])
        self._code_points = np.array([ord(symbol) for symbol in symbols], dtype=np.uint32)
        if not (self._code_points[:-1] < self._code_points[1:]).all():
            raise VocabularyError("the characters of a vocabulary must be different and in order")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the vocabulary of the characters that occur in `text`."""
        return cls(sorted(set(text)))

    def encode(self, text: str) -> Tensor:
        """Return the number of each character, (N,) int64.

        Raises:
            VocabularyError: `text` has characters that the vocabulary lacks; it names them.
        """
        code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        ids = np.searchsorted(self._code_points, code_points)
        known = np.isin(code_points, self._code_points)
        if not known.all():
            raise self._lacking({chr(code_point) for code_point in code_points[~known]})
        return torch.from_numpy(ids.astype(np.int64, copy=False))

    def _lacking(self, characters: set[str]) -> VocabularyError:
        shown = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in sorted(characters)[:5])
        more = f" and {len(characters) - 5} more" if len(characters) > 5 else ""
        return VocabularyError(
            f"the vocabulary of {len(self)} characters lacks {shown}{more}",
            "leave them out, or train with tokens that write any text: byte or bpe",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the characters."""
        return {"kind": self.kind, "symbols": [self.symbols(id) for id in range(len(self))]}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the vocabulary that `to_dict` described."""
        return cls(strings_of(content, "symbols"))


class ByteVocabulary(Vocabulary):
    r"""The 256 bytes, with which UTF-8 writes any text.

    Example:
        >>> vocabulary = ByteVocabulary()
        >>> vocabulary.encode("né")
        tensor([110, 195, 169])
        >>> print(vocabulary.symbols(110), vocabulary.symbols(195))
        n \xc3
    """

    kind = "byte"

    def __init__(self) -> None:
        super().__init__([bytes([value]) for value in range(256)])

    def encode(self, text: str) -> Tensor:
        """Return the bytes of `text` in UTF-8, (N,) int64.

        Raises:
            VocabularyError: `text` has half a surrogate pair, which UTF-8 cannot write.
        """
        return torch.from_numpy(np.frombuffer(_utf8(text), dtype=np.uint8).astype(np.int64))

    def to_dict(self) -> dict[str, Any]:
        """Return the kind, which says it all."""
        return {"kind": self.kind}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:  # noqa: ARG003  # there is but one
        """Return the vocabulary."""
        return cls()


class BPEVocabulary(Vocabulary):
    """Frequent strings of bytes, found in a text by merging the most frequent pair again and again.

    Each single byte is a token too, so any text can be written. Each line is encoded by itself.

    Args:
        tokenizer: A byte-level tokenizer of the library `tokenizers`, as its JSON.

    Raises:
        OptionError: `tokenizers` is not installed.

    Source:
        Sennrich, Haddow, Birch (2016), section 3.2; on bytes: Radford et al. (2019), section 2.2.

    Example:
        >>> vocabulary = BPEVocabulary.train("low lower lowest", size=258)  # 256 bytes, 2 merges
        >>> [vocabulary.symbols(int(id)) for id in vocabulary.encode("slow")]
        ['s', 'low']
    """

    kind = "bpe"

    def __init__(self, tokenizer: str) -> None:
        library = _tokenizers()
        self._tokenizer = library.Tokenizer.from_str(tokenizer)
        byte_of = _bytes_of_characters(library.pre_tokenizers.ByteLevel.alphabet())
        names = map(self._tokenizer.id_to_token, range(self._tokenizer.get_vocab_size()))
        super().__init__([bytes(byte_of[character] for character in name) for name in names])

    @classmethod
    def train(cls, text: str, size: int) -> Self:
        """Return a vocabulary for texts like `text`.

        Args:
            text: Where to look for frequent strings.
            size: Tokens, at least 256: the bytes. There are fewer where `text` has too few pairs.

        Raises:
            OptionError: `size` is below 256, or `tokenizers` is not installed.
            VocabularyError: `text` has half a surrogate pair, which UTF-8 cannot write.
        """
        if size < 256:
            raise OptionError(
                f"a BPE vocabulary must have at least 256 tokens, got {size}",
                "256 are the single bytes, those beyond are found in the text",
            )
        size = min(size, 256 + len(text.encode(errors="surrogatepass")))  # a merge each, at most
        library = _tokenizers()
        byte_level = library.pre_tokenizers.ByteLevel
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = byte_level(add_prefix_space=False)
        trainer = library.trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=byte_level.alphabet(), show_progress=False
        )
        tokenizer.train_from_iterator(_lines(text), trainer)
        return cls(tokenizer.to_str())

    def encode(self, text: str) -> Tensor:
        """Return the tokens of `text`, (N,) int64.

        Raises:
            VocabularyError: `text` has half a surrogate pair, which UTF-8 cannot write.
        """
        lines, parts = _lines(text), [np.empty(0, dtype=np.int64)]
        for start in range(0, len(lines), _LINES_AT_ONCE):
            batch = self._tokenizer.encode_batch_fast(lines[start : start + _LINES_AT_ONCE])
            parts.append(np.array([id for line in batch for id in line.ids], dtype=np.int64))
        return torch.from_numpy(np.concatenate(parts))

    def to_dict(self) -> dict[str, Any]:
        """Return the tokenizer, as the library describes it."""
        return {"kind": self.kind, "tokenizer": json.loads(self._tokenizer.to_str())}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the vocabulary that `to_dict` described."""
        return cls(json.dumps(content["tokenizer"]))


class WordTokenVocabulary(Vocabulary):
    """The frequent words of a text, and the 256 bytes, with which any other word is spelled.

    A token is a word or a mark of punctuation together with the blank before it, or a character of
    space, such as a line's end. No word is unknown: a rare one costs as many tokens as it has
    bytes. A name in angle brackets, such as `<unk>`, is one word.

    Args:
        words: Different, none of them a single byte.

    Raises:
        VocabularyError: A word is there twice, is a single byte or is no text.

    Example:
        >>> vocabulary = WordTokenVocabulary.from_text("what is to be is to be", size=259)
        >>> [vocabulary.symbols(int(id)) for id in vocabulary.encode("or to be")]
        ['o', 'r', ' to', ' be']
    """

    kind = "word"

    def __init__(self, words: Sequence[str]) -> None:
        tokens = [*(bytes([value]) for value in range(256)), *map(_utf8, words)]
        super().__init__(tokens)
        self._words = list(words)
        self._ids = {word: id for id, word in enumerate(words, 256)}
        if len(set(tokens)) < len(tokens):
            twice, _ = Counter(tokens).most_common(1)[0]
            raise VocabularyError(
                f"the words of a vocabulary must be different, twice: {twice.decode()!r}"
            )

    @classmethod
    def from_text(cls, text: str, size: int) -> Self:
        """Return the vocabulary of the most frequent words of `text`.

        A word that occurs once is left to be spelled, so that spelling is learned too.

        Args:
            text: Where the words are counted.
            size: Tokens at most, at least 256: the bytes.

        Raises:
            OptionError: `size` is below 256.
            VocabularyError: `text` has half a surrogate pair, which UTF-8 cannot write.
        """
        if size < 256:
            raise OptionError(
                f"a vocabulary of words must have at least 256 tokens, got {size}",
                "256 are the single bytes, which spell what is no word of it",
            )
        _utf8(text)
        counts = Counter(cut_tokens(text))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        frequent = (word for word, count in ranked if count > 1 and len(word.encode()) > 1)
        return cls([word for word, _ in zip(frequent, range(size - 256), strict=False)])

    def encode(self, text: str) -> Tensor:
        """Return the words of `text`, those that the vocabulary lacks by bytes, (N,) int64.

        Raises:
            VocabularyError: `text` has half a surrogate pair, which UTF-8 cannot write.
        """
        _utf8(text)
        return torch.tensor(list(self._numbers(text)), dtype=torch.int64)

    def spelled(self, text: str) -> float:
        """Return the share of the words and marks of `text` that are spelled, 0 if it has none."""
        words = [word for word in cut_tokens(text) if len(word.encode()) > 1]
        return sum(word not in self._ids for word in words) / max(1, len(words))

    def _numbers(self, text: str) -> Iterator[int]:
        for word in cut_tokens(text):
            id = self._ids.get(word)
            if id is None:
                yield from word.encode()
            else:
                yield id

    def to_dict(self) -> dict[str, Any]:
        """Return the words."""
        return {"kind": self.kind, "words": self._words}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the vocabulary that `to_dict` described."""
        return cls(strings_of(content, "words"))


_KINDS: dict[str, type[Vocabulary]] = {
    kind.kind: kind for kind in (CharVocabulary, ByteVocabulary, BPEVocabulary, WordTokenVocabulary)
}


def vocabulary_from_dict(content: dict[str, Any]) -> Vocabulary:
    """Return the vocabulary that `to_dict` of any kind of vocabulary described.

    Raises:
        OptionError: It is a BPE vocabulary, and `tokenizers` is not installed.
        ValueError: The content is not that of a vocabulary.
    """
    try:
        return _KINDS[content["kind"]].from_dict(content)
    except OptionError:
        raise
    except Exception as error:  # tokenizers raises nothing narrower
        raise ValueError(f"not a vocabulary: {error!r}") from None


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise VocabularyError(
            f"character {error.start} is half a surrogate pair (U+{ord(text[error.start]):04X})",
            "that is no text: it comes from bytes that were not decoded as what they are",
        ) from None


def _lines(text: str) -> list[str]:
    """Return the lines of `text` with their ends: what the library's threads share out."""
    _utf8(text)  # the library would say "must be str"
    return text.splitlines(keepends=True)


def _bytes_of_characters(alphabet: Sequence[str]) -> dict[str, int]:
    """Return the byte that each character of byte-level BPE stands for.

    The printable characters of Latin-1 stand for their own byte. Those from U+0100 on stand for the
    other bytes, in order.
    """
    own = {character: ord(character) for character in alphabet if ord(character) < 256}
    others = [byte for byte in range(256) if byte not in own.values()]
    return own | {chr(256 + index): byte for index, byte in enumerate(others)}


def _tokenizers() -> ModuleType:
    try:
        import tokenizers
    except ImportError:
        raise OptionError(
            "byte-pair encoding needs the library tokenizers",
            'pip install "unrolled[bpe]", or take the tokens char or byte',
        ) from None
    return tokenizers
