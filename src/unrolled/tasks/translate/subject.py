"""A translator as it is looked into: its decoder while it writes, or the network with a delay."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from unrolled.data.delay import append_blanks
from unrolled.data.source import Source
from unrolled.data.words import BEGIN, END
from unrolled.inspection.subject import Passage, Subject
from unrolled.inspection.writing import DecoderSubject
from unrolled.tasks.translate.delayed_model import DelayedModel
from unrolled.tasks.translate.model import EncoderDecoder
from unrolled.tasks.translate.pairs import Pair

__all__ = ["DelayedSubject", "TranslatorSubject"]

Sentences = Callable[[Source], Iterator[str]]
Encode = Callable[[Pair], tuple[Tensor, Tensor]]
Translate = Callable[[str], tuple[Tensor, Sequence[int]]]


class TranslatorSubject(DecoderSubject):
    """A decoder while it writes the translation of a sentence.

    Args:
        model: In eval mode.
        words: The text of each token that is written.
        sentences: Returns the lines of a source, as predictions are made of them.
        encode: Returns the tokens of both sides of a pair, ends included.
        translate: Returns the tokens of a sentence, its end included, and of its translation.
        unit: What a token is called.
    """

    def __init__(
        self,
        model: EncoderDecoder,
        words: Sequence[str],
        sentences: Sentences,
        encode: Encode,
        translate: Translate,
        unit: str,
    ) -> None:
        super().__init__(model, model.decoder, words, unit)
        self._sentences = sentences
        self._encode = encode
        self._translate = translate

    def as_input(self, example: Pair) -> str:
        """Return the sentence that is read."""
        return example.source

    def read(self, source: Source) -> Iterator[Passage]:
        """Yield the translation of each line, as it is written."""
        for sentence in self._sentences(source):
            if sentence:
                tokens, written = self._translate(sentence)
                yield self._about(tokens, written)

    def passages(self, examples: Iterable[Pair]) -> Iterator[Passage]:
        """Yield the right translations, as they are read in training."""
        for pair in examples:
            source, target = self._encode(pair)
            yield self._about(source, target[target != END].tolist())

    @torch.no_grad()
    def _about(self, source: Tensor, written: Sequence[int]) -> Passage:
        network = cast(EncoderDecoder, self.model)
        return self.passage(written, network.start(source[None], torch.tensor([len(source)])))


class DelayedSubject(Subject):
    """A network that answers some tokens late, while it reads a sentence.

    Args:
        model: In eval mode.
        delay: k, tokens that are read before the first one is written.
        sources: The text of each token that is read.
        targets: The text of each token that is written.
        sentences: Returns the lines of a source, as predictions are made of them.
        encode_source: Returns the tokens of a sentence, its end included.
    """

    def __init__(
        self,
        model: DelayedModel,
        delay: int,
        sources: Sequence[str],
        targets: Sequence[str],
        sentences: Sentences,
        encode_source: Callable[[str], Tensor],
    ) -> None:
        super().__init__(model, model.layer, "token", targets)
        self.delay = delay
        self._sources = sources
        self._sentences = sentences
        self._encode_source = encode_source

    def as_input(self, example: Pair) -> str:
        """Return the sentence that is read."""
        return example.source

    def read(self, source: Source) -> Iterator[Passage]:
        """Yield each line, and the blanks during which it answers."""
        yield from (self.passage(sentence) for sentence in self._sentences(source) if sentence)

    def passages(self, examples: Iterable[Pair]) -> Iterator[Passage]:
        """Yield the sentences that are read."""
        yield from (self.passage(pair.source) for pair in examples)

    @torch.no_grad()
    def passage(self, sentence: str) -> Passage:
        """Return how a sentence is read."""
        tokens = self._encode_source(sentence)
        num_steps = len(tokens) + self.delay
        inputs = append_blanks(tokens[None], torch.tensor([len(tokens)]), num_steps, BEGIN)
        features = cast(DelayedModel, self.model).features(inputs)[0]
        pieces = [self._sources[token] for token in inputs[0].tolist()]
        return Passage(tuple(pieces), features)

    def readout(self, output: Tensor) -> Tensor:
        """Return the scores of what is answered at a step."""
        return cast(Tensor, cast(DelayedModel, self.model).scores(output))
