"""A language model as it is looked into: a text, and after each token what comes next."""

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor

from unrolled.data.source import Source
from unrolled.data.text import read_text
from unrolled.data.vocabulary import Vocabulary
from unrolled.inspection.subject import InputForm, Passage, Subject
from unrolled.tasks.lm.model import LanguageModel
from unrolled.tasks.lm.sampling import default_prompt, generate

__all__ = ["LanguageSubject"]

_EXAMPLE = {"char": 120, "byte": 120, "bpe": 40, "word": 40}  # tokens of a text to begin with
_EXCERPT = 160  # characters of one
_LOOKED_THROUGH = 200  # for the beginning of a line, or of a word: the part may begin within one
_BOLDNESS = 0.6  # its temperature: likelier than what it learned from, and still different words


class LanguageSubject(Subject):
    """A language model and its vocabulary.

    Args:
        model: In eval mode.
        vocabulary: The one that it was trained with.
        encoding: Of text files.
    """

    forecasts = True

    def __init__(
        self, model: LanguageModel, vocabulary: Vocabulary, encoding: str = "utf-8"
    ) -> None:
        unit = "character" if vocabulary.kind == "char" else "token"
        labels = [vocabulary.symbols(id) for id in range(len(vocabulary))]
        super().__init__(model, model.layer, unit, labels)
        self.vocabulary = vocabulary
        self.encoding = encoding

    @property
    def form(self) -> InputForm:
        """A text, of as many lines as one likes."""
        return InputForm("text")

    def example(self) -> str:
        """Return what the model itself writes: in its own language and alphabet."""
        pieces = generate(
            cast(LanguageModel, self.model),
            self.vocabulary,
            default_prompt(self.vocabulary),
            length=_EXAMPLE[self.vocabulary.kind],
            temperature=_BOLDNESS,
            seed=0,
        )
        return "".join(pieces).strip()

    def as_input(self, example: str) -> str:
        """Return a few lines of a text, from the beginning of one to the end of a word."""
        start = (
            example.find("\n", 0, _LOOKED_THROUGH) + 1 or example.find(" ", 0, _LOOKED_THROUGH) + 1
        )
        excerpt = example[start:].lstrip()[: _EXCERPT + 1]
        if len(excerpt) <= _EXCERPT:
            return excerpt.rstrip()
        end = max(excerpt.rfind(" "), excerpt.rfind("\n"))
        return excerpt[: end if end > _EXCERPT // 2 else _EXCERPT].rstrip()

    def read(self, source: Source) -> Iterator[Passage]:
        """Yield the whole of a text."""
        if source.path is not None:
            yield self.passage(read_text([source.path], self.encoding))
        elif source.content is not None:
            yield self.passage(source.content.decode("utf-8", "surrogatepass"))
        else:
            yield self.passage("\n".join(source.lines()))

    def passages(self, examples: Iterable[str]) -> Iterator[Passage]:
        """Yield texts."""
        yield from map(self.passage, examples)

    def passage(self, text: str) -> Passage:
        """Return how a text is read.

        Raises:
            VocabularyError: It has characters that the vocabulary lacks.
        """
        tokens = torch.zeros(0, dtype=torch.int64)
        if text:
            tokens = self.vocabulary.encode(text)
        return Passage(_pieces(self.vocabulary, tokens), self._features(tokens), tokens=tokens)

    def readout(self, output: Tensor) -> Tensor:
        """Return the scores of the next token."""
        return cast(Tensor, cast(LanguageModel, self.model).scores(output))

    def others(
        self, features: Tensor, tokens: Tensor | None, generator: torch.Generator, count: int
    ) -> Tensor:
        """Return the features of other tokens, any of the vocabulary, (T, count, V) or (..., E)."""
        assert tokens is not None
        size = (len(features), count)
        shifts = torch.randint(1, max(2, len(self.vocabulary)), size, generator=generator)
        others = (tokens[:, None] + shifts) % len(self.vocabulary)
        return self._features(others.flatten()).reshape(*size, -1)

    @torch.no_grad()
    def _features(self, tokens: Tensor) -> Tensor:
        features = cast(LanguageModel, self.model).features(tokens[None])
        return features[0]


def _pieces(vocabulary: Vocabulary, tokens: Tensor) -> tuple[str, ...]:
    """Return the text that each token completes."""
    decoder = vocabulary.decoder()
    pieces = [decoder.push(token) for token in tokens.tolist()]
    if pieces and (rest := decoder.finish()):
        pieces[-1] += rest
    return tuple(pieces)
