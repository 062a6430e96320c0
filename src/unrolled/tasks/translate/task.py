"""Translation: a sentence in, another one out. Pairs, vocabularies, measures.

The network is behind a `Way`, of which there are two: `by_decoder.py`, an encoder and a decoder,
and `by_delay.py`, one network that answers late.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.data.content import flag_of, whole_number_of
from unrolled.data.packed_examples import Selected
from unrolled.data.sentences import SentenceVocabulary
from unrolled.data.source import Source
from unrolled.data.tables import is_table
from unrolled.data.words import END, UNKNOWN, as_read, split_words, unknown_note
from unrolled.errors import OptionError, field
from unrolled.metrics import Metric, are_short, metrics_of_texts, text_metrics
from unrolled.networks import Hypothesis
from unrolled.tasks.examples_task import ExamplesTask
from unrolled.tasks.parts import in_parts
from unrolled.tasks.task import OptionClasses, Splits, TaskOptions
from unrolled.tasks.translate.baselines import baseline_translations
from unrolled.tasks.translate.by_decoder import ByDecoder
from unrolled.tasks.translate.by_delay import ByDelay
from unrolled.tasks.translate.delayed_model import DelayedModel
from unrolled.tasks.translate.exports import DelayedGraphs, TranslatorGraphs
from unrolled.tasks.translate.model import EncoderDecoder
from unrolled.tasks.translate.options import (
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.translate.pairs import Pair, counterpart, read_pairs, sources_of
from unrolled.tasks.translate.subject import DelayedSubject, TranslatorSubject
from unrolled.tasks.translate.way import Way
from unrolled.tasks.vectors import fitted_width, width_content, width_of

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
        short: Whether most targets are of fewer than four words: exact matches then rank.
        vectors_width: Numbers of each vector that words of the source begin with; None without.
    """

    name = "translate"
    terms = "tokens"
    most_monitored = 500
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(
        self,
        options: TaskOptions,
        source: SentenceVocabulary,
        target: SentenceVocabulary,
        max_length: int,
        short: bool = False,
        vectors_width: int | None = None,
    ) -> None:
        super().__init__(options)
        self.short = short
        self.source = source
        self.target = target
        self.max_length = max_length
        self.vectors_width = vectors_width

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the figures mean: BLEU ranks, exact matches where the targets are short."""
        return [
            *metrics_of_texts(self.short),
            Metric("bleu_all_references", "higher"),
            Metric("loss", "lower", "nats/token"),
        ]

    @classmethod
    def files(cls, data: DataOptions) -> list[Path]:
        """Return the files of the pairs, and of their targets where these have their own."""
        paths = super().files(data)
        return [path for own in paths for path in (own, _targets(own, data)) if path is not None]

    @classmethod
    def read(cls, options: TaskOptions) -> Splits[Pair]:
        """Return the pairs; all those with the same source sentence are in the same part."""
        data, seed = cast(DataOptions, options.data), options.training.seed
        pairs, notes = _read(Path(data.file), data)
        if data.limit is not None and data.limit < len(pairs):
            notes = [*notes, f"{data.limit:,} of {len(pairs):,} pairs are used, drawn at random"]
            chosen = random.Random(seed).sample(range(len(pairs)), data.limit)
            pairs = Selected(pairs, sorted(chosen))

        def read_file(path: Path, _: object) -> tuple[Sequence[Pair], list[str]]:
            further, about = _read(path, data)
            return further, [f"{path}: {note}" for note in about]

        splits = in_parts(pairs, (pair.source for pair in pairs), data, seed, read_file)
        splits.notes[:0] = notes
        return splits

    @classmethod
    def fit(cls, options: TaskOptions, splits: Splits[Pair]) -> Self:
        """Return the task with the vocabularies of the training part.

        Words and characters that occur once there stand for all that are unknown.
        """
        data, training = options.data, splits.training
        source, target = (
            SentenceVocabulary.from_sentences(data.tokens, side, data.vocabulary_size, min_count=2)
            for side in ((pair.source for pair in training), (pair.target for pair in training))
        )
        hint = f"{field('tokens')} bpe or char may know them, or more pairs"
        for side, vocabulary in (("source", source), ("target", target)):
            unknown = total = 0
            for pair in splits.held_out:
                ids = vocabulary.encode(getattr(pair, side))
                unknown, total = unknown + int((ids == UNKNOWN).sum()), total + len(ids)
            where = f"{side}s of the held-out part"
            splits.notes.extend(unknown_note(unknown, total, where, hint))
        longest = max(len(target.encode(pair.target)) for pair in training)
        short = are_short(len(split_words(pair.target)) for pair in training)
        if data.vectors is not None and options.model.delay is not None:
            message = f"{field('vectors')} is for an encoder and a decoder"
            hint = "leave one of the two out"
            raise OptionError(f"{message}, {field('delay')} is another network", hint)
        return cls(options, source, target, longest + longest // 2, short, fitted_width(options))

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabularies."""
        return {
            "source": self.source.to_dict(),
            "target": self.target.to_dict(),
            "max_length": self.max_length,
            "short": self.short,
        } | width_content(self.vectors_width)

    @classmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        source, target = (
            SentenceVocabulary.from_dict(content[side]) for side in ("source", "target")
        )
        # a sentence has as many tokens as bytes at most, and half as many are added
        most = 6 * options.data.max_characters
        max_length = whole_number_of(content, "max_length", most=most)
        short = "short" in content and flag_of(content, "short")
        return cls(options, source, target, max_length, short, width_of(content))

    @property
    def predict_options(self) -> tuple[str, ...]:
        """Those of a search; a network that answers with a delay has none."""
        return super().predict_options if self.options.model.delay is None else ()

    def make_model(self, options: ModelOptions) -> EncoderDecoder | DelayedModel:
        """Return a new network for these vocabularies."""
        if options.delay is None:
            sizes = {"source_size": len(self.source), "target_size": len(self.target)}
            return EncoderDecoder(
                options,
                **sizes,
                vectors_width=self.vectors_width,
                accumulate=self.options.training.accumulate,
            )
        return DelayedModel(
            options,
            vocabulary_size=len(self.source),
            num_classes=len(self.target),
            embedding_size=options.own_embedding_size,
        )

    def initialize(self, model: nn.Module, splits: Splits[Pair]) -> None:
        """Begin with vectors of the words that are read, if there are any."""
        if (path := self.options.data.vectors) is not None:
            encoder = cast(EncoderDecoder, model).encoder
            splits.notes.append(encoder.embedding.begin_with(Path(path), self.source.words))

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

        def read() -> bytes:
            source, target = self.encoded_source(pair.source), self.target.encode(pair.target)
            both = torch.cat([torch.tensor([len(source)]), source, _with_end(target)])
            return both.int().numpy().tobytes()

        numbers = np.frombuffer(pair.as_read_by(self, read), np.int32).astype(np.int64)
        both = torch.from_numpy(numbers[1:])
        return both[: numbers[0]], both[numbers[0] :]

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
        return self._scores(written, examples) | {"loss": self.mean_loss(model, examples)}

    def baselines(
        self, training: Sequence[Pair], examples: Sequence[Pair]
    ) -> dict[str, dict[str, Any]]:
        """Return the scores of translators that have learned next to nothing."""
        sources = list(dict.fromkeys(pair.source for pair in examples))
        scores = {
            name: self._scores(dict(zip(sources, written, strict=True)), examples)
            for name, written in baseline_translations(training, sources).items()
        }
        return {
            name: {metric: value for metric, value in of_one.items() if isinstance(value, float)}
            for name, of_one in scores.items()
        }

    def read_examples(self, path: Path) -> tuple[Sequence[Pair], list[str]]:
        """Return the pairs of a file with the columns of the training file."""
        return _read(path, self.options.data)

    def predict(
        self, model: nn.Module, source: Source, options: PredictOptions
    ) -> Iterator[dict[str, Any]]:
        """Yield a translation for each line, an empty one for an empty line.

        Of a line that is longer than what the model reads, the beginning is translated; "read" says
        how many characters that is.

        Raises:
            DataError: A line is not UTF-8; it names the line. Those before it come first.
            OptionError: An option out of its range.
        """
        self.way(model).search([], options, self.max_length)  # refuses before a line is read
        for lines in source.in_batches(self._lines(source), _LINES_AT_ONCE):
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

    def graphs(self, model: nn.Module) -> TranslatorGraphs | DelayedGraphs:
        """Return what is exported of a model."""
        return (DelayedGraphs if isinstance(model, DelayedModel) else TranslatorGraphs)(self, model)

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
        unit = "word" if self.options.data.tokens == "word" else "token"
        return TranslatorSubject(network, targets, self._sentences, self.encoded, translate, unit)

    def _sentences(self, source: Source) -> Iterator[str]:
        """Yield each line as it is read."""
        return (sentence for sentence, _ in self._lines(source))

    def _lines(self, source: Source) -> Iterator[tuple[str, bool]]:
        """Yield each line in single blanks, as far as the model reads, and whether it goes on.

        A line is cut between two words, where there are any.
        """
        most = self.options.data.max_characters
        for line in sources_of(source, self.options.data.source_column):
            sentence = " ".join(line.split())
            if len(sentence) <= most:
                yield sentence, False
                continue
            end = sentence.rfind(" ", 1, most + 1)
            yield sentence[: end if end > 0 else most], True

    def _scores(self, written: dict[str, str], examples: Sequence[Pair]) -> dict[str, Any]:
        """Return the scores of translations by their sources, and some of them to read.

        Both sides are in NFC, in other respects as the file has them.
        """
        written = {source: as_read(text) for source, text in written.items()}
        references: dict[str, list[str]] = {source: [] for source in written}
        for pair in examples:
            references[pair.source].append(as_read(pair.target))
        scores = text_metrics(
            [written[pair.source] for pair in examples],
            [[as_read(pair.target)] for pair in examples],
            short=self.short,
        )
        several = text_metrics(list(written.values()), list(references.values()))
        step = max(1, len(written) // _SHOWN)
        shown = [
            {"source": source, "translation": written[source], "references": references[source]}
            for source in list(written)[::step][:_SHOWN]
        ]
        return scores | {"bleu_all_references": several["bleu"], "translations": shown}

    def _texts(self, vocabulary: SentenceVocabulary) -> list[str]:
        """Return the text of each token, with the blank before it."""
        return [token.replace("␣", " ") for token in vocabulary.tokens_of(range(len(vocabulary)))]

    def _predicted(
        self, model: nn.Module, lines: Sequence[tuple[str, bool]], options: PredictOptions
    ) -> Iterator[dict[str, Any]]:
        sentences = [sentence for sentence, _ in lines if sentence]
        predictions = iter(self.predictions(model, sentences, options))
        for sentence, was_cut in lines:
            if not sentence:
                yield {"source": "", "translation": ""}
                continue
            prediction = next(predictions)
            yield {**prediction, "read": len(sentence)} if was_cut else prediction

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


def _targets(path: Path, options: DataOptions) -> Path | None:
    """Return the file of the targets of one of sources; None where pairs are in one file."""
    if options.targets is None:
        return None
    if str(path) == options.file:
        return Path(options.targets)
    if is_table(path) and not is_table(Path(options.file)):
        return None
    return counterpart(path, Path(options.file), Path(options.targets))


def _read(path: Path, options: DataOptions) -> tuple[Sequence[Pair], list[str]]:
    return read_pairs(
        path,
        targets=_targets(path, options),
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
