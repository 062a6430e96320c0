"""Many to one: the class of a text, of numbers, a picture or a recording; the opinion on the way.

    data = DataOptions(files=("reviews.csv",), input=("text",), target="stars")
    prepared = prepare(ClassifyTask, data, Path("runs/reviews"))      # tasks/runs.py

The formats are read by reader.py; the network is in model.py.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from unrolled.data.batching import pad
from unrolled.data.files import files_below
from unrolled.data.media import Kind
from unrolled.data.source import Source
from unrolled.data.words import UNKNOWN, unknown_note
from unrolled.errors import DataError, OptionError, field
from unrolled.metrics import Metric
from unrolled.networks.devices import moved
from unrolled.networks.sequence_layers import initialize_gates
from unrolled.tasks.classify.answers import Answer, ClassAnswer, NumberAnswer
from unrolled.tasks.classify.augment import augment_series
from unrolled.tasks.classify.baselines import trivial_answers
from unrolled.tasks.classify.encoders import NumberEncoder, TextEncoder, WordEncoder
from unrolled.tasks.classify.encoding import Encoder, encoder_from_dict, fit_encoder
from unrolled.tasks.classify.examples import Labelled
from unrolled.tasks.classify.exports import ClassifierGraphs
from unrolled.tasks.classify.media import MediumEncoder
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.classify.options import (
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.classify.page_network import page_network
from unrolled.tasks.classify.reader import read_examples, read_splits, read_unlabelled
from unrolled.tasks.classify.subject import ClassifierSubject
from unrolled.tasks.examples_task import ExamplesTask
from unrolled.tasks.page_network import NotInPageError, PageNetwork
from unrolled.tasks.task import OptionClasses, Splits, TaskOptions
from unrolled.tasks.vectors import fitted_width, width_content, width_of
from unrolled.training import Budget, share

__all__ = ["ClassifyTask"]

_FILE_BATCH = 64
_SHARE_OF_RATIOS = 0.2  # all of them are too sure: as if the words of a text knew nothing of others


class ClassifyTask(ExamplesTask[Labelled]):
    """A class for each example, or a number.

    Args:
        options: What was chosen.
        answer: What is said of an example, as fitted to the training part.
        encoder: Of an example's content.
        vectors_width: Numbers of each vector that words begin with; None without vectors.
    """

    name = "classify"
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(
        self,
        options: TaskOptions,
        answer: Answer,
        encoder: Encoder,
        vectors_width: int | None = None,
    ) -> None:
        super().__init__(options)
        self.answer = answer
        self.encoder = encoder
        self.vectors_width = vectors_width

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the figures of the answer mean."""
        return self.answer.metrics

    @classmethod
    def files(cls, data: DataOptions) -> list[Path]:
        """Return the files that hold the data."""
        paths = [*data.paths, *data.part_files]
        return [file for path in paths for file in (files_below(path) if path.is_dir() else [path])]

    @classmethod
    def read(cls, options: TaskOptions) -> Splits[Labelled]:
        """Return the data set.

        Raises:
            DataError: A file that cannot be used, or fewer than two classes or numbers.
        """
        return read_splits(options.data, options.training.seed)

    @classmethod
    def fit(cls, options: TaskOptions, splits: Splits[Labelled]) -> Self:
        """Return the task with the classes and the encoder of its training part."""
        balanced = _balanced(options)
        labels = _labels(splits.training)
        number = options.data.number
        answer: Answer = (
            NumberAnswer.fit(labels) if number else ClassAnswer.fit(labels, balanced=balanced)
        )
        encoder = fit_encoder(options.data, splits.training)
        if isinstance(encoder, WordEncoder) and encoder.kind == "word":
            texts = (str(example.content) for example in splits.held_out)
            hint = f"{field('tokens')} char or bpe may know them, or more training data"
            splits.notes.extend(unknown_note(*encoder.num_unknown(texts), "held-out part", hint))
        return cls(options, answer, encoder, fitted_width(options))

    def to_dict(self) -> dict[str, Any]:
        """Return the classes and the encoder."""
        fitted = self.answer.to_dict() | {"encoder": self.encoder.to_dict()}
        return fitted | width_content(self.vectors_width)

    @classmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        encoder = encoder_from_dict(content["encoder"])
        answer: Answer
        if options.data.number:
            answer = NumberAnswer.from_dict(content)
        else:
            answer = ClassAnswer.from_dict(content, balanced=_balanced(options))
        return cls(options, answer, encoder, width_of(content))

    def make_model(self, options: ModelOptions) -> Classifier:
        """Return a new classifier for these classes and tokens, or numbers."""
        encoder, data = self.encoder, self.options.data
        size: dict[str, int | None]
        if isinstance(encoder, TextEncoder):
            size = {"vocabulary_size": encoder.size, "vectors_width": self.vectors_width}
        elif isinstance(encoder, NumberEncoder):
            size = {"input_size": encoder.size}
        elif encoder.kind == "picture":
            size = {"picture_size": data.picture_size}
        else:
            size = {"num_bands": data.num_bands}
        return Classifier(options, num_classes=self.answer.num_scores, **size)

    @property
    def medium(self) -> Kind | None:
        """What is read, if that is pictures or recordings."""
        return self.encoder.kind if isinstance(self.encoder, MediumEncoder) else None

    @property
    def budget(self) -> Budget:
        """That of texts, of numbers, or of pictures and recordings."""
        options: TrainingOptions = self.options.training
        if isinstance(self.encoder, MediumEncoder):
            return options.media_budget
        return options.text_budget if isinstance(self.encoder, TextEncoder) else options.budget

    def check_start(self, splits: Splits[Labelled]) -> None:
        """Raise `DataError` unless a model of these classes can read and learn these examples."""
        first = splits.training[0]
        reads = self.medium or ("text" if isinstance(self.encoder, TextEncoder) else "numbers")
        own = first.kind or ("text" if isinstance(first.content, str) else "numbers")
        if own != reads:
            message = f"{first.where}: {own}, but the run to start from reads {reads}"
            raise DataError(message, "name another run")
        if len(first.names) != len(self._names):
            message = f"{first.where}: {len(first.names)} numbers in each step, but the run to "
            message += f"start from reads {len(self._names)}"
            raise DataError(message, "name another run")
        for example in splits.training:
            if not self.answer.knows(example.label):
                message = f"{example.where}: the run to start from does not know the class "
                known = ", ".join(self.answer.labels[:10])
                raise DataError(f"{message}{example.label!r}", f"it knows {known}")

    def initialize(self, model: nn.Module, splits: Splits[Labelled]) -> None:
        """Begin with the evidence that counting gives: part of the log ratios of naive Bayes.

            e_{v,c} = 0.2 (log p(v | c) - mean over classes of log p(v | .))

        with p(v | c) from the examples of class c that token v occurs in, one added to each count;
        with vectors of the words, if there are any; and with what the options say of the gates,
        chrono up to the longest sequence.

        Source:
            Wang and Manning (2012), section 2.1.
        """
        classifier = cast(Classifier, model)
        if self.options.model.initialize is not None:
            longest = max(map(self.length, splits.training), default=0)
            how = self.options.model.initialize
            initialize_gates(classifier.layer, how, classifier.num_steps(longest))
        path = self.options.data.vectors
        if path is not None and classifier.embedding is not None:
            words = cast(WordEncoder, self.encoder).words
            splits.notes.append(classifier.embedding.begin_with(Path(path), words))
        evidence = classifier.evidence
        if evidence is None or not self.answer.labels:  # a number has no ratios
            return
        counts = torch.ones(evidence.weight.shape, dtype=torch.float64)
        for example in splits.training:
            label = int(self.answer.value(str(example.label)))
            counts[torch.unique(self._encode(example)), label] += 1
        logarithms = (counts / counts.sum(0)).log()
        with torch.no_grad():
            ratios = logarithms - logarithms.mean(1, keepdim=True)
            evidence.weight.copy_(_SHARE_OF_RATIOS * ratios)
            evidence.weight[UNKNOWN] = 0.0

    def length(self, example: Labelled) -> int:
        """Return the steps of an example."""
        if isinstance(example.content, Tensor):
            return 1 if example.kind == "picture" else len(example.content)
        return len(self._encode(example))

    def loss(self, model: nn.Module, examples: Sequence[Labelled]) -> tuple[Tensor, int]:
        """Return the sum of the answer's losses, and of how many.

        Examples of a class that is not known do not count.
        """
        known = [example for example in examples if self.answer.knows(example.label)]
        if not known:
            return torch.zeros(()), 0
        batch = self.batch(known, vary=self._augments and model.training)
        inputs, lengths = moved(batch, model)
        losses = self.answer.losses(model(inputs, lengths), _labels(known))
        return losses.sum(), len(known)

    def evaluate(self, model: nn.Module, examples: Sequence[Labelled]) -> dict[str, Any]:
        """Return the mean loss over examples that the answer knows, and all figures of it."""
        scores = self.scores(model, examples)
        known = [self.answer.knows(example.label) for example in examples]
        loss = math.nan
        if any(known):
            labels = _labels([e for e, knows in zip(examples, known, strict=True) if knows])
            losses = self.answer.losses(scores[torch.tensor(known)], labels)
            loss = losses.double().mean().item()
        answers = self.answer.decide(scores)
        return {"loss": loss} | self.answer.measure(answers, _labels(examples))

    def baselines(
        self, training: Sequence[Labelled], examples: Sequence[Labelled]
    ) -> dict[str, dict[str, Any]]:
        """Return the metrics of the most frequent class or the mean, and of what is no network.

        For classes of text a bag of words; for series of numbers the nearest ones by two distances,
        and linear regression; for pictures and recordings the nearest one, and the nearest mean of
        a class.
        """
        answers_by = trivial_answers(self.answer, self.encoder, training, examples, self._encode)
        names = [metric.name for metric in self.metrics if metric.name != "loss"]
        figures = {
            name: self.answer.measure(answers, _labels(examples))
            for name, answers in answers_by.items()
        }
        return {name: {key: all_[key] for key in names} for name, all_ in figures.items()}

    def read_examples(self, path: Path) -> tuple[Sequence[Labelled], list[str]]:
        """Return the examples of a file in the format of the training, and notes.

        Raises:
            DataError: The file cannot be used, or training had none of its classes.
        """
        examples, notes = read_examples(self.options.data, path, self._names, self.medium)
        unknown = [example for example in examples if not self.answer.knows(example.label)]
        if unknown:
            notes.append(
                f"{len(unknown):,} of {len(examples):,} examples have a class that training did "
                f"not, and count as wrong; the first: {unknown[0].where}, {unknown[0].label!r}"
            )
        if len(unknown) == len(examples):
            raise DataError(f"{notes[-1]}: nothing is left to measure on")
        return examples, notes

    def predict(
        self, model: nn.Module, source: Source, options: PredictOptions
    ) -> Iterator[dict[str, Any]]:
        """Yield for each input its class, the probability of it, and those of all classes.

        Where numbers are predicted: the number as "answer". With `skip_bad`, a picture or a
        recording that cannot be used has an "error" and an empty class.

        Args:
            model: A `Classifier` in eval mode.
            source: `read_unlabelled` says what it may be.
            options: Whether also the opinion after every token or step is given.
        """
        inputs = read_unlabelled(self.options.data, source, self._names, self.medium)
        for batch in source.in_batches(inputs, _FILE_BATCH):
            scores = iter(self.scores(model, [each for each in batch if each.error is None]))
            for example in batch:
                if example.error is not None:
                    if not options.skip_bad:
                        raise example.error
                    unsaid = {"class": ""} if self.answer.labels else {"answer": None}
                    yield {**example.shown(), **unsaid, "error": str(example.error)}
                    continue
                row = next(scores)
                prediction = {**example.shown(), **self.answer.opinion(row)}
                if options.running:
                    prediction["running"] = self._running(cast(Classifier, model), example)
                yield prediction

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return opinion and input; below, if asked for, each token with its opinion."""
        name = next(prediction[key] for key in ("text", "media", "id") if key in prediction)
        opinion = "\t" if "error" in prediction else self.answer.to_text(prediction)
        lines = [f"{opinion}\t{name}"]
        for step in prediction.get("running", ()):
            lines.append(f"\t{self.answer.to_text(step)}\t{step['token']}")
        return "\n".join(lines)

    def graphs(self, model: nn.Module) -> ClassifierGraphs:
        """Return what is exported of a model."""
        return ClassifierGraphs(self, model)

    def page_network(self, model: nn.Module) -> PageNetwork:
        """Return what describes a model to a page that computes it.

        Raises:
            NotInPageError: It reads no text, or says a number.
        """
        if not isinstance(self.encoder, TextEncoder) or not self.answer.labels:
            raise NotInPageError("numbers")
        return partial(
            page_network, model=cast(Classifier, model), max_length=self.options.data.max_length
        )

    def subject(self, model: nn.Module) -> ClassifierSubject:
        """Return the classifier, its classes and what it reads."""
        data = self.options.data
        return ClassifierSubject(cast(Classifier, model), data, self.encoder, self.answer.labels)

    @property
    def commands(self) -> tuple[str, ...]:
        """Where the training had a file for each class, a class is said of a file here too."""
        has_classes = bool(self.options.data.classes)
        return (
            "predict RUN FILE",
            f"evaluate RUN {'CLASS=FILE CLASS=FILE' if has_classes else 'FILE'}",
        )

    @property
    def predict_options(self) -> tuple[str, ...]:
        """The options of a prediction; files that cannot be used are pictures or recordings."""
        return tuple(name for name in super().predict_options if self.medium or name != "skip_bad")

    @property
    def _names(self) -> tuple[str, ...]:
        """What the numbers of a step are called; nothing for text."""
        return self.encoder.names if isinstance(self.encoder, NumberEncoder) else ()

    def _encode(self, example: Labelled) -> Tensor:
        if isinstance(self.encoder, TextEncoder):
            text, encoder = str(example.content), self.encoder
            return encoder.unpacked(example.as_read_by(encoder, lambda: encoder.packed(text)))
        encode, content = self.encoder.encode, cast(Any, example.content)
        return cast(Tensor, example.as_read_by(self.encoder, lambda: encode(content)))

    @property
    def _augments(self) -> bool:
        """Whether what is learned from is changed a little."""
        augment: bool | None = self.options.training.augment
        if isinstance(self.encoder, TextEncoder):
            return False
        return self.medium == "picture" if augment is None else augment

    def batch(
        self, examples: Sequence[Labelled], *, vary: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the model reads, and lengths; of pictures none.

        Args:
            examples: At least one.
            vary: Whether they are changed a little.
        """
        encoder = self.encoder
        if isinstance(encoder, MediumEncoder):
            contents = [cast(Tensor, example.content) for example in examples]
            if vary:
                encoded = encoder.varied(contents, self.options.training.flip)
            else:
                encoded = [encoder.encode(content) for content in contents]
            return (torch.stack(encoded), None) if self.medium == "picture" else pad(encoded)
        inputs, lengths = pad([self._encode(example) for example in examples])
        return (augment_series(inputs, lengths) if vary else inputs), lengths

    @torch.inference_mode()
    def scores(self, model: nn.Module, examples: Sequence[Labelled]) -> Tensor:
        """Return the scores of the classes of each example, (N, C)."""

        def scores_of(batch: list[int]) -> Tensor:
            inputs, lengths = moved(self.batch([examples[index] for index in batch]), model)
            return cast(Tensor, model(inputs, lengths).cpu())

        batches = list(self.in_batches(examples))
        scores = torch.empty(len(examples), self.answer.num_scores)
        for batch, rows in zip(batches, share(scores_of, batches), strict=True):
            scores[batch] = rows
        return scores

    def _running(self, model: Classifier, example: Labelled) -> list[dict[str, Any]]:
        opinions = model.opinions(moved(self._encode(example), model)).cpu()
        if isinstance(self.encoder, TextEncoder):
            tokens = self.encoder.tokens(str(example.content))
        else:
            tokens = [str(step) for step in range(1, len(opinions) + 1)]
        return [
            {"token": token, **self.answer.opinion(row)}
            for token, row in zip(tokens, opinions, strict=True)
        ]


def _balanced(options: TaskOptions) -> bool:
    """Return whether all classes count alike in the loss."""
    balanced = bool(options.training.class_weights == "balanced")
    if balanced and options.data.number:
        message = f"{field('class_weights')} is for classes, and {field('number')} predicts none"
        raise OptionError(message, "leave it out")
    return balanced


def _labels(examples: Sequence[Labelled]) -> list[str]:
    return [str(example.label) for example in examples]
