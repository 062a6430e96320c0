"""Trains and uses runs of every task, and every cell, on a pretended device, and on the CPU.

A process of its own, as torch cannot forget a device: it writes JSON, for each case what came of it
here and there, or the error. Arguments: a folder, then names of cases; without names all.
"""

import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import test_every_task as every
import torch

from support.pretended import KIND, PretendedDevice, pretend
from unrolled import Recurrent
from unrolled.cells.catalogue import CATALOGUE
from unrolled.data import Source
from unrolled.kernels import using_path
from unrolled.layers import state_tensors
from unrolled.networks.options import GenerateOptions
from unrolled.tasks import load, resume
from unrolled.tasks.toy import task as toy
from unrolled.training import NullReporter

WRITERS = ("lm", "multilabel")


def input_of(name: str, folder: Path) -> Source:
    """What is predicted from: the data of the training, but of lines, of which a few will do."""
    task = every.RUNS[name][0]
    if task == "toy":
        return Source.text("BTXSE\nBPVVE")
    if task in ("lm", "translate"):
        return Source.text("one and two\nthree")
    if task == "forecast":
        table = folder / "ahead.csv"
        table.write_text((folder / "table.csv").read_text() + "2024-03-01,,1\n2024-03-02,,0\n")
        return Source.file(table)
    endings = (".csv", ".ts", ".conll", ".tsv", "s.txt")
    (file,) = (p for p in folder.iterdir() if p.name.endswith(endings) and p.stem != "vectors")
    return Source.file(file)


def trained(name: str, folder: Path, device: str | None) -> Iterator[Any]:
    """Yield figures and predictions of a run that is trained, interrupted, resumed and loaded."""
    folder.mkdir(parents=True)
    with PretendedDevice() if device else nullcontext():
        every.TRAINING["device"] = device
        prepared = every.prepare_small(name, folder, "run", dropout=0.0)
        trainer = prepared.trainer
        next_loss = trainer.objective.next_loss

        def stopping(model: torch.nn.Module) -> Any:
            if trainer.progress.update == 2:
                trainer.request_stop()
            return next_loss(model)

        trainer.objective.next_loss = stopping
        assert trainer.fit().reason == "interrupted"
        prepared = resume(folder / "run")
        model = prepared.trainer.model
        places = {tensor.device.type for tensor in model.state_dict().values()}
        assert places == {device or "cpu"}
        prepared.trainer.fit()
        yield prepared.finish().metrics
        loaded = load(folder / "run", device=device)
        options = loaded.task.option_classes.predict()
        source = input_of(name, folder)
        yield [*islice(loaded.task.predict(loaded.model, source, options), 8)]
        if name == "forecast":
            scored = loaded.task.option_classes.predict(scores=True)
            yield [*islice(loaded.task.predict(loaded.model, source, scored), 8)]
        if name in WRITERS:
            drawn = GenerateOptions(seed=1, length=8)
            yield "".join(loaded.task.generate(loaded.model, loaded.task.prompt, drawn))


def crossing(folder: Path) -> Iterator[Any]:
    """Yield what is said of a run that begins on the device and goes on without it, and back."""
    folder.mkdir(parents=True)
    every.TRAINING["device"] = KIND
    said: list[str] = []

    class Reporter(NullReporter):
        def on_message(self, message: str) -> None:
            said.append(message)

    def part_of(prepared: Any, device: str) -> None:
        assert prepared.trainer.model.scores.weight.device.type == device
        start, next_loss = prepared.trainer.progress.update, prepared.trainer.objective.next_loss

        def stopping(model: torch.nn.Module) -> Any:
            if prepared.trainer.progress.update == start + 1:
                prepared.trainer.request_stop()
            return next_loss(model)

        prepared.trainer.objective.next_loss = stopping
        assert prepared.trainer.fit(Reporter()).reason == "interrupted"

    with PretendedDevice():
        part_of(every.prepare_small("lm", folder, "run"), KIND)
    part_of(resume(folder / "run", device="cpu"), "cpu")
    part_of(resume(folder / "run"), "cpu")  # it is the run's own now
    with PretendedDevice():
        part_of(resume(folder / "run", device=KIND), KIND)
    yield said


def of_cell(name: str, device: str) -> list[float]:
    """Return the loss of a layer before and after an update, with lengths and without."""
    torch.manual_seed(0)
    layer = Recurrent(CATALOGUE[name], 3, 4)
    x = torch.randn(3, 3, 3)
    losses = []
    with PretendedDevice() if device == KIND else using_path("reference"):
        layer, x = layer.to(device), x.to(device)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
        for lengths in ([3, 1, 0], None):
            output, state = layer(x, lengths=lengths)
            loss = output.square().sum() + sum(s.square().sum() for s in state_tensors(state))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def main(folder: Path, names: list[str]) -> None:
    pretend()
    os.fsync = lambda _: None  # type: ignore[assignment]  # nobody cuts the power
    warnings.simplefilter("ignore")  # that the loop is slower
    toy._NUM_MEASURED = 40
    every.TRAINING |= {"epochs": 1, "evaluate_every": 100}
    write_text = every.write_text

    def shorter(folder: Path) -> dict[str, Any]:
        data = write_text(folder)
        path = Path(data["files"][0])
        path.write_text(path.read_text()[:600])
        return data

    every.RUNS["lm"] = ("lm", shorter, *every.RUNS["lm"][2:])
    outcomes: dict[str, Any] = {}
    for name in names or [*every.RUNS, "crossing", *CATALOGUE]:
        try:
            if name == "crossing":
                outcomes[name] = [*crossing(folder / name)]
            elif name in every.RUNS:
                both = ((None, "cpu"), (KIND, KIND))
                pair = [[*trained(name, folder / f"{name}-{at}", d)] for d, at in both]
                outcomes[name] = pair
            else:
                outcomes[name] = [of_cell(name, "cpu"), of_cell(name, KIND)]
        except Exception:
            outcomes[name] = traceback.format_exc()
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
