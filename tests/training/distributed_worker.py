"""Run by torchrun: trains on argv[1] into argv[2]/whole, and with a stop into argv[2]/stopped."""

import sys
from pathlib import Path

import pytest
import torch

from unrolled import tasks
from unrolled.errors import RunError
from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions
from unrolled.training import NullReporter, Processes, Trainer, initialize_distributed


def prepare(text_path: Path, run_path: Path, processes: Processes) -> Trainer:
    return tasks.prepare(
        LanguageModelTask,
        DataOptions(files=(str(text_path),)),
        run_path,
        model=ModelOptions(cell="gru", hidden_size=8, num_layers=2),
        training=TrainingOptions(
            epochs=2, batch_size=6, k1=16, k2=24, log_every=1, evaluate_every=10, clip_norm=0.2
        ),
        processes=processes,
    ).trainer


def check_that_all_see_an_error(processes: Processes) -> None:
    def fail() -> None:
        raise RunError("the disk is full", "make room")

    with pytest.raises(RunError) as caught:
        processes.from_first(fail)
    assert (caught.value.message, caught.value.hint) == ("the disk is full", "make room")


def main(text_path: Path, folder: Path) -> None:
    with initialize_distributed() as processes:
        assert processes.world_size == 2
        check_that_all_see_an_error(processes)
        prepare(text_path, folder / "whole", processes).fit()
        trainer = prepare(text_path, folder / "stopped", processes)
        if processes.rank == 1:
            stop_at_update(trainer, 17)
        assert trainer.fit(NullReporter()).update == 17
        tasks.resume(folder / "stopped", processes=processes).trainer.fit()


def stop_at_update(trainer, update: int) -> None:
    """Request a stop from inside the update, as a signal would."""
    next_loss = trainer.objective.next_loss

    def stopping(model):
        if trainer.progress.update + 1 == update:
            trainer.request_stop()
        return next_loss(model)

    trainer.objective.next_loss = stopping


if __name__ == "__main__":
    sys.modules["torch.utils.tensorboard"] = None  # slow to import
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
