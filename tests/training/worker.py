"""A process for the tests to kill: trains the run at argv[2] on argv[1], or goes on with it."""

import sys
from pathlib import Path

import torch
import torch._dynamo  # torch.optim does at its first use, and it is slow

from unrolled.tasks.lm.task import TextOptions, prepare_language_model, resume_language_model
from unrolled.training import Trainer, TrainingOptions


def trainer_of(text_path: Path, run_path: Path) -> Trainer:
    if (run_path / "config.json").exists():
        return resume_language_model(run_path)
    return prepare_language_model(
        [text_path],
        run_path,
        training=TrainingOptions(
            epochs=2, seed=3, log_every=3, evaluate_every=25, checkpoint_every_seconds=0.05
        ),
        text=TextOptions(num_columns=4, k1=8, k2=12),
        cell="lstm",
        hidden_size=12,
        num_layers=2,
        dropout=0.2,
    )


if __name__ == "__main__":
    sys.modules["torch.utils.tensorboard"] = None  # slow to import
    torch.set_num_threads(1)  # as in tests/conftest.py: the same sums
    print("ready", flush=True)  # noqa: T201
    trainer_of(Path(sys.argv[1]), Path(sys.argv[2])).fit()
