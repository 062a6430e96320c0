"""A task small enough to see through: is a sequence of numbers' sum above zero?"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unrolled.data import Source, pad
from unrolled.errors import DataError
from unrolled.metrics import Metric
from unrolled.networks import LayerOptions, make_layer
from unrolled.options import Option, Options, absolute, options
from unrolled.tasks import TASKS, ExamplesTask, Splits
from unrolled.tasks.task import OptionClasses
from unrolled.training import options as training

Example = tuple[tuple[float, ...], int]


@options
class DataOptions(Options):
    """How the numbers are read."""

    path: Annotated[str, Option("Rows of numbers.", positional=True, convert=absolute)]
    held_out: Annotated[int, Option("Rows that are held out.", within="[1, inf)")] = 16


@options(hidden_size=6, dropout=0.2)
class ModelOptions(LayerOptions):
    """What the network is made of."""


@options(batch_size=8, learning_rate=8e-3)
class TrainingOptions(training.TrainingOptions):
    """How it is trained."""

    budget = training.Budget(epochs=6)


@options
class PredictOptions(Options):
    """What can be asked of a prediction."""

    running: Annotated[bool, Option("Say so.")] = False


class SignModel(nn.Module):
    def __init__(self, options: ModelOptions, *, num_classes: int) -> None:
        super().__init__()
        self.layer = make_layer(options, 1)
        self.dropout = nn.Dropout(options.dropout)
        self.scores = nn.Linear(options.hidden_size, num_classes)

    def forward(self, x, lengths):
        h, _ = self.layer(x, lengths=lengths)
        last = h[torch.arange(len(x)), lengths - 1]
        return self.scores(self.dropout(last))


class SignTask(ExamplesTask[Example]):
    name = "sign"
    metrics = (Metric("loss", "lower", "nats/example"),)
    option_classes = OptionClasses(DataOptions, ModelOptions, TrainingOptions, PredictOptions)

    @classmethod
    def files(cls, data):
        return [Path(data.path)]

    @classmethod
    def read(cls, options):
        examples = cls._examples(Path(options.data.path))
        cut = options.data.held_out
        return Splits(examples[2 * cut :], examples[:cut], examples[cut : 2 * cut], ["1 row read"])

    @classmethod
    def _examples(cls, path: Path) -> list[Example]:
        try:
            rows = [tuple(map(float, line.split())) for line in path.read_text().splitlines()]
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None
        return [(row, int(sum(row) > 0)) for row in rows]

    @classmethod
    def fit(cls, options, splits):  # noqa: ARG003
        return cls(options)

    def to_dict(self):
        return {"classes": ["below", "above"]}

    @classmethod
    def from_dict(cls, options, content):
        assert content["classes"] == ["below", "above"]
        return cls(options)

    def make_model(self, options):
        return SignModel(options, num_classes=2)

    def length(self, example):
        return len(example[0])

    def loss(self, model, examples: Sequence[Example]):
        x, lengths = pad([torch.tensor(row)[:, None] for row, _ in examples])
        answers = torch.tensor([answer for _, answer in examples])
        return F.cross_entropy(model(x, lengths), answers, reduction="sum"), len(examples)

    def baselines(self, training, examples):
        share = sum(answer for _, answer in training) / len(training)
        loss = -sum(torch.tensor(share if a else 1 - share).log() for _, a in examples)
        return {"shares": {"loss": float(loss) / len(examples)}}

    def read_examples(self, path):
        return self._examples(path), ["read"]

    def predict(self, model, source: Source, options: PredictOptions):
        for line in source.lines():
            row = torch.tensor([float(word) for word in line.split()])
            scores = model(row[None, :, None], torch.tensor([len(row)]))
            yield {"class": int(scores.argmax()), "running": options.running}

    def to_text(self, prediction):
        return ["below", "above"][prediction["class"]]

    def subject(self, model):
        raise NotImplementedError  # no test here looks inside


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(1)
    rows = [
        torch.randn(int(torch.randint(1, 7, (), generator=generator)), generator=generator)
        for _ in range(96)
    ]
    path = tmp_path / "numbers.txt"
    path.write_text("".join(" ".join(f"{x:.3f}" for x in row.tolist()) + "\n" for row in rows))
    return path


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the task where the registry looks: a name, and a folder with its options and its class.

    Tests have no other way to the classes above: several files are called conftest.
    """
    monkeypatch.setitem(TASKS, "sign", "SignTask")
    chosen = (DataOptions, ModelOptions, TrainingOptions, PredictOptions)
    for file, classes in (("options", chosen), ("task", (SignTask,))):
        module = ModuleType(f"unrolled.tasks.sign.{file}")
        vars(module).update({cls.__name__: cls for cls in classes})
        monkeypatch.setitem(sys.modules, module.__name__, module)
