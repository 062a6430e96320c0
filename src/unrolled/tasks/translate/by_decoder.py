"""Translation by an encoder and a decoder, the words found by beam search.

The network is in model.py, the search in networks/beam.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from unrolled.data.batching import IGNORE, batches_by_length, pad
from unrolled.data.words import BEGIN, END, UNKNOWN
from unrolled.kernels import Packed, packing_once
from unrolled.networks.beam import BeamOptions, Hypothesis, beam_search
from unrolled.networks.decoder import DecoderState, word_loss
from unrolled.tasks.translate.model import EncoderDecoder, EncoderDecoderConfig
from unrolled.tasks.translate.pairs import Pair
from unrolled.tasks.translate.task import TranslationOptions, TranslationTask

__all__ = ["TranslateTask"]

_BEAM = 8
_LENGTH_PENALTY = 0.6
_ROWS_AT_ONCE = 64


class TranslateTask(TranslationTask):
    """From a sentence to another one, by a network that reads and one that writes."""

    name = "translate"
    Options, Config, Model = TranslationOptions, EncoderDecoderConfig, EncoderDecoder
    predict_options = frozenset({"beam", "n_best", "length_penalty", "no_repeat"})

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the vocabularies."""
        return {"source_size": len(self.source), "target_size": len(self.target)}

    def loss(self, model: nn.Module, examples: Sequence[Pair]) -> tuple[Tensor, int]:
        """Return the cross-entropy of the targets' tokens, smoothed in training alone."""
        sources, targets = zip(*map(self.encoded, examples), strict=True)
        source, lengths = pad(sources)
        words, _ = pad([torch.cat([torch.tensor([BEGIN]), t[:-1]]) for t in targets])
        scores, _ = model(source, lengths, words)
        smoothing = self.options.label_smoothing if model.training else 0.0
        return word_loss(scores, pad(targets, IGNORE)[0], smoothing)

    def translations(self, model: nn.Module, sentences: Sequence[str]) -> list[str]:
        """Return the best translation of each sentence that the default search finds."""
        found = self._search(cast("EncoderDecoder", model), sentences, self._beam_options())
        return [self.target.decode(best.tokens) for best, *_ in found]

    def predictions(
        self, model: nn.Module, sentences: Sequence[str], options: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the translation of each sentence, with its attention, and the alternatives.

        Args:
            model: In eval mode.
            sentences: None of them empty.
            options: `beam`: hypotheses side by side, 8 or `n_best` if that is more; `n_best`: with
                more than 1 that many are returned as "alternatives", the best first;
                `length_penalty`: alpha of `generation.beam.length_penalty`; `no_repeat`: never
                write that many tokens in a row twice.

        Raises:
            OptionError: An option out of its range.
        """
        search = self._beam_options(**options)
        network = cast("EncoderDecoder", model)
        predictions = []
        hypotheses = self._search(network, sentences, search)
        for sentence, found in zip(sentences, hypotheses, strict=True):
            every = self._described(network, sentence, found)
            best = {"source": sentence, "source_tokens": self._source_tokens(sentence), **every[0]}
            predictions.append(best if search.n_best == 1 else best | {"alternatives": every})
        return predictions

    def _beam_options(
        self,
        beam: int | None = None,
        n_best: int = 1,
        length_penalty: float = _LENGTH_PENALTY,
        no_repeat: int | None = None,
    ) -> BeamOptions:
        return BeamOptions(
            beam=max(_BEAM, n_best) if beam is None else beam,
            n_best=n_best,
            length_penalty=length_penalty,
            no_repeat=no_repeat,
            max_length=self.max_length,
        )

    @torch.inference_mode()
    def _search(
        self, model: EncoderDecoder, sentences: Sequence[str], options: BeamOptions
    ) -> list[list[Hypothesis]]:
        """Return the hypotheses of each sentence, which are never unknown tokens."""
        packed: Packed = {}

        def step(words: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
            with packing_once(packed):
                scores, state = model.decoder.step(words, state)
            scores[:, [UNKNOWN, BEGIN]] = -torch.inf
            return scores, state

        encoded = [self.encoded_source(sentence) for sentence in sentences]
        found: list[list[Hypothesis]] = [[] for _ in sentences]
        for batch in batches_by_length([len(tokens) for tokens in encoded], _ROWS_AT_ONCE):
            source, lengths = pad([encoded[index] for index in batch])
            state = model.start(source, lengths)
            rows = beam_search(step, state, len(batch), BEGIN, END, options)
            for index, hypotheses in zip(batch, rows, strict=True):
                found[index] = hypotheses
        return found

    @torch.inference_mode()
    def _described(
        self, model: EncoderDecoder, sentence: str, found: Sequence[Hypothesis]
    ) -> list[dict[str, Any]]:
        """Return hypotheses in types that JSON has, with the attention of each.

        The weights are those of the search: reading the words again at once gives the same.
        """
        tokens = self.encoded_source(sentence)
        sources = tokens.expand(len(found), -1)
        written = [[*one.tokens, *([END] if one.complete else [])] for one in found]
        words, _ = pad([torch.tensor([BEGIN, *ids[:-1]]) for ids in written])
        _, weights = model(sources, torch.full((len(found),), len(tokens)), words)
        described = []
        for row, (one, ids) in enumerate(zip(found, written, strict=True)):
            content: dict[str, Any] = {
                "translation": self.target.decode(one.tokens),
                "tokens": self.target.tokens_of(ids),
                "log_probability": one.log_probability,
                "score": one.score,
                "complete": one.complete,
            }
            if weights is not None:
                content["attention"] = _rounded(weights[row, : len(ids)])
            described.append(content)
        return described

    def _source_tokens(self, sentence: str) -> list[str]:
        return self.source.tokens_of(self.encoded_source(sentence))


def _rounded(weights: Tensor) -> list[list[float]]:
    """Return weights, (T, S), a row for each token written, in four decimals."""
    return [[round(weight, 4) for weight in row] for row in weights.tolist()]
