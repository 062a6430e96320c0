"""Runs the cases of `corpus.py` by the command line, in this process.

A training stops before its first update, after one loss and one measurement: what is wrong with an
input shows by then. `python tests/malformed/running.py` runs all and prints how many ended how.
"""

import contextlib
import io
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).parent))

from corpus import RUNS, SMALL, TASK_OF, Case, cases

from unrolled.cli.main import main
from unrolled.errors import render

__all__ = ["Ending", "fault_of", "make_runs", "run"]


@dataclass(frozen=True)
class Ending:
    """How a command ended: its exit code, or what left it; and what it wrote."""

    code: int
    exception: BaseException | None
    out: str
    err: str

    @property
    def outcome(self) -> str:
        """What is counted."""
        if self.exception is not None:
            return "traceback"
        if self.code:
            return "refused"
        return "noted" if "note: " in self.err or "warning: " in self.err else "done"


def _first_step(prepared: Any) -> None:
    """Do what a training does before its first update, and after its last one."""
    for note in prepared.splits.notes:
        print(f"note: {render(note)}", file=sys.stderr)  # noqa: T201
    splits, trainer = prepared.splits, prepared.trainer
    trainer.objective.next_loss(trainer.model)
    if prepared.task.name != "lm":
        some = splits.test[:4] or splits.held_out[:4]
        prepared.task.evaluate(trainer.model.eval(), some)
        prepared.task.baselines(splits.training, some)


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _written(*warning: Any) -> None:
    """Write a warning as the command line words it."""
    sys.stderr.write(warnings.formatwarning(*warning[:4]))


def _call(arguments: list[str], stdin: bytes = b"") -> Ending:
    """Run the command line with streams of its own."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    code, exception = 0, None
    streams = {"stdout": out, "stderr": err, "stdin": SimpleNamespace(buffer=io.BytesIO(stdin))}
    with contextlib.ExitStack() as stack:
        for name, stream in streams.items():
            stack.enter_context(mock.patch.object(sys, name, stream))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always")  # lines of the command, and no errors as in tests
        warnings.showwarning = _written
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException as error:  # what is looked for
            exception = error
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())
    return Ending(code, exception, *texts)


def make_runs(folder: Path) -> dict[str, Path]:
    """Train a small run of each task, and return where they are."""
    runs = {}
    for name, (files, arguments) in RUNS.items():
        own = folder / name
        own.mkdir()
        _write(own, files)
        with _in(own):
            command = ["train", TASK_OF.get(name, name), *arguments, *SMALL, "--run", "run"]
            ending = _call(command)
        assert ending.outcome in ("done", "noted"), (name, ending)
        runs[name] = own / "run"
    return runs


def _write(folder: Path, files: dict[str, Any], sparse: dict[str, int] | None = None) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    for name, size in (sparse or {}).items():
        os.truncate(folder / name, size)


def run(case: Case, runs: dict[str, Path], folder: Path) -> Ending:
    """Run a case in an empty folder."""
    arguments = []
    for argument in case.arguments:
        for name, path in runs.items():
            if argument == f"broken:{{{name}}}":
                shutil.copytree(path, folder / "broken")
                argument = "broken"
            elif argument == f"{{{name}}}":
                argument = str(path)
        arguments.append(argument)
    _write(folder, case.files, case.sparse)
    torch.manual_seed(0)
    with _in(folder), mock.patch("unrolled.cli.fit.fit", _first_step):
        return _call(arguments, case.stdin)


def fault_of(case: Case, ending: Ending) -> str:
    """Return what is wrong with how a case ended; "" if nothing is."""
    if ending.exception is not None or "Traceback" in ending.err:
        return f"a traceback: {ending.exception!r} {ending.err[-300:]}"
    said = ending.err.lower()
    if ending.code:
        errors = [line for line in said.splitlines() if line.startswith("unrolled: error:")]
        if ending.code not in (1, 2) or len(errors) != 1:
            return f"exit {ending.code} without one line of error: {ending.err[-300:]}"
    expected = {"either": (ending.outcome,), "done": ("done", "noted")}
    if ending.outcome not in expected.get(case.outcome, (case.outcome,)):
        return f"{ending.outcome}, not {case.outcome}: {ending.err[-300:]}"
    if case.says not in said:
        return f"does not say {case.says!r}: {ending.err[-300:]}"
    lines = len(ending.out.splitlines())
    if not ending.code and case.lines is not None and lines != case.lines:
        return f"{lines} lines, not {case.lines}: {ending.out[-300:]}"
    return ""


def _main() -> int:
    outcomes, faults = Counter(), []
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as root:
        runs_folder = Path(root, "runs")
        runs_folder.mkdir()
        runs = make_runs(runs_folder)
        made = time.perf_counter()
        every = cases()
        for number, case in enumerate(every):
            folder = Path(root, str(number))
            folder.mkdir()
            ending = run(case, runs, folder)
            shutil.rmtree(folder)
            outcomes[ending.outcome] += 1
            if fault := fault_of(case, ending):
                faults.append(f"{case.name}: {fault}")
    for fault in faults:
        print(fault)  # noqa: T201
    counts = ", ".join(f"{count} {name}" for name, count in outcomes.most_common())
    seconds = f"{made - begin:.1f} s for runs, {time.perf_counter() - made:.1f} s for cases"
    print(f"{len(every)} cases: {counts}; {len(faults)} not as they must be; {seconds}")  # noqa: T201
    return bool(faults)


if __name__ == "__main__":
    sys.exit(_main())
