"""The toy problems as a task: made examples, new ones in each pass, and their known levels.

The problems themselves are in problems.py.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.data.batching import IGNORE, pad
from unrolled.data.source import Source
from unrolled.errors import DataError
from unrolled.metrics import Metric
from unrolled.networks.devices import moved
from unrolled.tasks.examples_task import ExamplesTask
from unrolled.tasks.task import OptionClasses, Splits, TaskOptions
from unrolled.tasks.toy.answers import right_answers
from unrolled.tasks.toy.exports import ToyGraphs
from unrolled.tasks.toy.lines import parse_answers, parse_inputs
from unrolled.tasks.toy.model import ToyModel
from unrolled.tasks.toy.options import DataOptions, ModelOptions, PredictOptions, TrainingOptions
from unrolled.tasks.toy.problem import Array, Toy
from unrolled.tasks.toy.problems import make_toy
from unrolled.tasks.toy.subject import ToySubject
from unrolled.training import share

__all__ = ["ToyExample", "ToyTask"]

_NUM_MEASURED = 1000  # examples of the held-out part, and of the test part
_NUM_TESTED_FIRST = 2 * _NUM_MEASURED  # the numbers below are never learned from


@dataclass(frozen=True, eq=False)
class ToyExample:
    """An example.

    Args:
        inputs: (T,) int64 symbols, or (T, 2) values.
        targets: (T,) int64 symbols, `IGNORE` where nothing is asked; or () a value.
    """

    inputs: Tensor
    targets: Tensor


class ToyTask(ExamplesTask[ToyExample]):
    """A toy problem: symbols at every step, or a value at the last one.

    Args:
        options: What was chosen.
    """

    name = "toy"
    terms = "answers"
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    def __init__(self, options: TaskOptions) -> None:
        super().__init__(options)
        self.toy = _toy(options)

    @property
    def metrics(self) -> Sequence[Metric]:
        """What the figures mean: the problem's own measures, then the loss."""
        names = {name: None for level in self.toy.levels().values() for name in level}
        own = [Metric(name, "higher", share=True) for name in names if name != "loss"]
        unit = "nats/step" if self.toy.symbols else "squared error"
        return [*own, Metric("loss", "lower", unit)]

    @classmethod
    def files(cls, data: DataOptions) -> list[Path]:  # noqa: ARG003  # there are none
        """Return none: the examples are made."""
        return []

    @classmethod
    def read(cls, options: TaskOptions) -> Splits[ToyExample]:
        """Return the examples of the first pass, and those that are measured on."""
        toy, data, num = _toy(options), options.data, _NUM_MEASURED
        seed = options.training.seed
        note = f"{data.problem}: examples made with seed {seed}, new ones in each pass"
        return Splits(
            training=_examples(toy, _NUM_TESTED_FIRST, data.num_examples),
            held_out=_examples(toy, 0, num),
            test=_examples(toy, num, num),
            notes=[note],
        )

    @classmethod
    def fit(
        cls,
        options: TaskOptions,
        splits: Splits[ToyExample],  # noqa: ARG003  # nothing is fitted
    ) -> Self:
        """Return the task: the options say it all."""
        return cls(options)

    def to_dict(self) -> dict[str, Any]:
        """Return the symbols, for people to read."""
        return {"symbols": self.toy.symbols}

    @classmethod
    def from_dict(
        cls,
        options: TaskOptions,
        content: dict[str, Any],
    ) -> Self:
        """Return the task of the options, which say it all: the symbols are for people to read."""
        task = cls(options)
        if content != task.to_dict():
            raise ValueError(f"symbols must be {task.toy.symbols!r}, got {content!r}")
        return task

    def make_model(self, options: ModelOptions) -> ToyModel:
        """Return a new network for the problem."""
        num = len(self.toy.symbols)
        return ToyModel(
            options,
            input_size=num or 2,
            output_size=num or 1,
            reads_symbols=num > 0,
            max_time=self.toy.max_time,
        )

    def length(self, example: ToyExample) -> int:
        """Return the steps."""
        return len(example.inputs)

    def epoch(self, training: Sequence[ToyExample], number: int) -> Sequence[ToyExample]:
        """Return as many examples that no other pass has."""
        if number == 0:
            return training
        num = len(training)
        return _examples(self.toy, _NUM_TESTED_FIRST + number * num, num)

    def loss(self, model: nn.Module, examples: Sequence[ToyExample]) -> tuple[Tensor, int]:
        """Return the sum of the cross-entropies in nats, or of the squared errors."""
        answers, targets = self._answers(model, examples)
        return self._loss(answers, targets), len(targets)

    def evaluate(self, model: nn.Module, examples: Sequence[ToyExample]) -> dict[str, Any]:
        """Return the loss, and how often the answers were right, as the problem counts it."""

        def sums_of(batch: list[int]) -> dict[str, tuple[float, int]]:
            rows = [examples[index] for index in batch]
            answers, targets = moved(self._answers(model, rows), torch.device("cpu"))
            pairs = [(row.inputs, row.targets) for row in rows]
            right = right_answers(self.toy, answers, targets, pairs)
            of_answers = {name: (each.sum().item(), len(each)) for name, each in right.items()}
            return {"loss": (self._loss(answers, targets).item(), len(targets)), **of_answers}

        sums: defaultdict[str, float] = defaultdict(float)
        counts: defaultdict[str, int] = defaultdict(int)
        with torch.inference_mode():
            for measured in share(sums_of, self.in_batches(examples)):
                for name, (total, count) in measured.items():
                    sums[name] += total
                    counts[name] += count
        return {name: total / counts[name] for name, total in sums.items() if counts[name]}

    def baselines(
        self,
        training: Sequence[ToyExample],  # noqa: ARG002  # levels are known by arithmetic
        examples: Sequence[ToyExample],  # noqa: ARG002
    ) -> dict[str, dict[str, Any]]:
        """Return what is known by arithmetic: chance, and the score of a perfect solution."""
        return {name: dict(metrics) for name, metrics in self.toy.levels().items()}

    def read_examples(self, path: Path) -> tuple[list[ToyExample], list[str]]:
        """Return the examples of a file: on each line the inputs, a tab, and the answers.

        Raises:
            DataError: A line that cannot be read, or an empty file.
        """
        examples = [
            _example(*parse_answers(self.toy, line, f"{path}, line {number}"))
            for number, line in enumerate(Source.file(path).lines(), 1)
        ]
        if not examples:
            raise DataError(f"{path}: the file is empty", "name a file with examples")
        return examples, []

    def predict(
        self,
        model: nn.Module,
        source: Source,
        options: PredictOptions,  # noqa: ARG002  # there are none
    ) -> Iterator[dict[str, Any]]:
        """Yield the answers to each line of inputs, such as "abca_" or "0.5 0.25* 0.125*"."""
        for number, line in enumerate(source.lines(), 1):
            inputs = torch.from_numpy(parse_inputs(self.toy, line, f"{source.name}, line {number}"))
            with torch.inference_mode():
                read = moved((inputs[None], torch.tensor([len(inputs)])), model)
                answers = model(*read)[0].cpu()
            if self.toy.symbols:
                symbols = [self.toy.symbols[i] for i in answers.argmax(-1).tolist()]
                yield {"input": line, "answers": "".join(symbols)}
            else:
                yield {"input": line, "answer": answers[-1, 0].item()}

    def to_text(self, prediction: dict[str, Any]) -> str:
        """Return the answers alone."""
        return str(prediction.get("answers", prediction.get("answer")))

    def graphs(self, model: nn.Module) -> ToyGraphs:
        """Return what is exported of a model."""
        return ToyGraphs(self, model)

    def subject(self, model: nn.Module) -> ToySubject:
        """Return the network and its problem."""
        return ToySubject(cast(ToyModel, model), self.toy)

    def _loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        if self.toy.symbols:
            return F.cross_entropy(answers, targets, reduction="sum")
        return F.mse_loss(answers, targets, reduction="sum")

    def _answers(self, model: nn.Module, examples: Sequence[ToyExample]) -> tuple[Tensor, Tensor]:
        """Return the answers that are asked for, (N, O) scores or (N,) values, and the targets."""
        inputs, lengths = moved(pad([example.inputs for example in examples]), model)
        answers = model(inputs, lengths)  # (B, T, O)
        if not self.toy.symbols:
            last = answers[torch.arange(len(answers), device=lengths.device), lengths - 1, 0]
            return last, moved(torch.stack([example.targets for example in examples]), last)
        targets, _ = moved(pad([example.targets for example in examples], IGNORE), model)
        counts = targets != IGNORE
        return answers[counts], targets[counts]


def _toy(options: TaskOptions) -> Toy:
    data: DataOptions = options.data
    seed = options.training.seed
    return make_toy(data.problem, seed, length=data.length, delay=data.delay)


def _examples(toy: Toy, first: int, count: int) -> list[ToyExample]:
    return [_example(*toy.example(number)) for number in range(first, first + count)]


def _example(inputs: Array, targets: Array) -> ToyExample:
    return ToyExample(torch.from_numpy(inputs), torch.from_numpy(np.asarray(targets)))
