"""Many to one: the class of a text or of a sequence of numbers, and the opinion on the way.

    data = DataOptions(files=("reviews.csv",), input=("text",), target="stars")
    prepared = prepare(ClassifyTask, data, Path("runs/reviews"))      # tasks/runs.py

The formats are read by reader.py; the network is in model.py.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.data.batching import pad
from unrolled.data.content import strings_of, whole_numbers_of
from unrolled.data.source import Source
from unrolled.data.words import UNKNOWN, split_words
from unrolled.errors import DataError, RunError
from unrolled.metrics import Metric
from unrolled.tasks.classify.bag_of_words import BagOfWords
from unrolled.tasks.classify.confusion import Confusion
from unrolled.tasks.classify.encoders import (
    BPEEncoder,
    CharEncoder,
    NumberEncoder,
    TextEncoder,
    WordEncoder,
)
from unrolled.tasks.classify.model import Classifier
from unrolled.tasks.classify.options import (
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.classify.reader import (
    Labelled,
    read_examples,
    read_splits,
    read_unlabelled,
)
from unrolled.tasks.classify.subject import ClassifierSubject
from unrolled.tasks.task import ExamplesTask, OptionClasses, Splits, TaskOptions
from unrolled.training import Budget

__all__ = ["ClassifyTask"]

Encoder = TextEncoder | NumberEncoder

_ENCODERS: dict[str, type[TextEncoder] | type[NumberEncoder]] = {
    "word": WordEncoder,
    "char": CharEncoder,
    "bpe": BPEEncoder,
    "number": NumberEncoder,
}
_FILE_BATCH = 64
_SHARE_OF_RATIOS = 0.2  # all of them are too sure: as if the words of a text knew nothing of others


class ClassifyTask(ExamplesTask[Labelled]):
    """A class for each example.

    Args:
        options: What was chosen.
        classes: The names of the C classes of the training part.
        counts: How many examples of each the training part has, (C,).
        encoder: Of an example's content.
    """

    name = "classify"
    metrics = (
        Metric("accuracy", "higher"),
        Metric("macro_f1", "higher"),
        Metric("loss", "lower", "nats/example"),
    )
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(
        self,
        options: TaskOptions,
        classes: Sequence[str],
        counts: Sequence[int],
        encoder: Encoder,
    ) -> None:
        super().__init__(options)
        self.classes = list(classes)
        self.counts = list(counts)
        self.encoder = encoder
        self._number = {label: index for index, label in enumerate(self.classes)}
        self._weights = None
        if options.training.class_weights == "balanced":
            frequencies = torch.tensor(self.counts, dtype=torch.float32) * len(self.classes)
            self._weights = sum(self.counts) / frequencies
        self._encoded: WeakKeyDictionary[Labelled, Tensor] = WeakKeyDictionary()

    @classmethod
    def files(cls, data: DataOptions) -> list[Path]:
        """Return the files that hold the data."""
        others = [path for path in (data.held_out_file, data.test_file) if path is not None]
        return [*data.paths, *map(Path, others)]

    @classmethod
    def read(cls, options: TaskOptions) -> Splits[Labelled]:
        """Return the data set.

        Raises:
            DataError: A file that cannot be used, or fewer than two classes.
        """
        return read_splits(options.data, options.training.seed)

    @classmethod
    def fit(cls, options: TaskOptions, splits: Splits[Labelled]) -> Self:
        """Return the task with the classes and the encoder of its training part."""
        counts = Counter(str(example.label) for example in splits.training)
        classes = sorted(counts)
        encoder = _fit_encoder(options.data, splits.training)
        return cls(options, classes, [counts[label] for label in classes], encoder)

    def to_dict(self) -> dict[str, Any]:
        """Return the classes and the encoder."""
        fitted = {"classes": self.classes, "counts": self.counts}
        return {**fitted, "encoder": self.encoder.to_dict()}

    @classmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        kind = content["encoder"]["kind"]
        if kind not in _ENCODERS:
            raise RunError(f"unknown kind of tokens {kind!r}", "was the run made by this version?")
        encoder = _ENCODERS[kind].from_dict(content["encoder"])
        classes = strings_of(content, "classes", least=2)
        counts = whole_numbers_of(content, "counts", len(classes), least=1)
        return cls(options, classes, counts, encoder)

    def make_model(self, options: ModelOptions) -> Classifier:
        """Return a new classifier for these classes and tokens, or numbers."""
        of_numbers = isinstance(self.encoder, NumberEncoder)
        inputs = "input_size" if of_numbers else "vocabulary_size"
        size = {inputs: self.encoder.size}
        return Classifier(options, num_classes=len(self.classes), **size)

    @property
    def budget(self) -> Budget:
        """That of texts, or of numbers."""
        options: TrainingOptions = self.options.training
        return options.text_budget if isinstance(self.encoder, TextEncoder) else options.budget

    def check_start(self, splits: Splits[Labelled]) -> None:
        """Raise `DataError` unless a model of these classes can read and learn these examples."""
        first = splits.training[0]
        if isinstance(self.encoder, NumberEncoder) == isinstance(first.content, str):
            kinds = ("text", "numbers") if isinstance(first.content, str) else ("numbers", "text")
            message = f"{first.where}: {kinds[0]}, but the run to start from reads {kinds[1]}"
            raise DataError(message, "name another run")
        if len(first.names) != len(self._names):
            message = f"{first.where}: {len(first.names)} numbers in each step, but the run to "
            message += f"start from reads {len(self._names)}"
            raise DataError(message, "name another run")
        for example in splits.training:
            if example.label not in self._number:
                message = f"{example.where}: the run to start from does not know the class "
                known = ", ".join(self.classes[:10])
                raise DataError(f"{message}{example.label!r}", f"it knows {known}")

    def initialize(self, model: nn.Module, splits: Splits[Labelled]) -> None:
        """Begin with the evidence that counting gives: part of the log ratios of naive Bayes.

            e_{v,c} = 0.2 (log p(v | c) - mean over classes of log p(v | .))

        with p(v | c) from the examples of class c that token v occurs in, one added to each count.

        Source:
            Wang and Manning (2012), section 2.1.
        """
        evidence = cast(Classifier, model).evidence
        if evidence is None:
            return
        counts = torch.ones(evidence.weight.shape, dtype=torch.float64)
        for example in splits.training:
            counts[torch.unique(self._encode(example)), self._number[str(example.label)]] += 1
        logarithms = (counts / counts.sum(0)).log()
        with torch.no_grad():
            ratios = logarithms - logarithms.mean(1, keepdim=True)
            evidence.weight.copy_(_SHARE_OF_RATIOS * ratios)
            evidence.weight[UNKNOWN] = 0.0

    def length(self, example: Labelled) -> int:
        """Return the steps of an example."""
        return len(self._encode(example))

    def loss(self, model: nn.Module, examples: Sequence[Labelled]) -> tuple[Tensor, int]:
        """Return the sum of the cross-entropies, in nats, and of how many.

        Examples of a class that is not known do not count.
        """
        known = [example for example in examples if example.label in self._number]
        if not known:
            return torch.zeros(()), 0
        inputs, lengths = pad([self._encode(example) for example in known])
        targets = torch.tensor([self._number[str(example.label)] for example in known])
        losses = F.cross_entropy(model(inputs, lengths), targets, self._weights, reduction="sum")
        return losses, len(known)

    def evaluate(self, model: nn.Module, examples: Sequence[Labelled]) -> dict[str, Any]:
        """Return loss, accuracy, F1 of all classes and of each, and the confusion matrix."""
        loss, confusion = self._measure(model, examples)
        classes = self._classes_with(examples)
        return {
            "loss": loss,
            "accuracy": confusion.accuracy,
            "macro_f1": confusion.macro_f1,
            "f1": dict(zip(classes, confusion.f1, strict=True)),
            "confusion": {"classes": classes, "counts": confusion.counts.tolist()},
        }

    def baselines(
        self, training: Sequence[Labelled], examples: Sequence[Labelled]
    ) -> dict[str, dict[str, Any]]:
        """Return the metrics of the most frequent class, and for text of a bag of words."""
        most_frequent = max(range(len(self.counts)), key=self.counts.__getitem__)
        predictions = {"most frequent class": [most_frequent] * len(examples)}
        if isinstance(self.encoder, TextEncoder):
            bag = BagOfWords.fit(
                [_words(example) for example in training],
                [self._number[str(example.label)] for example in training],
                len(self.classes),
            )
            predictions["bag of words"] = bag.predict([_words(example) for example in examples])
        confusions = {
            name: self._confusion(examples, classes) for name, classes in predictions.items()
        }
        return {
            name: {"accuracy": confusion.accuracy, "macro_f1": confusion.macro_f1}
            for name, confusion in confusions.items()
        }

    def read_examples(self, path: Path) -> tuple[list[Labelled], list[str]]:
        """Return the examples of a file in the format of the training, and notes.

        Raises:
            DataError: The file cannot be used, or training had none of its classes.
        """
        examples, notes = read_examples(self.options.data, path, self._names)
        unknown = [example for example in examples if example.label not in self._number]
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

        Args:
            model: A `Classifier` in eval mode.
            source: `read_unlabelled` says what it may be.
            options: Whether also the opinion after every token or step is given.
        """
        inputs = read_unlabelled(self.options.data, source, self._names)
        while batch := list(islice(inputs, 1 if source.is_interactive else _FILE_BATCH)):
            scores = self._scores(model, batch)
            for example, probabilities in zip(batch, scores.softmax(1), strict=True):
                prediction = {**_shown(example), **self._opinion(probabilities)}
                if options.running:
                    prediction["running"] = self._running(cast(Classifier, model), example)
                yield prediction

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return class, probability and input; below, if asked for, each token with its opinion."""
        name = prediction.get("text", prediction.get("id"))
        lines = [f"{prediction['class']}\t{prediction['probability']:.4f}\t{name}"]
        for step in prediction.get("running", ()):
            lines.append(f"\t{step['class']}\t{step['probability']:.4f}\t{step['token']}")
        return "\n".join(lines)

    def subject(self, model: nn.Module) -> ClassifierSubject:
        """Return the classifier, its classes and what it reads."""
        data = self.options.data
        return ClassifierSubject(cast(Classifier, model), data, self.encoder, self.classes)

    @property
    def _names(self) -> tuple[str, ...]:
        """What the numbers of a step are called; nothing for text."""
        return self.encoder.names if isinstance(self.encoder, NumberEncoder) else ()

    def _encode(self, example: Labelled) -> Tensor:
        encoded = self._encoded.get(example)
        if encoded is None:
            encoded = self.encoder.encode(cast(Any, example.content))
            self._encoded[example] = encoded
        return encoded

    @torch.inference_mode()
    def _scores(self, model: nn.Module, examples: Sequence[Labelled]) -> Tensor:
        """Return the scores of the classes of each example, (N, C)."""
        scores = torch.empty(len(examples), len(self.classes))
        for batch in self.in_batches(examples):
            inputs, lengths = pad([self._encode(examples[index]) for index in batch])
            scores[batch] = model(inputs, lengths)
        return scores

    def _measure(self, model: nn.Module, examples: Sequence[Labelled]) -> tuple[float, Confusion]:
        scores = self._scores(model, examples)
        confusion = self._confusion(examples, scores.argmax(1).tolist())
        numbers = [self._number.get(str(example.label), -1) for example in examples]
        targets = torch.tensor(numbers)
        known = targets >= 0
        if not known.any():
            return math.nan, confusion
        losses = F.cross_entropy(scores[known], targets[known], self._weights, reduction="none")
        return losses.double().mean().item(), confusion

    def _classes_with(self, examples: Sequence[Labelled]) -> list[str]:
        """Return the classes, and after them those that only `examples` have."""
        unknown = {str(example.label) for example in examples} - self._number.keys()
        return [*self.classes, *sorted(unknown)]

    def _confusion(self, examples: Sequence[Labelled], predicted: Sequence[int]) -> Confusion:
        classes = self._classes_with(examples)
        number = {label: index for index, label in enumerate(classes)}
        truth = [number[str(example.label)] for example in examples]
        return Confusion.of(truth, predicted, len(classes))

    def _opinion(self, probabilities: Tensor) -> dict[str, Any]:
        best = int(probabilities.argmax())
        probability_of = dict(zip(self.classes, probabilities.tolist(), strict=True))
        label = self.classes[best]
        return {
            "class": label,
            "probability": probability_of[label],
            "probabilities": probability_of,
        }

    def _running(self, model: Classifier, example: Labelled) -> list[dict[str, Any]]:
        encoded, tokens = self._encode(example), []
        if isinstance(self.encoder, TextEncoder):
            tokens = self.encoder.tokens(str(example.content))
        else:
            tokens = [str(step) for step in range(1, len(encoded) + 1)]
        opinions = model.opinions(encoded).softmax(1)
        return [
            {"token": token, **self._opinion(probabilities)}
            for token, probabilities in zip(tokens, opinions, strict=True)
        ]


def _fit_encoder(options: DataOptions, training: Sequence[Labelled]) -> Encoder:
    if options.of_numbers:
        contents = [cast(Any, example.content) for example in training]
        return NumberEncoder.fit(training[0].names, contents)
    texts = (str(example.content) for example in training)
    if options.tokens == "bpe":
        return BPEEncoder.fit(texts, lowercase=options.lowercase, size=options.bpe_size)
    kind = CharEncoder if options.tokens == "char" else WordEncoder
    return kind.fit(texts, lowercase=options.lowercase, min_count=options.min_count)


def _words(example: Labelled) -> list[str]:
    return split_words(str(example.content).lower())


def _shown(example: Labelled) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if isinstance(example.content, str):
        shown["text"] = example.content
    else:
        shown["id"] = example.id
    if example.cut:
        shown["read"] = len(example.content)
    return shown
