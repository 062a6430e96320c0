"""Translation by one network that answers k tokens late: many to many, no words read back.

The plainest that can translate at all: what attention, and reading one's own words, are worth is
seen against it. The network is in delayed_model.py, the layout in data/delay.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.data.batching import batches_by_length, pad
from unrolled.data.delay import Delayed, append_blanks, delay_batch
from unrolled.data.words import BEGIN, END, UNKNOWN
from unrolled.errors import require
from unrolled.networks.decoder import word_loss
from unrolled.tasks.translate.delayed_model import DelayedModel, DelayedModelConfig
from unrolled.tasks.translate.pairs import Pair
from unrolled.tasks.translate.task import TranslationOptions, TranslationTask

__all__ = ["DelayedTranslateTask", "DelayedTranslationOptions"]

_BLANK = BEGIN  # which no source has
_ROWS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class DelayedTranslationOptions(TranslationOptions):
    """How pairs of sentences are read, and how late the network answers.

    Args:
        delay: k, tokens that are read before the first one is written, at least 0.

    Raises:
        OptionError: A value out of its range.
    """

    delay: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.delay >= 0, "delay", "at least 0 tokens", self.delay)


class DelayedTranslateTask(TranslationTask):
    """From a sentence to another one, by one network that reads on while it writes."""

    name = "translate_delayed"
    Options, Config, Model = DelayedTranslationOptions, DelayedModelConfig, DelayedModel

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the vocabularies."""
        return {"vocabulary_size": len(self.source), "num_classes": len(self.target)}

    def loss(self, model: nn.Module, examples: Sequence[Pair]) -> tuple[Tensor, int]:
        """Return the cross-entropy of the targets' tokens, smoothed in training alone."""
        batch = self._delayed(examples)
        smoothing = self.options.label_smoothing if model.training else 0.0
        return word_loss(model(batch.inputs, batch.lengths), batch.targets, smoothing)

    def _delayed(self, examples: Sequence[Pair]) -> Delayed:
        sources, targets = zip(*map(self.encoded, examples), strict=True)
        (source, source_lengths), (target, target_lengths) = pad(sources), pad(targets)
        return delay_batch(
            source,
            target,
            self.options.delay,
            blank=_BLANK,
            input_lengths=source_lengths,
            target_lengths=target_lengths,
        )

    def translations(self, model: nn.Module, sentences: Sequence[str]) -> list[str]:
        """Return the likeliest translation of each sentence."""
        return [self.target.decode(ids) for ids, _ in self._answers(model, sentences)]

    def predictions(
        self,
        model: nn.Module,
        sentences: Sequence[str],
        options: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        """Return the translation of each sentence: no search, for the answers are independent."""
        assert not options, options  # `predict_options` is empty
        return [
            {
                "source": sentence,
                "source_tokens": self.source.tokens_of(self.encoded_source(sentence)),
                "translation": self.target.decode(ids),
                "tokens": self.target.tokens_of([*ids, END] if complete else ids),
                "complete": complete,
            }
            for sentence, (ids, complete) in zip(
                sentences, self._answers(model, sentences), strict=True
            )
        ]

    @torch.inference_mode()
    def _answers(self, model: nn.Module, sentences: Sequence[str]) -> list[tuple[list[int], bool]]:
        """Return the tokens that are written for each sentence, and whether they came to an end."""
        encoded = [self.encoded_source(sentence) for sentence in sentences]
        answers: list[tuple[list[int], bool]] = [([], False) for _ in sentences]
        delay = self.options.delay
        for batch in batches_by_length([len(tokens) for tokens in encoded], _ROWS_AT_ONCE):
            source, lengths = pad([encoded[index] for index in batch])
            num_steps = max(int(lengths.max()), self.max_length + 1 + delay)
            scores = model(append_blanks(source, lengths, num_steps, _BLANK))
            scores[..., [UNKNOWN, BEGIN]] = -torch.inf
            last = delay + self.max_length + 1
            for index, ids in zip(batch, scores[:, delay:last].argmax(-1).tolist(), strict=True):
                complete = END in ids
                written = ids[: ids.index(END)] if complete else ids[: self.max_length]
                answers[index] = (written, complete)
        return answers
