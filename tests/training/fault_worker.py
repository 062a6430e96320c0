"""A process that has a run fail at one of its file operations, or die there, again and again.

    fault_worker.py TEXT FOLDER FIRST STEP

FOLDER/unharmed is a run that nothing happens to, and what all others should be like. Then for every
STEP-th of its operations N, from FIRST on, a child trains a run in FOLDER/kill-N and is killed at
its N-th operation, another has the N-th fail in FOLDER/fail-N; and one more goes on with what is
there, to the end. Prints, for each folder, the exit codes.
"""

import errno
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # torch.optim does at its first use, and it is slow

from unrolled.errors import UnrolledError
from unrolled.tasks import Prepared, prepare, resume
from unrolled.tasks.lm import DataOptions, LanguageModelTask, ModelOptions, TrainingOptions

KILLED = 9
REFUSED = 1
BROKEN = 3
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")


def prepared(text: Path, run: Path) -> Prepared:
    if (run / "config.json").exists():
        return resume(run)
    training = {"epochs": 1, "seed": 3, "batch_size": 4, "k1": 8, "k2": 8}
    every = {"log_every": 2, "evaluate_every": 4, "checkpoint_every_seconds": 1e-9}
    return prepare(
        LanguageModelTask,
        DataOptions(files=(str(text),)),
        run,
        model=ModelOptions(cell="lstm", hidden_size=4, dropout=0.2),
        training=TrainingOptions(**training, **every),
    )


class Operations:
    """Counts the operations on files of a folder, and has one of them fail."""

    def __init__(self, folder: Path, fatal: int, how: str) -> None:
        self.folder, self.fatal, self.how = str(folder), fatal, how
        self.count = 0
        fsync = os.fsync

        def counting(descriptor: int) -> None:
            self.meet()
            fsync(descriptor)

        os.fsync = counting  # type: ignore[assignment]
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and isinstance(arguments[0], str | os.PathLike):
            if os.fspath(arguments[0]).startswith(self.folder):
                self.meet()

    def meet(self) -> None:
        self.count += 1
        if self.count == self.fatal:
            if self.how == "kill":
                os._exit(KILLED)
            raise OSError(errno.ENOSPC, "No space left on device")


def child(text: Path, run: Path, fatal: int, how: str, counts: Path | None) -> int:
    """Train to the end in a process of its own; return its exit code."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    code = BROKEN
    try:
        operations = Operations(run, fatal, how)
        training = prepared(text, run)
        training.trainer.fit()
        training.finish()
        if counts is not None:
            counts.write_text(str(operations.count))
        code = 0
    except UnrolledError:
        code = REFUSED
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.modules["torch.utils.tensorboard"] = None  # type: ignore[assignment]  # slow to import
    torch.set_num_threads(1)  # as in tests/conftest.py: the same sums, and no thread before a fork
    text, folder, first, step = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
    codes = {"unharmed": [child(text, folder / "unharmed", 0, "", folder / "count")]}
    for number in range(first, int((folder / "count").read_text()) + 1, step):
        for how in ("kill", "fail"):
            run = folder / f"{how}-{number}"
            faults = ((number, how), (0, ""))
            codes[run.name] = [child(text, run, *fault, None) for fault in faults]
    for name, ended in codes.items():
        shutil.rmtree(folder / name / "tensorboard", ignore_errors=True)
        print(name, *ended)  # noqa: T201
