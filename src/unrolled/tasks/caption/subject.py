"""A captioner as it is looked into: its decoder while it writes about a picture or a recording."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from unrolled.data.source import Source
from unrolled.inspection.subject import Passage
from unrolled.inspection.writing import DecoderSubject
from unrolled.tasks.caption.captions import Caption
from unrolled.tasks.caption.model import Captioner

__all__ = ["CaptionerSubject"]

Collate = Callable[[Sequence[Tensor]], tuple[Tensor, Tensor | None]]


class CaptionerSubject(DecoderSubject):
    """A decoder while it writes a caption.

    Args:
        model: In eval mode.
        words: The text of each word.
        collate: Makes a batch of contents.
        media: Returns the content of each picture or recording of a source.
        describe: Returns the words for a content.
        encode: Returns the numbers of an example's words.
    """

    def __init__(
        self,
        model: Captioner,
        words: Sequence[str],
        collate: Collate,
        media: Callable[[Source], Iterator[Tensor]],
        describe: Callable[[Tensor], Sequence[int]],
        encode: Callable[[Caption], Sequence[int]],
    ) -> None:
        super().__init__(model, model.decoder, words)
        self._collate = collate
        self._media = media
        self._describe = describe
        self._encode = encode

    def read(self, source: Source) -> Iterator[Passage]:
        """Yield the caption of each picture or recording, as it is written."""
        for content in self._media(source):
            yield self._about(content, self._describe(content))

    def passages(self, examples: Iterable[Caption]) -> Iterator[Passage]:
        """Yield the right captions, as they are read in training."""
        for example in examples:
            yield self._about(example.content, self._encode(example))

    @torch.no_grad()
    def _about(self, content: Tensor, words: Sequence[int]) -> Passage:
        media, lengths = self._collate([content])
        return self.passage(words, cast(Captioner, self.model).start(media, lengths))
