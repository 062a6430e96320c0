"""A process for the tests to kill: trains the run at argv[2] on argv[1], or goes on with it."""

import sys
from pathlib import Path

import torch
import torch._dynamo  # torch.optim does at its first use, and it is slow

from unrolled.tasks import prepare, resume
from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions
from unrolled.training import Trainer


def trainer_of(text_path: Path, run_path: Path) -> Trainer:
    if (run_path / "config.json").exists():
        return resume(run_path).trainer
    training = {"epochs": 2, "seed": 3, "batch_size": 4, "k1": 8, "k2": 12}
    every = {"log_every": 3, "evaluate_every": 25, "checkpoint_every_seconds": 0.05}
    return prepare(
        LanguageModelTask,
        DataOptions(files=(str(text_path),)),
        run_path,
        model=ModelOptions(cell="lstm", hidden_size=12, num_layers=2, dropout=0.2),
        training=TrainingOptions(**training, **every),
    ).trainer


if __name__ == "__main__":
    sys.modules["torch.utils.tensorboard"] = None  # slow to import
    torch.set_num_threads(1)  # as in tests/conftest.py: the same sums
    print("ready", flush=True)  # noqa: T201
    trainer_of(Path(sys.argv[1]), Path(sys.argv[2])).fit()
