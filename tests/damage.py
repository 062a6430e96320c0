"""Flip bits of a run's files and cut them, and see who tells. `python tests/damage.py`

A run that was stopped in the middle, and one that has ended, are copied, one file of the copy is
damaged, and all that reads a run reads it: evaluate, the learning curves, the results, and resume
to the end. Each of these must end in one line and a hint, or do what it does to the undamaged run.
The table says how often which; what is neither is a fault of ours, and is printed.

Everything is drawn from a seed, so that the table can be had again.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # torch.optim does at its first use, and it is slow

from support.runs import stop_at
from unrolled.cli.main import main as unrolled
from unrolled.errors import UnrolledError
from unrolled.tasks import prepare, resume
from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions
from unrolled.training import Run, loss_curves, read_results

CELL = """import unrolled
from torch import sigmoid, tanh


@unrolled.cell(gates="f g", keeps="f")
def leaky(x, u, h):
    f = sigmoid(x.f + u.f)
    return dict(h=f * h + (1 - f) * tanh(x.g + u.g), f=f)
"""
READ = (
    *("config.json", "vocabulary.json", "cell.py", "weights.safetensors", "last.ckpt"),
    *("metrics.jsonl", "results.json"),
)
UNREAD = ("report.html", ".lock", "tensorboard/events.out.tfevents.1")
WHY = {
    "report.html": "nothing reads it",
    ".lock": "only whether it is there counts",
    "tensorboard/events.out.tfevents.1": "only TensorBoard reads it, which has checksums",
}
Outcome = dict[str, Any]


def main() -> int:
    """Print the table, and return 1 if something was wrong in silence or died."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # no thread before a fork
    sys.modules["torch.utils.tensorboard"] = None  # type: ignore[assignment]  # slow to import
    with tempfile.TemporaryDirectory() as folder:
        counts, faults = damage(Path(folder), options.flips, options.cuts, options.seed)
    for line in table(counts):
        print(line)  # noqa: T201 - the command's output
    for fault in faults:
        print(f"FAULT: {fault}")  # noqa: T201
    return int(bool(faults))


def damage(folder: Path, flips: int, cuts: int, seed: int) -> tuple[Counter[Any], list[str]]:
    """Return how often each (file, how, outcome) came out, and the faults in words."""
    stopped, ended = make_runs(folder)
    expected = {}
    for run in (stopped, ended):
        expected[run] = look(shutil.copytree(run, folder / "copy"))
        shutil.rmtree(folder / "copy")
    chance = random.Random(seed)
    counts: Counter[Any] = Counter()
    faults = []
    files = [*READ, *UNREAD]
    for number in range(flips + cuts):
        how = "flip" if number < flips else "cut"
        file = files[number % len(files)]
        run = ended if file in ("results.json", *UNREAD) else stopped
        copy = Path(shutil.copytree(run, folder / "copy"))
        content = (copy / file).read_bytes()
        if how == "flip":
            place, bit = chance.randrange(max(1, len(content))), chance.randrange(8)
            damaged = bytearray(content or b"\0")
            damaged[place] ^= 1 << bit
            what = f"bit {bit} of byte {place} of {len(content)}"
        else:
            place = chance.randrange(max(1, len(content)))
            damaged = bytearray(content[:place])
            what = f"{place} of {len(content)} bytes"
        (copy / file).write_bytes(damaged)
        outcome, why = judge(look(copy), expected[run])
        counts[file, how, outcome] += 1
        if outcome == "fault":
            faults.append(f"{file}, {how} ({what}): {why}")
        shutil.rmtree(copy)
    return counts, faults


def make_runs(folder: Path) -> tuple[Path, Path]:
    """Make a run that was stopped in the middle, and one that has ended."""
    text = folder / "text.txt"
    text.write_text("".join(f"{n} times {n} is {n * n}; " for n in range(40)))
    (folder / "cells.py").write_text(CELL)
    for name in ("stopped", "ended"):
        prepared = prepare(
            LanguageModelTask,
            DataOptions(files=(str(text),)),
            folder / name,
            model=ModelOptions(cell=f"{folder / 'cells.py'}:leaky", hidden_size=6),
            training=TrainingOptions(epochs=2, batch_size=4, k1=8, log_every=2, evaluate_every=6),
        )
        if name == "stopped":
            stop_at(prepared.trainer, 20)
        prepared.trainer.fit()
        if name == "ended":
            prepared.finish()
            for file in UNREAD:
                (folder / name / file).parent.mkdir(exist_ok=True)
                (folder / name / file).write_bytes(b"something that was written here")
    return folder / "stopped", folder / "ended"


def look(run: Path) -> Outcome:
    """Have all that reads a run read it, in a process of its own; return what came out of each."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        return json.loads(said) if status == 0 else {"died": {"code": status}}
    try:
        outcome = {
            "evaluate": by_command("evaluate", run, run.parent / "text.txt", "--json"),
            "curves": by_call(lambda: loss_curves(Run(run))),
            "results": by_call(lambda: read_results(Run(run)) if has_results(run) else None),
            "resume": by_call(lambda: train_on(run)),
        }
        with os.fdopen(writer, "w") as pipe:
            pipe.write(json.dumps(outcome))
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def has_results(run: Path) -> bool:
    """Whether a run has ended."""
    return (run / "results.json").exists()


def by_command(name: str, run: Path, *arguments: object) -> Outcome:
    """Return how a command ended."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            unrolled([name, str(run), *map(str, arguments), "--trust-code"])
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException as error:
            return {"traceback": repr(error)}
    return {"code": code, "out": out.getvalue(), "err": err.getvalue().splitlines()}


def by_call(function: Any) -> Outcome:
    """Return what a function returns or raises, as a command would end."""
    try:
        return {"code": 0, "out": function()}
    except UnrolledError as error:
        return {"code": 1, "err": [f"unrolled: error: {error.message}", f"hint: {error.hint}"]}
    except BaseException as error:
        return {"traceback": "".join(traceback.format_exception(error))[-1500:]}


class Listening:
    """A reporter that keeps what the user should read."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_log(self, metrics: Any) -> None:
        """Do nothing."""

    def on_evaluation(self, metrics: Any, improved: bool) -> None:
        """Do nothing."""

    def on_message(self, message: str) -> None:
        """Keep it."""
        self.messages.append(message)


def train_on(run: Path) -> Outcome:
    """Resume a run to its end; return what was said, and its weights."""
    prepared = resume(run, trust_code=True)
    reporter = Listening()
    prepared.trainer.fit(reporter)
    notes = [message for message in reporter.messages if "was cut" in message]
    metrics = prepared.finish().metrics
    return {"notes": notes, "weights": Run(run).weights_path.read_bytes().hex(), "metrics": metrics}


def judge(outcome: Outcome, expected: Outcome) -> tuple[str, str]:
    """Return whether damage was told, harmless, or neither, and then why."""
    told = False
    for name, mine in outcome.items():
        if "traceback" in mine or name == "died":
            return "fault", f"{name}: {mine}"
        if mine["code"]:
            lines = mine["err"]
            if len(lines) != 2 or not lines[0].startswith("unrolled: error: "):
                return "fault", f"{name}: {lines}"
            if not lines[1].removeprefix("hint: "):
                return "fault", f"{name}: no hint: {lines}"
            told = True
            continue
        out, other = mine["out"], expected[name]["out"]
        if name == "resume" and out["notes"]:
            told, out = True, out | {"notes": []}
        if out != other:
            return "fault", f"{name}: {out} is not {other}"[:600]
    return ("told" if told else "harmless"), ""


def table(counts: Counter[Any]) -> list[str]:
    """Return the lines of a table of the outcomes by file."""
    lines = ["| file | flips | told | harmless | cuts | told | harmless | why harmless |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|---|")
    for file in (*READ, *UNREAD):
        cells = []
        for how in ("flip", "cut"):
            told, harmless = counts[file, how, "told"], counts[file, how, "harmless"]
            cells += [told + harmless + counts[file, how, "fault"], told, harmless]
        lines.append(f"| {file} | {' | '.join(map(str, cells))} | {WHY.get(file, '')} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
