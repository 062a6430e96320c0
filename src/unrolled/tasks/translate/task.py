"""Translation: a sentence in, another one out. Pairs, vocabularies, measures.

The network is behind a `Way`, of which there are two: `by_decoder.py`, an encoder and a decoder,
and `by_delay.py`, one network that answers late.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from unrolled.data.content import whole_number_of
from unrolled.data.sentences import SentenceVocabulary
from unrolled.data.source import Source
from unrolled.data.split import split
from unrolled.data.words import END
from unrolled.errors import DataError, field
from unrolled.metrics import TEXT_METRICS, Metric, text_metrics
from unrolled.networks import Hypothesis
from unrolled.tasks.task import ExamplesTask, OptionClasses, Splits, TaskOptions
from unrolled.tasks.translate.baselines import baseline_translations
from unrolled.tasks.translate.by_decoder import ByDecoder
from unrolled.tasks.translate.by_delay import ByDelay
from unrolled.tasks.translate.delayed_model import DelayedModel
from unrolled.tasks.translate.model import EncoderDecoder
from unrolled.tasks.translate.options import (
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.translate.pairs import Pair, read_pairs
from unrolled.tasks.translate.subject import DelayedSubject, TranslatorSubject
from unrolled.tasks.translate.way import Way

__all__ = ["TranslateTask"]

_LINES_AT_ONCE = 64
_SHOWN = 10


class TranslateTask(ExamplesTask[Pair]):
    """From a sentence to another one.

    Args:
        options: What was chosen.
        source: The vocabulary that is read.
        target: The vocabulary that is written.
        max_length: The most tokens that are written.
    """

    name = "translate"
    terms = "tokens"
    most_monitored = 500
    metrics = (
        *TEXT_METRICS,
        Metric("bleu_all_references", "higher"),
        Metric("loss", "lower", "nats/token"),
    )
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(
        self,
        options: TaskOptions,
        source: SentenceVocabulary,
        target: SentenceVocabulary,
        max_length: int,
    ) -> None:
        super().__init__(options)
        self.source = source
        self.target = target
        self.max_length = max_length
        self._encoded: dict[Pair, tuple[Tensor, Tensor]] = {}

    @classmethod
    def files(cls, data: DataOptions) -> list[Path]:
        """Return the file of the pairs."""
        return [Path(data.file)]

    @classmethod
    def read(cls, options: TaskOptions) -> Splits[Pair]:
        """Return the pairs; all those with the same source sentence are in the same part."""
        data, seed = cast(DataOptions, options.data), options.training.seed
        pairs, notes = _read(Path(data.file), data)
        if data.limit is not None and data.limit < len(pairs):
            notes = [*notes, f"{data.limit:,} of {len(pairs):,} pairs are used, drawn at random"]
            chosen = random.Random(seed).sample(range(len(pairs)), data.limit)
            pairs = [pairs[index] for index in sorted(chosen)]
        parts = split(
            [pair.source for pair in pairs], held_out=data.held_out, test=data.test, seed=seed
        )
        training, held_out, test = ([pairs[index] for index in part] for part in parts)
        return Splits(training, held_out, test, notes)

    @classmethod
    def fit(cls, options: TaskOptions, splits: Splits[Pair]) -> Self:
        """Return the task with the vocabularies of the training part.

        Words and characters that occur once there stand for all that are unknown.
        """
        data, training = options.data, splits.training
        source, target = (
            SentenceVocabulary.from_sentences(data.tokens, side, data.vocabulary_size, min_count=2)
            for side in ([pair.source for pair in training], [pair.target for pair in training])
        )
        longest = max(len(target.encode(pair.target)) for pair in training)
        return cls(options, source, target, longest + longest // 2)

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabularies."""
        return {
            "source": self.source.to_dict(),
            "target": self.target.to_dict(),
            "max_length": self.max_length,
        }

    @classmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        source, target = (
            SentenceVocabulary.from_dict(content[side]) for side in ("source", "target")
        )
        return cls(options, source, target, whole_number_of(content, "max_length", least=1))

    @property
    def predict_options(self) -> tuple[str, ...]:
        """Those of a search; a network that answers with a delay has none."""
        return super().predict_options if self.options.model.delay is None else ()

    def make_model(self, options: ModelOptions) -> EncoderDecoder | DelayedModel:
        """Return a new network for these vocabularies."""
        if options.delay is None:
            sizes = {"source_size": len(self.source), "target_size": len(self.target)}
            return EncoderDecoder(options, **sizes)
        return DelayedModel(
            options,
            vocabulary_size=len(self.source),
            num_classes=len(self.target),
            embedding_size=options.embedding_size,
        )

    def way(self, model: nn.Module) -> Way:
        """Return how `model`, made by `make_model`, translates."""
        delay = self.options.model.delay
        if delay is None:
            return ByDecoder(cast(EncoderDecoder, model))
        return ByDelay(cast(DelayedModel, model), delay)

    def length(self, example: Pair) -> int:
        """Return the tokens of both sides."""
        return sum(map(len, self.encoded(example)))

    def encoded(self, pair: Pair) -> tuple[Tensor, Tensor]:
        """Return the tokens of both sides, each with the end."""
        if pair not in self._encoded:
            target = _with_end(self.target.encode(pair.target))
            self._encoded[pair] = (self.encoded_source(pair.source), target)
        return self._encoded[pair]

    def encoded_source(self, sentence: str) -> Tensor:
        """Return the tokens of a sentence that is read, with the end."""
        return _with_end(self.source.encode(sentence))

    def loss(self, model: nn.Module, examples: Sequence[Pair]) -> tuple[Tensor, int]:
        """Return the cross-entropy of the targets' tokens, smoothed in training alone."""
        sources, targets = zip(*map(self.encoded, examples), strict=True)
        smoothing = self.options.training.label_smoothing if model.training else 0.0
        return self.way(model).loss(sources, targets, smoothing)

    def translations(self, model: nn.Module, sentences: Sequence[str]) -> list[str]:
        """Return the translation of each sentence, as `predict` gives it by default."""
        sources = [self.encoded_source(sentence) for sentence in sentences]
        rows = self.way(model).search(sources, PredictOptions(), self.max_length)
        return [self.target.decode(best.tokens) for best, *_ in rows]

    def evaluate(self, model: nn.Module, examples: Sequence[Pair]) -> dict[str, Any]:
        """Return the loss and how close the translations come.

        `bleu` and `chrf` hold each pair's translation against the pair's one target;
        `bleu_all_references` holds each different source's against all its targets in `examples`.
        """
        sources = list(dict.fromkeys(pair.source for pair in examples))
        written = dict(zip(sources, self.translations(model, sources), strict=True))
        return {"loss": self.mean_loss(model, examples)} | _scores(written, examples)

    def baselines(
        self, training: Sequence[Pair], examples: Sequence[Pair]
    ) -> dict[str, dict[str, Any]]:
        """Return the scores of translators that have learned next to nothing."""
        sources = list(dict.fromkeys(pair.source for pair in examples))
        scores = {
            name: _scores(dict(zip(sources, written, strict=True)), examples)
            for name, written in baseline_translations(training, sources).items()
        }
        return {
            name: {metric: value for metric, value in of_one.items() if isinstance(value, float)}
            for name, of_one in scores.items()
        }

    def read_examples(self, path: Path) -> tuple[list[Pair], list[str]]:
        """Return the pairs of a file with the columns of the training file."""
        return _read(path, self.options.data)

    def predict(
        self, model: nn.Module, source: Source, options: PredictOptions
    ) -> Iterator[dict[str, Any]]:
        """Yield a translation for each line, an empty one for an empty line.

        Raises:
            DataError: A line is too long, or not UTF-8; it names the line.
            OptionError: An option out of its range.
        """
        self.way(model).search([], options, self.max_length)  # refuses before a line is read
        at_once = 1 if source.is_interactive else _LINES_AT_ONCE  # people wait for an answer
        lines: list[str] = []
        for sentence in self._sentences(source):
            lines.append(sentence)
            if len(lines) == at_once:
                yield from self._predicted(model, lines, options)
                lines = []
        yield from self._predicted(model, lines, options)

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return the translation; of several, a line each with its score."""
        if "alternatives" not in prediction:
            return str(prediction["translation"])
        alternatives = prediction["alternatives"]
        return "\n".join(f"{each['score']:.4f}\t{each['translation']}" for each in alternatives)

    def predictions(
        self, model: nn.Module, sentences: Sequence[str], options: PredictOptions
    ) -> list[dict[str, Any]]:
        """Return the translation of each sentence, with its attention, and the alternatives.

        Args:
            model: In eval mode.
            sentences: None of them empty.
            options: With `n_best` above 1, that many are returned as "alternatives", the best
                first.

        Raises:
            OptionError: An option out of its range.
        """
        way = self.way(model)
        sources = [self.encoded_source(sentence) for sentence in sentences]
        predictions = []
        for sentence, source, hypotheses in zip(
            sentences, sources, way.search(sources, options, self.max_length), strict=True
        ):
            alternatives = self._described(way, source, hypotheses)
            read = {"source": sentence, "source_tokens": self.source.tokens_of(source)}
            prediction = {**read, **alternatives[0]}
            if options.n_best > 1:
                prediction["alternatives"] = alternatives
            predictions.append(prediction)
        return predictions

    def subject(self, model: nn.Module) -> TranslatorSubject | DelayedSubject:
        """Return the decoder while it writes, or the network that answers late."""
        targets = self._texts(self.target)
        if isinstance(model, DelayedModel):
            delay = self.options.model.delay
            sources = self._texts(self.source)
            encode = self.encoded_source
            return DelayedSubject(model, delay, sources, targets, self._sentences, encode)

        def translate(sentence: str) -> tuple[Tensor, Sequence[int]]:
            tokens = self.encoded_source(sentence)
            ((best, *_),) = self.way(model).search([tokens], PredictOptions(), self.max_length)
            return tokens, best.tokens

        network = cast(EncoderDecoder, model)
        return TranslatorSubject(network, targets, self._sentences, self.encoded, translate)

    def _sentences(self, source: Source) -> Iterator[str]:
        """Yield each line, in single blanks and no longer than what the model reads."""
        most = self.options.data.max_characters
        for number, line in enumerate(source.lines(), 1):
            sentence = " ".join(line.split())
            if len(sentence) > most:
                raise DataError(
                    f"{source.name}, line {number}: {len(sentence):,} characters, this model reads "
                    f"at most {most:,}",
                    f"cut it into sentences, or train with a larger {field('max_characters')}",
                )
            yield sentence

    def _texts(self, vocabulary: SentenceVocabulary) -> list[str]:
        """Return the text of each token, with the blank before it."""
        return [token.replace("␣", " ") for token in vocabulary.tokens_of(range(len(vocabulary)))]

    def _predicted(
        self, model: nn.Module, lines: Sequence[str], options: PredictOptions
    ) -> Iterator[dict[str, Any]]:
        predictions = iter(self.predictions(model, [line for line in lines if line], options))
        for line in lines:
            yield next(predictions) if line else {"source": "", "translation": ""}

    def _described(
        self, way: Way, source: Tensor, hypotheses: Sequence[Hypothesis]
    ) -> list[dict[str, Any]]:
        """Return hypotheses in types that JSON has, with the attention of each."""
        attention = way.attention(source, hypotheses)
        described = []
        for number, hypothesis in enumerate(hypotheses):
            content: dict[str, Any] = {
                "translation": self.target.decode(hypothesis.tokens),
                "tokens": self.target.tokens_of(hypothesis.with_end(END)),
                "log_probability": hypothesis.log_probability,
                "score": hypothesis.score,
                "complete": hypothesis.complete,
            }
            if attention is not None:
                content["attention"] = _rounded(attention[number])
            described.append(content)
        return described


def _read(path: Path, options: DataOptions) -> tuple[list[Pair], list[str]]:
    return read_pairs(
        path,
        source_column=options.source_column,
        target_column=options.target_column,
        encoding=options.encoding,
        max_characters=options.max_characters,
    )


def _rounded(weights: Tensor) -> list[list[float]]:
    """Return weights, (T, S), a row for each token written, in four decimals."""
    return [[round(weight, 4) for weight in row] for row in weights.tolist()]


def _with_end(tokens: Tensor) -> Tensor:
    return torch.cat([tokens, torch.tensor([END])])


def _scores(written: dict[str, str], examples: Sequence[Pair]) -> dict[str, Any]:
    """Return the scores of translations by their sources, and some of them to read."""
    references: dict[str, list[str]] = {source: [] for source in written}
    for pair in examples:
        references[pair.source].append(pair.target)
    scores = text_metrics(
        [written[pair.source] for pair in examples], [[pair.target] for pair in examples]
    )
    several = text_metrics(list(written.values()), list(references.values()))
    step = max(1, len(written) // _SHOWN)
    shown = [
        {"source": source, "translation": written[source], "references": references[source]}
        for source in list(written)[::step][:_SHOWN]
    ]
    return scores | {"bleu_all_references": several["bleu"], "translations": shown}
