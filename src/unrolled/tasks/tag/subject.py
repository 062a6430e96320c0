"""A tagger as it is looked into: a sentence, and at each word its tag."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from unrolled.data.source import Source
from unrolled.inspection.subject import Passage, Subject
from unrolled.tasks.tag.conll import TaggedSentence
from unrolled.tasks.tag.model import Sentences, Tagger

__all__ = ["TaggerSubject"]

_LAST_WORD = "·"  # what stands where a delayed tagger reads nothing more


class TaggerSubject(Subject):
    """A tagger and its tags.

    Args:
        model: In eval mode.
        tags: Their names.
        collate: Makes a batch of sentences' words.
        sentences: Returns the words of each sentence of a source.
    """

    by_step = False

    def __init__(
        self,
        model: Tagger,
        tags: Sequence[str],
        collate: Callable[[Sequence[Sequence[str]]], Sentences],
        sentences: Callable[[Source], Iterator[Sequence[str]]],
    ) -> None:
        super().__init__(model, model.layer, "word", tags)
        self.delay = model.options.delay or 0
        self._collate = collate
        self._sentences = sentences

    def as_input(self, example: TaggedSentence) -> str:
        """Return the words of a sentence."""
        return " ".join(example.words)

    def read(self, source: Source) -> Iterator[Passage]:
        """Yield each sentence, as `unrolled predict` reads it."""
        yield from (self.passage(words) for words in self._sentences(source) if words)

    def passages(self, examples: Iterable[TaggedSentence]) -> Iterator[Passage]:
        """Yield tagged sentences, their true tags as marks."""
        yield from (self.passage(example.words, example.tags) for example in examples)

    @torch.no_grad()
    def passage(self, words: Sequence[str], tags: Sequence[str] = ()) -> Passage:
        """Return how a sentence is read, with its tags if they are known."""
        features = cast(Tagger, self.model).inputs(self._collate([words]))[0]
        pieces = [f"{' ' * (number > 0)}{word}" for number, word in enumerate(words)]
        pieces += [f" {_LAST_WORD}"] * self.delay
        marks = {}
        for tag in dict.fromkeys(tags):
            mask = [other == tag for other in tags] + [False] * self.delay
            marks[f"tagged {tag}"] = torch.tensor(mask)
        return Passage(tuple(pieces), features, marks=marks)

    def readout(self, output: Tensor) -> Tensor:
        """Return the scores of the tags."""
        return cast(Tensor, cast(Tagger, self.model).scores(output))

    def log_probabilities(self, passage: Passage, output: Tensor) -> Tensor:  # noqa: ARG002
        """Return what is said of each word: with a delay, some steps after it."""
        scores = self.readout(output[self.delay :]).double()[None]
        lengths = torch.tensor([scores.shape[1]])
        return cast(Tagger, self.model).log_probabilities(scores, lengths)[0]
