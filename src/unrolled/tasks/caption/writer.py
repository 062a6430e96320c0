"""Captions as they are written: the search, its defaults, and what is said of each caption."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from unrolled.data.words import WordVocabulary, as_read
from unrolled.networks import BeamOptions, Hypothesis
from unrolled.networks.beam import beam_options
from unrolled.networks.devices import moved
from unrolled.tasks.caption.captions import join_words
from unrolled.tasks.caption.choosing import describe_all
from unrolled.tasks.caption.model import Captioner
from unrolled.tasks.caption.options import PredictOptions
from unrolled.tasks.caption.search import Candidate, attention_of

__all__ = ["BEAM", "LENGTH_PENALTY", "CaptionWriter"]

BEAM = 4
LENGTH_PENALTY = 1.0  # the translator's; without it, who knows little writes next to nothing


class CaptionWriter:
    """Searches for captions, and tells them.

    Args:
        vocabulary: The words.
        text_version: Of how captions are cut, `data.words.TEXT_VERSION`.
        max_words: The longest caption that is written.
        collate: Makes a batch of contents.
    """

    def __init__(
        self,
        vocabulary: WordVocabulary,
        text_version: int,
        max_words: int,
        collate: Callable[[Sequence[Tensor]], tuple[Tensor, Tensor | None]],
    ) -> None:
        self._vocabulary, self._text_version = vocabulary, text_version
        self._max_words, self._collate = max_words, collate

    def options(self, chosen: PredictOptions) -> BeamOptions:
        """Return how the search goes."""
        return beam_options(
            chosen, beam=BEAM, length_penalty=LENGTH_PENALTY, max_length=self._max_words
        )

    def search(
        self, model: nn.Module, contents: Sequence[Tensor], options: BeamOptions
    ) -> list[list[Candidate]]:
        """Return the best captions of each picture or recording."""
        return describe_all(cast(Captioner, model), contents, self._collate, options)

    def best(self, model: nn.Module, contents: Sequence[Tensor]) -> list[Hypothesis]:
        """Return the best caption of each, as it is searched for where nobody chose how."""
        rows = self.search(model, contents, self.options(PredictOptions()))
        return [best.hypothesis for best, *_ in rows]

    def described(
        self, model: nn.Module, content: Tensor, candidates: Sequence[Candidate]
    ) -> list[dict[str, Any]]:
        """Return captions in types that JSON has, with their words and where it looked for them."""
        media, lengths = moved(self._collate([content]), model)
        hypotheses = [candidate.hypothesis for candidate in candidates]
        attention = attention_of(cast(Captioner, model), media, lengths, hypotheses)
        described = []
        for number, (hypothesis, _, origin) in enumerate(candidates):
            caption: dict[str, Any] = {
                "caption": self.text(hypothesis),
                "from": origin,
                "words": [word.strip() for word in self._vocabulary.decode(hypothesis.tokens)],
                "log_probability": hypothesis.log_probability,
                "score": hypothesis.score,
                "complete": hypothesis.complete,
            }
            if attention is not None:
                caption["attention"] = attention[number]
            described.append(caption)
        return described

    def text(self, hypothesis: Hypothesis) -> str:
        """Return the caption."""
        words = self._vocabulary.decode(hypothesis.tokens)
        return as_read(join_words(words, self._text_version))
