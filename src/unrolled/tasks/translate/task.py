"""What the two ways of translating share: pairs, vocabularies, measures, trivial translators.

The ways themselves are `translate.py`, an encoder and a decoder, and `translate_delayed.py`, one
network that answers late.
"""

import random
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from unrolled.data.sentences import TOKENS, SentenceVocabulary
from unrolled.data.source import Source
from unrolled.data.split import split
from unrolled.data.words import END
from unrolled.errors import DataError, require
from unrolled.metrics.text import text_metrics
from unrolled.tasks.task import Splits, Task
from unrolled.tasks.translate.baselines import baseline_translations
from unrolled.tasks.translate.pairs import Pair, read_pairs

__all__ = ["TranslationOptions", "TranslationTask"]

_LINES_AT_ONCE = 64
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class TranslationOptions:
    """How pairs of sentences are read and learned from.

    Args:
        pairs: The file.
        source_column: Its number, from 1, or its name in the file's first line.
        target_column: Likewise.
        encoding: Of the file.
        tokens: "word", "bpe" or "char".
        vocabulary_size: The most tokens of each language; None: 4000 for bpe, else all.
        limit: The most pairs that are used, drawn at random; None for all.
        max_characters: Longer sentences are left out of training, and refused afterwards.
        held_out: Part of the pairs that chooses the best weights, in (0, 1).
        test: Part of the pairs that is measured on at the end, in [0, 1).
        seed: Of the pairs that are drawn, and of the split.
        label_smoothing: Part of the probability, in [0, 1), that training asks for all words.

    Raises:
        OptionError: A value out of its range.
    """

    pairs: str
    source_column: str = "1"
    target_column: str = "2"
    encoding: str = "utf-8"
    tokens: str = "bpe"
    vocabulary_size: int | None = None
    limit: int | None = None
    max_characters: int = 400
    held_out: float = 0.05
    test: float = 0.05
    seed: int = 0
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        require(self.tokens in TOKENS, "tokens", f"one of {', '.join(TOKENS)}", repr(self.tokens))
        for name in ("vocabulary_size", "limit", "max_characters"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, "at least 1", value)
        require(0 < self.held_out < 1, "held_out", "a part of the pairs, in (0, 1)", self.held_out)
        require(0 <= self.test < 1, "test", "a part of the pairs, in [0, 1)", self.test)
        smoothing = self.label_smoothing
        require(0 <= smoothing < 1, "label_smoothing", "a part, in [0, 1)", smoothing)


class TranslationTask(Task[Pair]):
    """From a sentence to another one. Abstract: how, the derived classes say.

    Args:
        options: A `TranslationOptions`.
        source: The vocabulary that is read.
        target: The vocabulary that is written.
        max_length: The most tokens that are written.
    """

    unit: ClassVar[str] = "nats/token"

    def __init__(
        self,
        options: TranslationOptions,
        source: SentenceVocabulary,
        target: SentenceVocabulary,
        max_length: int,
    ) -> None:
        super().__init__(options)
        self.source = source
        self.target = target
        self.max_length = max_length
        self._encoded: dict[Pair, tuple[Tensor, Tensor]] = {}

    @abstractmethod
    def translations(self, model: nn.Module, sentences: Sequence[str]) -> list[str]:
        """Return the translation of each sentence, as `predict` gives it by default."""

    @abstractmethod
    def predictions(
        self, model: nn.Module, sentences: Sequence[str], options: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return what `predict` yields for sentences, none of them empty, with its options."""

    @classmethod
    def files(cls, options: TranslationOptions) -> list[Path]:
        """Return the file of the pairs."""
        return [Path(options.pairs)]

    @classmethod
    def read(cls, options: TranslationOptions) -> Splits[Pair]:
        """Return the pairs; all those with the same source sentence are in the same part."""
        pairs, notes = _read(Path(options.pairs), options)
        if options.limit is not None and options.limit < len(pairs):
            notes = [*notes, f"{options.limit:,} of {len(pairs):,} pairs are used, drawn at random"]
            chosen = random.Random(options.seed).sample(range(len(pairs)), options.limit)
            pairs = [pairs[index] for index in sorted(chosen)]
        parts = split(
            [pair.source for pair in pairs],
            held_out=options.held_out,
            test=options.test,
            seed=options.seed,
        )
        training, held_out, test = ([pairs[index] for index in part] for part in parts)
        return Splits(training, held_out, test, notes)

    @classmethod
    def fit(cls, options: TranslationOptions, training: Sequence[Pair]) -> Self:
        """Return the task with the vocabularies of the training part.

        Words and characters that occur once there stand for all that are unknown.
        """
        source, target = (
            SentenceVocabulary.from_sentences(
                options.tokens, side, options.vocabulary_size, min_count=2
            )
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
    def from_dict(cls, options: TranslationOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        source, target = (
            SentenceVocabulary.from_dict(content[side]) for side in ("source", "target")
        )
        return cls(options, source, target, int(content["max_length"]))

    def length(self, example: Pair) -> int:
        """Return the tokens of both sides."""
        return sum(map(len, self.encoded(example)))

    def encoded(self, pair: Pair) -> tuple[Tensor, Tensor]:
        """Return the tokens of both sides, each with the end."""
        if pair not in self._encoded:
            self._encoded[pair] = (
                self.encoded_source(pair.source),
                _with_end(self.target.encode(pair.target)),
            )
        return self._encoded[pair]

    def encoded_source(self, sentence: str) -> Tensor:
        """Return the tokens of a sentence that is read, with the end."""
        return _with_end(self.source.encode(sentence))

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
        return _read(path, self.options)

    def predict(self, model: nn.Module, source: Source, **options: Any) -> Iterator[dict[str, Any]]:
        """Yield a translation for each line, an empty one for an empty line.

        Raises:
            DataError: A line is too long, or not UTF-8; it names the line.
            OptionError: An option out of its range.
        """
        self.predictions(model, [], options)  # refuses options before a line is read
        at_once = 1 if source.path is None else _LINES_AT_ONCE  # people wait for an answer
        lines: list[str] = []
        for number, line in enumerate(source.lines(), 1):
            sentence = " ".join(line.split())
            if len(sentence) > self.options.max_characters:
                raise DataError(
                    f"{source.name}, line {number}: {len(sentence):,} characters, this model reads "
                    f"at most {self.options.max_characters:,}",
                    "cut it into sentences, or train with a larger --max-characters",
                )
            lines.append(sentence)
            if len(lines) == at_once:
                yield from self._predicted(model, lines, options)
                lines = []
        yield from self._predicted(model, lines, options)

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return the translation; of several, a line each with its score."""
        if "alternatives" not in prediction:
            return str(prediction["translation"])
        every = prediction["alternatives"]
        return "\n".join(f"{found['score']:.4f}\t{found['translation']}" for found in every)

    def _predicted(
        self, model: nn.Module, lines: Sequence[str], options: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        found = iter(self.predictions(model, [line for line in lines if line], options))
        for line in lines:
            yield next(found) if line else {"source": "", "translation": ""}


def _read(path: Path, options: TranslationOptions) -> tuple[list[Pair], list[str]]:
    return read_pairs(
        path,
        source_column=options.source_column,
        target_column=options.target_column,
        encoding=options.encoding,
        max_characters=options.max_characters,
    )


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
