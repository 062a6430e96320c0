"""Every published cell on the same data at the same budget: which one?

Each training is that of `unrolled compare`: as many hidden units as the budget allows, with the
same seed the same split and the same batches. What is trained is in `sets.toml`. What is done is
kept: the same command goes on where it stopped, within a training too, and given at the same time
on several computers that see the folder of `--out` it shares the trainings among them. A training
is a process of its own, forked from one that has loaded the package.

    python benchmarks/which/run.py --list
    python benchmarks/which/run.py --data DATA --out runs/which --seeds 3
    python benchmarks/which/run.py adding jsb --cells lstm,gru --data DATA --out runs/which
    python benchmarks/which/run.py --out runs/which --gather benchmarks/results/which.json
    python benchmarks/which/run.py --write build/which

DATA is a folder with the sets as `sets.toml` names them. `--write` makes the page and its figures
of `benchmarks/results/which.json`, in a folder; those are for docs/ once the results are of every
cell. What was trained of some cells alone stands in a table of counts.
"""

import argparse
import importlib
import json
import math
import os
import platform
import resource
import shlex
import sys
import time
import tomllib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import time as clock
from pathlib import Path
from typing import Any

from unrolled.comparison import Claims, Contestant, Plan, Trial
from unrolled.data.files import to_json, write_atomically
from unrolled.errors import UnrolledError
from unrolled.training import Run, read_metrics, read_results

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "which.json"
OTHERS = ("tcn", "dense")
"""Beside the cells: a network that reads by convolutions, and one without memory."""


def read_sets() -> dict[str, dict[str, Any]]:
    """Return what is trained on each data set."""
    return tomllib.loads((HERE / "sets.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Place:
    """Where the trainings are, and where the data.

    Args:
        data: Stands for DATA in commands.
        out: Has a folder for each data set, as `unrolled compare --out` makes it.
    """

    data: Path
    out: Path

    def plan(self, one: dict[str, Any], cells: Sequence[str], seeds: int) -> Plan:
        """Return the trainings on a data set."""
        task, *words = shlex.split(one["command"].replace("DATA", str(self.data)))
        contestants = tuple(Contestant(cell) for cell in cells)
        return Plan(task, tuple(words), contestants, seeds, one["parameters"])

    def trials(self, name: str, one: Any, cells: Sequence[str], seeds: int) -> list[Trial]:
        """Return the trainings on a data set, whose folder is made."""
        plan = self.plan(one, cells, seeds)
        plan.settle(self.out / name)
        return plan.trials(self.out / name)


def train(trial: Trial, claims: Claims) -> int:
    """Train, or go on with a training, in a process of its own; return its exit code."""
    process = os.fork()
    if not process:
        _train_here(trial)
    code = None
    while code is None:
        claims.keep()
        try:
            ended, status = os.waitpid(process, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if ended else None
            time.sleep(0.05)
        except KeyboardInterrupt:  # the training has it too, and saves
            os.waitpid(process, 0)
            raise
    return code


def _train_here(trial: Trial) -> None:
    """Train in this process, add the processor's seconds to those of the training, and end."""
    from unrolled.cli.main import main

    with trial.log_path.open("wb") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    code: Any = 1
    try:
        main(trial.next_command())
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        used = resource.getrusage(resource.RUSAGE_SELF)
        with _seconds_path(trial).open("a", encoding="utf-8") as file:
            file.write(f"{used.ru_utime + used.ru_stime:.3f}\n")
        os._exit(code if isinstance(code, int) else 1)


def _seconds_path(trial: Trial) -> Path:
    return trial.path.with_name(f"{trial.path.name}.seconds")


def train_all(trials: Sequence[Trial], until: datetime | None) -> bool:
    """Train what is not done yet and nobody else has claimed; return whether all is done."""
    for module in ("torch", "unrolled.cli.main", "unrolled.cli.fit", "unrolled.tasks"):
        importlib.import_module(module)  # what a training needs, loaded once: no thread begins
    claims, failed = Claims(), []
    pending = deque(trial for trial in trials if not trial.results_path.exists())
    print(f"trainings: {len(trials)}, of them done: {len(trials) - len(pending)}", flush=True)
    met = 0  # others' claims in a row
    while pending:
        if until is not None and datetime.now() >= until:
            print(f"{len(pending)} left for later; the same command goes on", flush=True)
            return False
        trial = pending.popleft()
        if trial.results_path.exists():
            continue
        if not claims.take(trial.path):
            pending.append(trial)
            met += 1
            time.sleep(1 if met >= len(pending) else 0)
            continue
        met = 0
        try:
            code = train(trial, claims)
        finally:
            claims.release(trial.path)
        where = f"{trial.path.parent.name}: {trial.name}"
        if trial.results_path.exists():
            print(f"{where}, {len(pending)} left", flush=True)
        else:
            failed.append(where)
            lines = trial.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
            words = next((line for line in lines if line.startswith("unrolled: error")), "")
            print(f"{where} ended with code {code}: {words or trial.log_path}", flush=True)
    return not failed


def gather(
    place: Place, sets: dict[str, Any], cells: Sequence[str], absent: Sequence[str], old: Any
) -> dict[str, Any]:
    """Return the figures of all trainings that are over, by data set, cell and seed.

    Args:
        place: Where they are.
        sets: What is trained.
        cells: What may have been.
        absent: The published cells that are not among these.
        old: What was gathered before, here or elsewhere; it stays where its budget is still that of
            the set.
    """
    trainings: dict[str, dict[str, dict[str, Any]]] = {}
    days = {old["about"][end] for end in ("from", "to")} if old else set()
    for name, one in sets.items():
        before = old["trainings"].get(name, {}) if old and old["sets"].get(name) == one else {}
        seeds = _seeds(place.out / name)
        for trial in place.plan(one, cells, seeds or 1).trials(place.out / name):
            if trial.results_path.exists():
                figures = _figures(trial, one["metric"])
                before.setdefault(trial.contestant.name, {})[str(trial.seed)] = figures
                day = datetime.fromtimestamp(trial.results_path.stat().st_mtime, UTC).date()
                days.add(day.isoformat())
        if before:
            trainings[name] = {cell: before[cell] for cell in cells if cell in before}
    import torch

    about = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    about |= {"from": min(days), "to": max(days)} if days else {}
    every = {"cells": list(cells), "absent": list(absent)}
    return {"about": about, **every, "sets": sets, "trainings": trainings}


def _seeds(folder: Path) -> int:
    """Return one more than the largest seed that a run in the folder has."""
    names = (path.parent.name.rpartition("-")[2] for path in folder.glob("*/results.json"))
    return 1 + max((int(name) for name in names if name.isdecimal()), default=-1)


def _figures(trial: Trial, metric: str) -> dict[str, Any]:
    run = Run(trial.path)
    results = read_results(run)
    lines = [line for line in read_metrics(run) if line["kind"] == "held_out"]
    kept = next(line for line in lines if line["update"] == results["kept_update"])
    test = {"test": _short(results["metrics"][metric])} if results["part"] == "test" else {}
    return test | {
        "held_out": _short(kept[metric]),
        "hidden_size": results["hidden_size"],
        "parameters": results["parameters"],
        "updates": results["updates"],
        "seconds": _seconds(trial),
        "megabytes": round((results["peak_memory_bytes"] or 0) / 1e6),
        "curve": [[line["update"], _short(line[metric])] for line in lines],
    }


def _seconds(trial: Trial) -> float | None:
    """Return the processor's seconds; None of a training whose process was killed at its end."""
    path = _seconds_path(trial)
    return round(sum(map(float, path.read_text().split())), 1) if path.exists() else None


def _short(number: float | None) -> float | None:
    """Return a figure in five digits; None of one that is none, of a training that diverged."""
    return float(f"{number:.5g}") if number is not None and math.isfinite(number) else None


def main() -> None:
    """Train what is named, or gather or write what there is; errors of ours without a traceback."""
    try:
        _do()
    except UnrolledError as error:
        sys.exit(f"error: {error}")


def _do() -> None:
    from unrolled.cells.catalogue import CATALOGUE

    sets = read_sets()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="*", help="all, if none is named")
    parser.add_argument("--list", action="store_true", help="show the sets, and train nothing")
    parser.add_argument(
        "--cells",
        help="such as lstm,mgu; if absent all, tcn and dense; with --gather, which are compared",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="0, 1, ... N - 1")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("runs/which"))
    parser.add_argument(
        "--until",
        type=clock.fromisoformat,
        metavar="HH:MM",
        help="begin no training after it, today",
    )
    parser.add_argument("--gather", type=Path, metavar="FILE", help="add what there is to it")
    parser.add_argument("--write", type=Path, metavar="DIR", help="write page and figures")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds: at least 1, got {options.seeds}")
    if unknown := [name for name in options.sets if name not in sets]:
        parser.error(f"no such set: {', '.join(unknown)}; there are {', '.join(sets)}")
    chosen = {name: sets[name] for name in options.sets or sets}
    known = [*CATALOGUE, *OTHERS]
    cells = options.cells.split(",") if options.cells else known
    if strange := [cell for cell in cells if cell not in known]:
        parser.error(f"no such cell: {', '.join(strange)}; `unrolled cells` lists them")
    place = Place(options.data.absolute(), options.out)
    if options.list:
        for name, one in chosen.items():
            print(f"{name:16s} {one['what']}\n{'':16s} unrolled train {one['command']}")
    elif options.gather:
        try:
            old = json.loads(options.gather.read_text("utf-8")) if options.gather.exists() else None
        except ValueError as error:
            parser.error(f"{options.gather}: not what --gather writes: {error}")
        absent = [cell for cell in known if cell not in cells]
        gathered = gather(place, sets, cells, absent, old)
        if not gathered["trainings"]:
            parser.error(f"{options.out}: no training is over")
        with write_atomically(options.gather) as file:
            file.write(to_json(gathered))
    elif options.write:
        sys.path.insert(0, str(HERE))
        page = importlib.import_module("page")
        page.write(json.loads(RESULTS.read_text(encoding="utf-8")), options.write)
    else:
        until = None
        if options.until:
            until = datetime.combine(datetime.now().date(), options.until)
        by_set = [place.trials(name, one, cells, options.seeds) for name, one in chosen.items()]
        every = [trial for trials in by_set for trial in trials]
        every.sort(key=lambda trial: trial.seed)  # stable: all sets with seed 0, then with seed 1
        sys.exit(0 if train_all(every, until) else 1)


if __name__ == "__main__":
    main()
