"""Captions: words for pictures or recordings, from a table that names the files.

The network is in `model.py`, what predictors without learning reach in
`baselines.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast, get_args

import torch
from torch import Tensor, nn

from unrolled.data.augment import augment_frames, augment_pictures
from unrolled.data.batching import IGNORE, pad
from unrolled.data.content import (
    flag_of,
    number_of,
    numbers_of,
    one_of,
    whole_number_of,
    whole_numbers_of,
)
from unrolled.data.media import Kind, named_media
from unrolled.data.recordings import scale_of
from unrolled.data.source import Source
from unrolled.data.words import BEGIN, END, TEXT_VERSION, UNKNOWN, WordVocabulary, text_version_of
from unrolled.errors import DataError, field
from unrolled.metrics import Metric, are_short, metrics_of_texts, text_metrics
from unrolled.networks import word_loss
from unrolled.networks.devices import moved
from unrolled.tasks.caption.baselines import best_constant, nearest_by_features, nearest_neighbours
from unrolled.tasks.caption.captions import Caption, references_of, words_of
from unrolled.tasks.caption.choosing import choose_weight
from unrolled.tasks.caption.exports import CaptionerGraphs
from unrolled.tasks.caption.model import Captioner
from unrolled.tasks.caption.neighbours import Neighbours, too_few
from unrolled.tasks.caption.options import (
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.caption.reader import check_kind, read_parts, read_table_of
from unrolled.tasks.caption.search import Candidate
from unrolled.tasks.caption.subject import CaptionerSubject
from unrolled.tasks.caption.writer import CaptionWriter
from unrolled.tasks.examples_task import ExamplesTask
from unrolled.tasks.task import OptionClasses, Splits, TaskOptions

__all__ = ["CaptionTask"]

_AT_ONCE = 32
_MOST_WORDS = 10_000  # of a caption that is written: a foreign run could ask for any number


class CaptionTask(ExamplesTask[Caption]):
    """Words for pictures or recordings.

    Args:
        options: What was chosen.
        vocabulary: The words of the training part.
        kind: "picture" or "recording".
        max_words: The longest caption that is written.
        mean: Of each band of the training recordings, (K,); empty for pictures.
        scale: The standard deviation around it, of all bands together: a band that is silent in
            training, and is not when it is used, must not drown the others.
        short: Whether most captions are of fewer than four words: exact matches then rank.
        text_version: Of how captions are cut, `data.words.TEXT_VERSION`.
        remembered: How many training examples the model keeps, and the words of the longest.
    """

    name = "caption"
    terms = "words"
    most_monitored = 500
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(
        self,
        options: TaskOptions,
        vocabulary: WordVocabulary,
        kind: Kind,
        max_words: int,
        mean: Sequence[float] = (),
        scale: float = 1.0,
        short: bool = False,
        text_version: int = TEXT_VERSION,
        remembered: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(options)
        self.vocabulary = vocabulary
        self.kind: Kind = kind
        self.max_words = max_words
        self.mean = torch.tensor(mean)
        self.scale = scale
        self.short = short
        self._text_version = text_version
        self._remembered = remembered
        self.writer = CaptionWriter(vocabulary, text_version, max_words, self.collate)

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the figures mean: BLEU ranks, exact matches where the captions are short."""
        return [
            *metrics_of_texts(self.short),
            Metric("unknown_words", "lower"),
            Metric("loss", "lower", "nats/word"),
        ]

    @property
    def _training(self) -> TrainingOptions:
        training: TrainingOptions = self.options.training
        return training

    @property
    def medium(self) -> str:
        """What is read: "picture" or "recording"."""
        return self.kind

    @classmethod
    def read(cls, options: TaskOptions) -> Splits[Caption]:
        """Return all examples, decoded.

        Raises:
            DataError: A table or a file that cannot be used; it names the table, the line and the
                file. All captions are the same; there are too few for the parts.
        """
        text_metrics(["a"], [["a"]])  # for its error: now, rather than when the training is over
        splits = read_parts(options.data, options.training.seed)
        few = too_few(len(splits.held_out)) if options.model.neighbours else None
        notes = [] if few is None else [f"{few} ({field('held_out')}, {field('held_out_file')})"]
        return replace(splits, notes=splits.notes + notes)

    @classmethod
    def fit(cls, options: TaskOptions, splits: Splits[Caption]) -> Self:
        """Return the task with the words of the training part and the scale of its recordings."""
        training = splits.training
        vocabulary = WordVocabulary.from_sentences(example.words for example in training)
        longest = max(len(example.words) for example in training)
        max_words = min(2 * longest, _MOST_WORDS)
        kind = training[0].kind
        short = are_short(len(example.words) for example in training)
        mean: Sequence[float] = ()
        scale = 1.0
        if kind == "recording":
            mean, scale = scale_of(example.content for example in training)
        task = cls(options, vocabulary, kind, max_words, mean, scale, short)
        task._make_room(training)
        return task

    def to_dict(self) -> dict[str, Any]:
        """Return the words, the kind and the scale."""
        return {
            **self.vocabulary.to_dict(),
            "kind": self.kind,
            "max_words": self.max_words,
            "mean": self.mean.tolist(),
            "scale": self.scale,
            "short": self.short,
            "text_version": self._text_version,
            "remembered": list(self._remembered),
        }

    @classmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        num_examples, longest = (
            whole_numbers_of(content, "remembered", 2, least=0)
            if "remembered" in content
            else (0, 0)
        )
        return cls(
            options,
            WordVocabulary.from_dict(content),
            cast(Kind, one_of(content, "kind", get_args(Kind))),
            whole_number_of(content, "max_words", most=_MOST_WORDS),
            numbers_of(content, "mean"),
            number_of(content, "scale", above=0),
            "short" in content and flag_of(content, "short"),
            text_version_of(content),
            (num_examples, longest),
        )

    def make_model(self, options: ModelOptions) -> Captioner:
        """Return a new captioner for these words, and pictures or recordings."""
        data: DataOptions = self.options.data
        if self.kind == "picture":
            medium = {"picture_size": data.picture_size}
        else:
            medium = {"num_bands": data.num_bands}
        num_examples, longest = self._remembered
        neighbours = None
        if num_examples:
            neighbours = Neighbours(num_examples, longest, self.kind, data.num_bands)
        size = len(self.vocabulary)
        return Captioner(options, vocabulary_size=size, neighbours=neighbours, **medium)

    def initialize(self, model: nn.Module, splits: Splits[Caption]) -> None:
        """Have the model keep the training examples."""
        if (neighbours := cast(Captioner, model).neighbours) is not None:
            examples = self._writable(splits.training)
            captions = [self.encoded(example) for example in examples]
            neighbours.remember([example.content for example in examples], captions)

    def take_over(
        self, model: nn.Module, weights: Mapping[str, Tensor], splits: Splits[Caption]
    ) -> None:
        """Have a model begin with the network of another run, and keep the examples of this one."""
        own = model.state_dict()
        remembered = {name: own[name] for name in own if _is_of_neighbours(name)}
        learned = {name: weights[name] for name in weights if not _is_of_neighbours(name)}
        model.load_state_dict(remembered | learned)
        self.initialize(model, splits)

    def _make_room(self, training: Sequence[Caption]) -> None:
        """Have models that are made from now on keep as many examples as there are."""
        examples = self._writable(training) if self.options.model.neighbours else []
        longest = max((len(self._words(example)) for example in examples), default=0)
        self._remembered = (len(examples), longest)

    def _writable(self, examples: Sequence[Caption]) -> list[Caption]:
        """Return the examples whose captions have no unknown word, as another run's may have."""
        known = self.vocabulary.__contains__
        return [example for example in examples if all(map(known, self._words(example)))]

    def calibrate(self, model: nn.Module, held_out: Sequence[Caption]) -> str | None:
        """Choose how much the nearness of examples counts; return it in words.

        It is the weight whose captions of the held-out part are best by the metric that ranks, of
        equals by chrF, of equals the smallest. Fewer than 30 examples decide nothing: the network
        then writes alone.
        """
        captioner = cast(Captioner, model)
        if captioner.neighbours is None:
            return None
        if (few := too_few(len(held_out))) is not None:
            captioner.neighbours.weight.zero_()
            return few
        named = {example.name: example for example in held_out}
        media = [example.content for example in named.values()]
        references = references_of(held_out)

        def figures(rows: Sequence[Sequence[Candidate]]) -> tuple[float, float]:
            written = [self.writer.text(best.hypothesis) for best, *_ in rows]
            measured = text_metrics(written, references, short=self.short)
            return measured[self.metrics[0].name] or 0.0, measured["chrf"]

        options = self.writer.options(PredictOptions())
        names = self.metrics[0].plain_label, "chrf"
        return choose_weight(captioner, media, self.collate, options, figures, names)

    def check_start(self, splits: Splits[Caption]) -> None:
        """Raise `DataError` unless a captioner of this kind can read these media.

        The examples that are kept are the new run's.
        """
        kind = splits.training[0].kind
        if kind != self.kind:
            message = f"{splits.training[0].name}: a {kind}, but the run to start from was trained"
            raise DataError(f"{message} on {self.kind}s", "name another run")
        self._make_room(splits.training)

    def length(self, example: Caption) -> int:
        """Return the frames of a recording, or the words of a picture."""
        return len(example.content if self.kind == "recording" else self._words(example))

    def loss(self, model: nn.Module, examples: Sequence[Caption]) -> tuple[Tensor, int]:
        """Return the sum of the losses of all words and ends, in nats, and of how many.

        Words that training has not seen do not count: `evaluate` says how many they are. In
        training, what is read is changed a little and labels are smoothed.
        """
        contents = [example.content for example in examples]
        augment = model.training and self.options.training.augment
        media, lengths = moved(self.collate(contents, augment=augment), model)
        words = [self.encoded(example) for example in examples]
        previous, _ = pad([torch.cat([torch.tensor([BEGIN]), ids]) for ids in words], END)
        targets, _ = pad([torch.cat([ids, torch.tensor([END])]) for ids in words], IGNORE)
        targets = targets.masked_fill(targets == UNKNOWN, IGNORE)
        previous, targets = moved((previous, targets), model)
        scores, _ = model(media, previous, lengths)
        smoothing = self.options.training.label_smoothing if model.training else 0.0
        return word_loss(scores, targets, smoothing)

    def evaluate(self, model: nn.Module, examples: Sequence[Caption]) -> dict[str, Any]:
        """Return the loss, BLEU, chrF, exact matches and the part of unknown words.

        A file that several examples name has one caption written, and several references.
        """
        named = {example.name: example for example in examples}
        media = [example.content for example in named.values()]
        written = [self.writer.text(best) for best in self.writer.best(model, media)]
        words = [word for example in examples for word in self._words(example)]
        unknown = sum(word not in self.vocabulary for word in words)
        return {
            **text_metrics(written, references_of(examples), short=self.short),
            "unknown_words": unknown / len(words),
            "loss": self.mean_loss(model, examples),
        }

    def baselines(
        self, training: Sequence[Caption], examples: Sequence[Caption]
    ) -> dict[str, dict[str, Any]]:
        """Return the metrics of the best constant caption and of the nearest neighbour's.

        Of pictures also those of the example that is nearest by what the model compares them by.
        """
        named = list({example.name: example for example in examples}.values())
        references = references_of(examples)
        written = {
            "constant": [best_constant(training, self.short)] * len(named),
            "nearest neighbour": nearest_neighbours(training, named),
        }
        if self.kind == "picture":
            written["nearest by features"] = nearest_by_features(training, named)
        return {
            name: text_metrics(captions, references, short=self.short)
            for name, captions in written.items()
        }

    def read_examples(self, path: Path) -> tuple[list[Caption], list[str]]:
        """Return the examples of a table with the same columns as the training's."""
        captions = read_table_of(path, self.options.data)
        check_kind(path, captions, self.kind)
        return captions.examples, captions.notes

    def predict(
        self, model: nn.Module, source: Source, options: PredictOptions
    ) -> Iterator[dict[str, Any]]:
        """Yield the captions of each picture or recording.

        Args:
            model: A `Captioner`.
            source: A picture or a recording; or a list of their paths, one a line, or a table as
                in training, if it is a file of this machine; or its standard input, a list.
            options: How the search goes; without them the beam is 4, the length penalty 1. With
                `skip_bad`, a file that cannot be used has an "error" and an empty caption.

        Raises:
            DataError: A file is missing or damaged; the captions of those before it are out.
            OptionError: An option out of its range.
        """
        search = self.writer.options(options)
        named = self._named_media(source)
        for batch in source.in_batches(named, _AT_ONCE):
            contents = [medium for _, medium in batch if isinstance(medium, Tensor)]
            rows = iter(self.writer.search(model, contents, search))
            for name, medium in batch:
                if isinstance(medium, DataError):
                    if not options.skip_bad:
                        raise medium
                    yield {"media": name, "caption": "", "error": str(medium)}
                    continue
                alternatives = self.writer.described(model, medium, next(rows))
                prediction = {"media": name, **alternatives[0]}
                if search.n_best > 1:
                    prediction["alternatives"] = alternatives
                yield prediction

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return the caption; of several, one a line with the scores that rank them."""
        if "alternatives" not in prediction:
            return str(prediction["caption"])
        alternatives = prediction["alternatives"]
        return "\n".join(f"{each['score']:.2f}\t{each['caption']}" for each in alternatives)

    def graphs(self, model: nn.Module) -> CaptionerGraphs:
        """Return what is exported of a model."""
        return CaptionerGraphs(self, model)

    def subject(self, model: nn.Module) -> CaptionerSubject:
        """Return the decoder while it writes."""

        def describe(content: Tensor) -> Sequence[int]:
            (best,) = self.writer.best(model, [content])
            return best.tokens

        return CaptionerSubject(
            cast(Captioner, model),
            [
                word if self._text_version > 1 else f" {word}"
                for word in self.vocabulary.decode(range(len(self.vocabulary)))
            ],
            self.collate,
            self._media,
            describe,
            lambda example: self.encoded(example).tolist(),
        )

    def _media(self, source: Source) -> Iterator[Tensor]:
        """Yield what is to be described."""
        for _, medium in self._named_media(source):
            if isinstance(medium, DataError):
                raise medium
            yield medium

    def _named_media(self, source: Source) -> Iterator[tuple[str, Tensor | DataError]]:
        """Yield what is to be described, or why it cannot be, each with its name."""
        data = self.options.data
        return named_media(source, data, self.kind, column=data.media, folder=data.folder)

    def collate(
        self, contents: Sequence[Tensor], *, augment: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return pictures as a batch, (B, 3, S, S); or scaled frames, (B, T, K), and lengths."""
        if self.kind == "picture":
            pixels = torch.stack(list(contents))
            return (augment_pictures(pixels, self._training.flip) if augment else pixels), None
        if augment:
            contents = [augment_frames(frames) for frames in contents]
        return pad([(frames - self.mean) / self.scale for frames in contents])

    def encoded(self, example: Caption) -> Tensor:
        """Return the words of a caption as numbers."""
        return self.vocabulary.encode(self._words(example))

    def _words(self, example: Caption) -> Sequence[str]:
        """Return the words of a caption as this model knows them."""
        if self._text_version == TEXT_VERSION:
            return example.words
        return words_of(example.text, self._text_version)


def _is_of_neighbours(name: str) -> bool:
    return name.startswith("neighbours.")
