"""Runs as a training would leave them; and changed by hand, as their owner may.

What is changed loses the checksums that would say so.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from unrolled.tasks import find_task, options_of, prepare
from unrolled.training import Trainer, save_weights


def change_config(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Have `change` change what config.json says, which from then on has no checksums."""
    path = run / "config.json"
    config = json.loads(path.read_text())
    change(config)
    config.pop("sha256", None)
    path.write_text(json.dumps(config))


def without_checksums(run: Path) -> Path:
    """Have a run be read as it is; return its folder."""
    change_config(run, lambda config: None)
    return run


def stop_at(trainer: Trainer, update: int) -> None:
    """Have a training be asked to stop while it makes an update, counted from 0."""
    next_loss = trainer.objective.next_loss

    def stopping(model: torch.nn.Module) -> Any:
        if trainer.progress.update == update:
            trainer.request_stop()
        return next_loss(model)

    trainer.objective.next_loss = stopping


def run_of(
    task: str, data: dict[str, Any], path: Path, *, spread: float = 0.1, **model: Any
) -> Path:
    """Return a run with random weights, which differ in all units, `spread` more than at first."""
    options = options_of(task)
    trainer = prepare(
        find_task(task),
        options.DataOptions(**data),
        path,
        model=options.ModelOptions(**{"cell": "lstm", "hidden_size": 12, "num_layers": 1} | model),
        training=options.TrainingOptions(epochs=1, batch_size=8, seed=1),
    ).trainer
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.mul_(2).add_(spread * torch.randn_like(weight))
    save_weights(trainer.run.weights_path, trainer.model)
    return path
