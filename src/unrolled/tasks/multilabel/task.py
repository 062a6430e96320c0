"""Sequences of sets of labels: which labels are in the next set, each by itself.

The loss is that of Bai, Kolter and Koltun (2018): binary cross-entropy summed over all labels, its
mean over all steps that are predicted, those of long sequences and short ones alike. The first set
of a sequence is given, and not predicted.

Files are read by reader.py; the network is in model.py, the figures are in measures.py.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.data.batching import pad
from unrolled.data.content import strings_of
from unrolled.data.source import Source
from unrolled.errors import DataError, VocabularyError, field
from unrolled.metrics import Metric
from unrolled.networks.devices import moved
from unrolled.networks.options import GenerateOptions
from unrolled.tasks.examples_task import ExamplesTask
from unrolled.tasks.multilabel.baselines import baseline_figures, shares_of
from unrolled.tasks.multilabel.drawing import check_drawing, draw_sets
from unrolled.tasks.multilabel.exports import LabelSetGraphs
from unrolled.tasks.multilabel.lines import Steps, format_set, format_steps, parse_line, pieces_of
from unrolled.tasks.multilabel.measures import METRICS, Counts
from unrolled.tasks.multilabel.model import LabelSetModel
from unrolled.tasks.multilabel.options import (
    DataOptions,
    ModelOptions,
    PredictOptions,
    TrainingOptions,
)
from unrolled.tasks.multilabel.reader import (
    SetSequence,
    labels_of,
    read_others,
    read_parts,
    sequences_of,
    unknown_labels,
)
from unrolled.tasks.multilabel.subject import LabelSetSubject
from unrolled.tasks.task import OptionClasses, Splits, TaskOptions
from unrolled.training import share

__all__ = ["MultilabelTask"]


class MultilabelTask(ExamplesTask[SetSequence]):
    """The next set of labels.

    Args:
        options: What was chosen.
        labels: Those of the training part, or those that were named.
        opening: The labels of the set that most sequences of the training begin with.
    """

    name = "multilabel"
    terms = "steps"
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(self, options: TaskOptions, labels: Sequence[str], opening: Sequence[str]) -> None:
        super().__init__(options)
        self.labels = tuple(labels)
        self.opening = tuple(opening)
        self._ids = {label: id for id, label in enumerate(self.labels)}

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the figures mean: the loss first, which is the field's own."""
        return METRICS

    @classmethod
    def read(cls, options: TaskOptions) -> Splits[SetSequence]:
        """Return the sequences in the parts that their file has, or in random ones.

        Raises:
            DataError: A file cannot be read, or no sequence has two steps.
            OptionError: A part is asked for of a file that is in parts already.
        """
        return read_parts(options.data, options.training.seed)

    @classmethod
    def fit(cls, options: TaskOptions, splits: Splits[SetSequence]) -> Self:
        """Return the task with the labels of its training part, or those that were named."""
        labels = options.data.label_names or labels_of(splits.training)
        if not labels:
            message = "all sets of the training part are empty"
            raise DataError(message, "is it the right column?")
        known = set(labels)
        first = Counter(
            frozenset(label for label in sequence.steps[0] if label in known)
            for sequence in splits.training
        )
        opening, _ = max(first.items(), key=lambda each: (each[1], sorted(each[0])))
        return cls(options, labels, [label for label in labels if label in opening])

    def to_dict(self) -> dict[str, Any]:
        """Return the labels."""
        return {"labels": list(self.labels), "opening": list(self.opening)}

    @classmethod
    def from_dict(cls, options: TaskOptions, content: dict[str, Any]) -> Self:
        """Return the task that `to_dict` described."""
        labels, opening = strings_of(content, "labels", least=1), strings_of(content, "opening")
        if not set(opening) <= set(labels):
            raise ValueError("opening must be some of labels")
        return cls(options, labels, opening)

    def make_model(self, options: ModelOptions) -> LabelSetModel:
        """Return a new model of these labels."""
        return LabelSetModel(options, num_labels=len(self.labels))

    def initialize(self, model: nn.Module, splits: Splits[SetSequence]) -> None:
        """Begin with the frequencies of the labels in the training part."""
        shares = shares_of(self.encode(sequence.steps)[0] for sequence in splits.training)
        cast(LabelSetModel, model).begin_with(shares)

    def check_start(self, splits: Splits[SetSequence]) -> None:
        """Raise `DataError` unless a model of these labels can learn these sequences."""
        unknown = [name for name in labels_of(splits.training) if name not in self._ids]
        if unknown:
            shown = ", ".join(unknown[:5])
            message = f"the run to start from does not know these labels: {shown}"
            raise DataError(message, f"leave {field('start_from')} out")

    def length(self, example: SetSequence) -> int:
        """Return the steps that are predicted: all but the first."""
        return len(example.steps) - 1

    def encode(self, steps: Steps) -> tuple[Tensor, int]:
        """Return sets as zeros and ones, (T, V) float32, and how often a label is not known."""
        sets = torch.zeros(len(steps), len(self.labels))
        places = [
            (number, self._ids.get(label, -1))
            for number, step in enumerate(steps)
            for label in step
        ]
        known = [place for place in places if place[1] >= 0]
        if known:
            rows, columns = torch.tensor(known).T
            sets[rows, columns] = 1.0
        return sets, len(places) - len(known)

    def collate(self, examples: Sequence[SetSequence]) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is read, (B, T, V), its lengths (B,), and what comes, (N, V) row by row."""
        encoded = [self.encode(example.steps)[0] for example in examples]
        sets, lengths = pad([each[:-1] for each in encoded])
        return sets, lengths, torch.cat([each[1:] for each in encoded])

    def loss(self, model: nn.Module, examples: Sequence[SetSequence]) -> tuple[Tensor, int]:
        """Return the binary cross-entropies of all labels, summed, in nats, and of how many steps.

        A label that is not known is in no score, and in no loss.
        """
        scores, targets = self._scores(model, examples)
        return F.binary_cross_entropy_with_logits(scores, targets, reduction="sum"), len(targets)

    def evaluate(self, model: nn.Module, examples: Sequence[SetSequence]) -> dict[str, Any]:
        """Return the loss, and how the sets of the labels that are likelier than not agree."""

        def scores_of(batch: list[int]) -> tuple[tuple[Tensor, Tensor], int]:
            rows = [examples[index] for index in batch]
            missed = sum(self.encode(row.steps[1:])[1] for row in rows)
            return moved(self._scores(model, rows), torch.device("cpu")), missed

        counts = Counts()
        with torch.inference_mode():
            for scores_and_targets, missed in share(scores_of, self.in_batches(examples)):
                counts.add(*scores_and_targets)
                counts.missed += missed
        return counts.figures()

    def baselines(
        self, training: Sequence[SetSequence], examples: Sequence[SetSequence]
    ) -> dict[str, dict[str, Any]]:
        """Return what frequencies are worth, the last set, and each label after itself."""
        parts = ([self.encode(each.steps)[0] for each in part] for part in (training, examples))
        return baseline_figures(*parts)

    def read_examples(self, path: Path) -> tuple[list[SetSequence], list[str]]:
        """Return the sequences of a file, of its test part where it has one, and notes."""
        sequences, notes = read_others(path, self.options.data)
        return sequences, notes + unknown_labels(str(path), sequences, self.labels)

    def predict(
        self, model: nn.Module, source: Source, options: PredictOptions
    ) -> Iterator[dict[str, Any]]:
        """Yield for each sequence the set that comes after it, and how likely each label is.

        "loss" is that of the sequence itself, in nats for each of its steps after the first; None
        where there is none.

        Raises:
            DataError: The input cannot be read.
            VocabularyError: It has labels that the model does not know.
        """
        for sets, _ in self.sequences(source):
            with torch.inference_mode():
                read = moved((sets[None], torch.tensor([len(sets)])), model)
                scores = model(*read)[0].cpu().double()
            counts = Counts()
            counts.add(scores[:-1], sets[1:])
            likely = scores[-1].sigmoid()
            order = likely.argsort(descending=True, stable=True).tolist()
            is_likely = likely >= options.threshold
            yield {
                "num_steps": len(sets),
                "loss": counts.figures()["loss"] if len(sets) > 1 else None,
                "next": [self.labels[label] for label in is_likely.nonzero()[:, 0].tolist()],
                "probabilities": {self.labels[id]: round(likely[id].item(), 6) for id in order},
            }

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return the next set."""
        return format_set(prediction["next"])

    @property
    def commands(self) -> tuple[str, ...]:
        """It writes, and it measures."""
        return "generate RUN", "evaluate RUN FILE", "predict RUN FILE"

    @property
    def prompt(self) -> str:
        """The set that most sequences of the training begin with."""
        return format_set(self.opening)

    def generate(self, model: nn.Module, prompt: str, options: GenerateOptions) -> Iterator[str]:
        """Return the sets that the model goes on with after a line of them, each after a bar.

        Raises:
            DataError: The prompt is no line of sets.
            OptionError: `top_p` or `until`, which say nothing of sets.
            VocabularyError: The prompt has labels that the model does not know.
        """
        check_drawing(options)
        if len(prompt.splitlines()) > 1:
            message = "the beginning has several lines"
            raise DataError(message, "a sequence is one line, with a bar between steps")
        sets = self._known(parse_line(prompt, "the beginning"), "the beginning")
        drawn = draw_sets(cast(LabelSetModel, model), sets, options)
        return (self._piece(each) for each in drawn)

    def graphs(self, model: nn.Module) -> LabelSetGraphs:
        """Return what is exported of a model."""
        return LabelSetGraphs(self, model)

    def subject(self, model: nn.Module) -> LabelSetSubject:
        """Return the model and its labels."""
        return LabelSetSubject(cast(LabelSetModel, model), self)

    def describe(self, splits: Splits[SetSequence]) -> str:
        """Return what is learned from, and how many labels there are at a step."""
        sizes = [len(step) for sequence in splits.training for step in sequence.steps]
        words = super().describe(splits).replace("examples", "sequences")
        return f"{words}; {len(self.labels):,} labels, {sum(sizes) / len(sizes):.1f} at a step"

    def sequences(self, source: Source) -> Iterator[tuple[Tensor, list[str]]]:
        """Yield the sets of each sequence of an input, (T, V), and the text of each step.

        Raises:
            DataError: The input cannot be read.
            VocabularyError: It has labels that the model does not know.
        """
        for where, steps, line in sequences_of(source, self.options.data):
            text = format_steps(steps) if line is None else line
            yield self._known(steps, where), pieces_of(text, steps)

    def _known(self, steps: Steps, where: str) -> Tensor:
        """Return sets as zeros and ones, all of their labels known."""
        sets, num_unknown = self.encode(steps)
        if num_unknown:
            unknown = dict.fromkeys(
                label for step in steps for label in step if label not in self._ids
            )
            shown = ", ".join([*unknown][:5]) + (" ..." if len(unknown) > 5 else "")
            some = " ".join(self.labels[:3]) + (" ..." if len(self.labels) > 3 else "")
            message = f"{where}: labels that the model does not know: {shown}"
            raise VocabularyError(message, f"it knows {len(self.labels):,}: {some}")
        return sets

    def _piece(self, drawn: Tensor) -> str:
        text = format_set(self.labels[label] for label in drawn.nonzero()[:, 0].tolist())
        return f" | {text}" if text else " |"

    def _scores(self, model: nn.Module, examples: Sequence[SetSequence]) -> tuple[Tensor, Tensor]:
        """Return the scores of the steps that are predicted, (N, V), and what came."""
        sets, lengths, targets = moved(self.collate(examples), model)
        scores = model(sets, lengths)
        inside = torch.arange(scores.shape[1], device=lengths.device) < lengths[:, None]
        return scores[inside], targets
