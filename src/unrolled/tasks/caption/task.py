"""Captions: words for pictures or recordings, from a table that names the files.

The network is in `model.py`, what predictors without learning reach in
`caption_baselines.py`.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from unrolled.data.batching import IGNORE, batches_by_length, pad
from unrolled.data.source import Source
from unrolled.data.words import BEGIN, END, UNKNOWN, WordVocabulary
from unrolled.errors import DataError
from unrolled.metrics.text import text_metrics
from unrolled.networks.beam import BeamOptions, Hypothesis
from unrolled.networks.decoder import word_loss
from unrolled.tasks.caption.augment import augment_frames, augment_pictures
from unrolled.tasks.caption.baselines import best_constant, nearest_neighbours
from unrolled.tasks.caption.captions import Caption, join_words
from unrolled.tasks.caption.media import Kind, holds_medium, read_medium
from unrolled.tasks.caption.model import Captioner, CaptionerConfig
from unrolled.tasks.caption.reader import CaptionOptions, check_kind, read_parts, read_table_of
from unrolled.tasks.caption.search import attention_of, best_captions
from unrolled.tasks.task import Splits, Task

__all__ = ["CaptionTask"]

_BEAM = 4
_LENGTH_PENALTY = (
    1.0  # the translator's; without it, a model that knows little writes next to nothing
)
_AT_ONCE = 32


class CaptionTask(Task[Caption]):
    """Words for pictures or recordings.

    Args:
        options: How the data are read.
        vocabulary: The words of the training part.
        kind: "picture" or "recording".
        max_words: The longest caption that is written.
        mean: Of each band of the training recordings, (K,); empty for pictures.
        scale: The standard deviation around it, of all bands together: a band that is silent in
            training, and is not when it is used, must not drown the others.
    """

    name = "caption"
    unit = "nats/word"
    Options = CaptionOptions
    Config = CaptionerConfig
    Model = Captioner
    predict_options: ClassVar[frozenset[str]] = frozenset(
        {"beam", "n_best", "length_penalty", "no_repeat"}
    )

    def __init__(
        self,
        options: CaptionOptions,
        vocabulary: WordVocabulary,
        kind: Kind,
        max_words: int,
        mean: Sequence[float] = (),
        scale: float = 1.0,
    ) -> None:
        super().__init__(options)
        self.vocabulary = vocabulary
        self.kind: Kind = kind
        self.max_words = max_words
        self.mean = torch.tensor(mean)
        self.scale = scale

    @classmethod
    def files(cls, options: CaptionOptions) -> list[Path]:
        """Return the tables; the files that they name are not looked at."""
        paths = (options.path, options.held_out_path, options.test_path)
        return [Path(path) for path in paths if path is not None]

    @classmethod
    def read(cls, options: CaptionOptions) -> Splits[Caption]:
        """Return all examples, decoded.

        Raises:
            DataError: A table or a file that cannot be used; it names the table, the line and the
                file. All captions are the same; there are too few for the parts.
        """
        text_metrics(["a"], [["a"]])  # for its error: now, rather than when the training is over
        return read_parts(options)

    @classmethod
    def fit(cls, options: CaptionOptions, training: Sequence[Caption]) -> Self:
        """Return the task with the words of the training part and the scale of its recordings."""
        vocabulary = WordVocabulary.from_sentences(example.words for example in training)
        max_words = 2 * max(len(example.words) for example in training)
        kind = training[0].kind
        if kind == "picture":
            return cls(options, vocabulary, kind, max_words)
        frames = torch.cat([example.content for example in training])
        mean = frames.mean(0)
        scale = (frames - mean).square().mean().sqrt().item() or 1.0  # all are silent
        return cls(options, vocabulary, kind, max_words, mean.tolist(), scale)

    def to_dict(self) -> dict[str, Any]:
        """Return the words, the kind and the scale."""
        return {
            **self.vocabulary.to_dict(),
            "kind": self.kind,
            "max_words": self.max_words,
            "mean": self.mean.tolist(),
            "scale": self.scale,
        }

    @classmethod
    def from_dict(cls, options: CaptionOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        fitted = {name: content[name] for name in ("kind", "max_words", "mean", "scale")}
        return cls(options, WordVocabulary.from_dict(content), **fitted)

    @property
    def sizes(self) -> dict[str, int]:
        """The words, and the size of what is read."""
        if self.kind == "picture":
            read = {"picture_size": self.options.picture_size}
        else:
            read = {"num_bands": self.options.num_bands}
        return {"vocabulary_size": len(self.vocabulary), **read}

    def length(self, example: Caption) -> int:
        """Return the frames of a recording, or the words of a picture."""
        return len(example.content if self.kind == "recording" else example.words)

    def loss(self, model: nn.Module, examples: Sequence[Caption]) -> tuple[Tensor, int]:
        """Return the sum of the losses of all words and ends, in nats, and of how many.

        Words that training has not seen do not count: `evaluate` says how many they are. In
        training, what is read is changed a little and labels are smoothed.
        """
        contents = [example.content for example in examples]
        media, lengths = self._collate(contents, augment=model.training and self.options.augment)
        words = [self.vocabulary.encode(example.words) for example in examples]
        given, _ = pad([torch.cat([torch.tensor([BEGIN]), ids]) for ids in words], END)
        targets, _ = pad([torch.cat([ids, torch.tensor([END])]) for ids in words], IGNORE)
        targets = targets.masked_fill(targets == UNKNOWN, IGNORE)
        scores, _ = model(media, given, lengths)
        return word_loss(scores, targets, self.options.label_smoothing if model.training else 0.0)

    def evaluate(self, model: nn.Module, examples: Sequence[Caption]) -> dict[str, Any]:
        """Return the loss, BLEU, chrF, exact matches and the part of unknown words.

        A file that several examples name has one caption written, and several references.
        """
        named = {example.name: example for example in examples}
        media = [example.content for example in named.values()]
        search = self._beam_options()
        written = [self._text(best[0]) for best in self._search(model, media, search)]
        words = [word for example in examples for word in example.words]
        unknown = sum(word not in self.vocabulary for word in words)
        return {
            "loss": self.mean_loss(model, examples),
            **text_metrics(written, _references(examples)),
            "unknown_words": unknown / len(words),
        }

    def baselines(
        self, training: Sequence[Caption], examples: Sequence[Caption]
    ) -> dict[str, dict[str, Any]]:
        """Return the metrics of the best constant caption and of the nearest neighbour's."""
        named = list({example.name: example for example in examples}.values())
        references = _references(examples)
        constant = best_constant(training)
        nearest = nearest_neighbours(training, named)
        return {
            "constant": text_metrics([constant] * len(named), references),
            "nearest neighbour": text_metrics(nearest, references),
        }

    def read_examples(self, path: Path) -> tuple[list[Caption], list[str]]:
        """Return the examples of a table with the same columns as the training's."""
        captions = read_table_of(path, self.options)
        check_kind(path, captions, self.kind)
        return captions.examples, captions.notes

    def predict(self, model: nn.Module, source: Source, **options: Any) -> Iterator[dict[str, Any]]:
        """Yield the captions of each picture or recording.

        Args:
            model: A `Captioner`.
            source: A picture or a recording; or a list of their paths, one a line.
            options: Arguments of `BeamOptions`; without them the beam is 4, the length penalty 1.

        Raises:
            DataError: A file is missing or damaged.
            OptionError: An option out of its range.
        """
        search = self._beam_options(**options)
        names = self._names(source)
        at_once = 1 if source.path is None else _AT_ONCE  # who types waits for an answer
        while some := list(islice(names, at_once)):
            media = [self._content(name) for name in some]
            for name, content, found in zip(
                some, media, self._search(model, media, search), strict=True
            ):
                every = self._described(model, content, found)
                best = {"media": name, **every[0]}
                yield best if search.n_best == 1 else best | {"alternatives": every}

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return the caption; of several, one a line with the scores that rank them."""
        if "alternatives" not in prediction:
            return str(prediction["caption"])
        every = prediction["alternatives"]
        return "\n".join(f"{one['score']:.2f}\t{one['caption']}" for one in every)

    def _names(self, source: Source) -> Iterator[str]:
        """Yield the names of what is to be read: the source itself, or those on its lines."""
        if source.path is not None and holds_medium(source.path):
            yield str(source.path)
            return
        for number, line in enumerate(source.lines(), 1):
            if not line.strip():
                message = f"{source.name}, line {number}: is empty"
                raise DataError(message, "put the path of a picture or a recording on each line")
            yield line.strip()

    def _content(self, name: str) -> Tensor:
        medium = read_medium(name, Path(), self.options.medium())
        if medium.kind != self.kind:
            message = f"{name}: a {medium.kind}, but the model was trained on {self.kind}s"
            raise DataError(message, "name another file, or another run")
        return medium.content

    def _collate(
        self, contents: Sequence[Tensor], *, augment: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return pictures as a batch, (B, 3, S, S); or scaled frames, (B, T, K), and lengths."""
        if self.kind == "picture":
            pixels = torch.stack(list(contents))
            return (augment_pictures(pixels, self.options.flip) if augment else pixels), None
        if augment:
            contents = [augment_frames(frames) for frames in contents]
        return pad([(frames - self.mean) / self.scale for frames in contents])

    def _beam_options(self, **options: Any) -> BeamOptions:
        beam = max(_BEAM, options.get("n_best", 1))
        defaults = {"beam": beam, "length_penalty": _LENGTH_PENALTY, "max_length": self.max_words}
        return BeamOptions(**defaults | options)

    def _search(
        self, model: nn.Module, contents: Sequence[Tensor], options: BeamOptions
    ) -> list[list[Hypothesis]]:
        """Return the best captions of each picture or recording."""
        found: list[list[Hypothesis]] = [[] for _ in contents]
        for batch in batches_by_length([len(content) for content in contents], _AT_ONCE):
            media, lengths = self._collate([contents[index] for index in batch])
            rows = best_captions(cast("Captioner", model), media, lengths, options)
            for index, own in zip(batch, rows, strict=True):
                found[index] = own
        return found

    def _described(
        self, model: nn.Module, content: Tensor, found: Sequence[Hypothesis]
    ) -> list[dict[str, Any]]:
        """Return captions in types that JSON has, with their words and where it looked for them."""
        media, lengths = self._collate([content])
        attention = attention_of(cast("Captioner", model), media, lengths, found)
        described = []
        for number, one in enumerate(found):
            said: dict[str, Any] = {
                "caption": self._text(one),
                "words": self.vocabulary.decode(one.tokens),
                "log_probability": one.log_probability,
                "score": one.score,
                "complete": one.complete,
            }
            described.append(said if attention is None else said | {"attention": attention[number]})
        return described

    def _text(self, hypothesis: Hypothesis) -> str:
        return join_words(self.vocabulary.decode(hypothesis.tokens))


def _references(examples: Sequence[Caption]) -> list[list[str]]:
    """Return the different captions of each file, in the order in which the files are named."""
    references: dict[str, dict[str, None]] = {}
    for example in examples:
        references.setdefault(example.name, {})[join_words(example.words)] = None
    return [list(captions) for captions in references.values()]
