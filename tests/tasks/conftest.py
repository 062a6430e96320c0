"""A task small enough to see through: is a sequence of numbers' sum above zero?"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unrolled.data.batching import pad
from unrolled.errors import DataError
from unrolled.networks import make_layer
from unrolled.tasks import TASKS, Splits, Task

Example = tuple[tuple[float, ...], int]


@dataclass(frozen=True, kw_only=True)
class SignOptions:
    path: str
    held_out: int = 16


@dataclass(frozen=True)
class SignConfig:
    num_classes: int
    cell: str = "lstm"
    hidden_size: int = 6
    num_layers: int = 1
    dropout: float = 0.0


class SignModel(nn.Module):
    def __init__(self, config: SignConfig) -> None:
        super().__init__()
        self.layer = make_layer(config.cell, 1, config.hidden_size, config.num_layers)
        self.dropout = nn.Dropout(config.dropout)
        self.scores = nn.Linear(config.hidden_size, config.num_classes)

    def forward(self, x, lengths):
        h, _ = self.layer(x, lengths=lengths)
        last = h[torch.arange(len(x)), lengths - 1]
        return self.scores(self.dropout(last))


class SignTask(Task[Example]):
    name, unit = "sign", "nats/example"
    Options, Config, Model = SignOptions, SignConfig, SignModel
    predict_options = frozenset({"running"})

    @classmethod
    def files(cls, options):
        return [Path(options.path)]

    @classmethod
    def read(cls, options):
        examples = cls._examples(Path(options.path))
        cut = options.held_out
        return Splits(examples[2 * cut :], examples[:cut], examples[cut : 2 * cut], ["1 row read"])

    @classmethod
    def _examples(cls, path: Path) -> list[Example]:
        try:
            rows = [tuple(map(float, line.split())) for line in path.read_text().splitlines()]
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None
        return [(row, int(sum(row) > 0)) for row in rows]

    @classmethod
    def fit(cls, options, training):  # noqa: ARG003
        return cls(options)

    def to_dict(self):
        return {"classes": ["below", "above"]}

    @classmethod
    def from_dict(cls, options, content):
        assert content["classes"] == ["below", "above"]
        return cls(options)

    @property
    def sizes(self):
        return {"num_classes": 2}

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

    def predict(self, model, source, **options: Any):
        for line in source.lines():
            row = torch.tensor([float(word) for word in line.split()])
            scores = model(row[None, :, None], torch.tensor([len(row)]))
            yield {"class": int(scores.argmax()), **options}

    def to_text(self, prediction):
        return ["below", "above"][prediction["class"]]


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
    """Let the command line find the task by its name."""
    monkeypatch.setitem(TASKS, "sign", "sign.task:SignTask")
    monkeypatch.setitem(sys.modules, "unrolled.tasks.sign.task", _Module)


class _Module:
    SignTask = SignTask
