"""The trainings of a comparison, each a process of its own, some of them side by side.

What is finished is not done again, what was interrupted goes on, and where one fails the others go
on. Not here: the display (`cli/compare.py`), and what came out (`gather.py`).
"""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.comparison.options import CompareOptions
from unrolled.comparison.plan import Trial
from unrolled.training import writing

__all__ = ["Failure", "Runner"]

PROGRAM = (sys.executable, "-P", "-m", "unrolled")
"""This package's command; -P: no module of the user's folder stands in for one of ours."""

_SECONDS_BETWEEN_LOOKS = 0.1
_LINES_OF_LAST_WORDS = 6
_ERROR = "unrolled: error: "


@dataclass(frozen=True)
class Failure:
    """A training that ended without results.

    Args:
        trial: Which.
        message: Its last words.
    """

    trial: Trial
    message: str


class Runner:
    """Runs trainings as processes, at most `num_processes` at a time.

    Args:
        trials: What to run, in this order.
        num_processes: At least 1.
        num_threads: Threads for all processes together, which share them evenly; at least 1 each.
        program: What takes the trainings' commands.

    Attributes:
        running: The trainings at work.
        waiting: Those that have not begun.
        failures: Those that ended without results, but for those that `request_stop` ended.
        interrupted: Those that `request_stop` ended.

    Raises:
        OptionError: A number below 1.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        num_processes: int,
        num_threads: int,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        CompareOptions(num_processes=num_processes)  # refuses
        self.num_processes = num_processes
        self.program = program
        self.threads_each = max(1, num_threads // num_processes)
        self.waiting = deque(trial for trial in trials if not trial.results_path.exists())
        self.running: dict[Trial, subprocess.Popen[bytes]] = {}
        self.failures: list[Failure] = []
        self.interrupted: list[Trial] = []
        self._stops = 0
        self._told: dict[Trial, int] = {}

    @property
    def stop_requested(self) -> bool:
        """Whether `request_stop` was called."""
        return self._stops > 0

    def request_stop(self) -> None:
        """Have every training save and end, and begin no other; a second time: end at once.

        For signal handlers.
        """
        self._stops += 1

    def run(
        self,
        on_start: Callable[[Trial], None],
        on_end: Callable[[Trial, str], None],
        on_wait: Callable[[], None],
    ) -> None:
        """Run all trainings to their ends.

        Args:
            on_start: Is told of every training that begins.
            on_end: Is told of every one that ended: "finished", "failed" or "interrupted".
            on_wait: Is called several times a second.

        Raises:
            RunError: A log cannot be written.
        """
        try:
            while self.running or (self.waiting and not self._stops):
                while self._may_begin():
                    trial = self.waiting.popleft()
                    self.running[trial] = self._begin(trial)
                    on_start(trial)
                self._pass_on_stops()
                for trial, process in list(self.running.items()):
                    if process.poll() is not None:
                        del self.running[trial]
                        on_end(trial, self._ended(trial, process.returncode))
                on_wait()
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for process in self.running.values():  # only when something of ours has failed
                process.terminate()

    def _may_begin(self) -> bool:
        room = len(self.running) < self.num_processes
        return bool(self.waiting) and room and not self._stops

    def _pass_on_stops(self) -> None:
        """Tell each training of the stops that it has not heard of."""
        for trial, process in self.running.items():
            if self._told.get(trial, 0) < self._stops:
                self._told[trial] = self._stops
                process.send_signal(signal.SIGINT)

    def _begin(self, trial: Trial) -> "subprocess.Popen[bytes]":
        environment = {name: x for name, x in os.environ.items() if name != "FORCE_COLOR"}
        environment["PYTHONSAFEPATH"] = "1"  # for what a training starts in turn
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(self.threads_each)
        command = [*self.program, *trial.next_command()]
        with writing(trial.log_path, "folder"):
            trial.log_path.unlink(missing_ok=True)
            with trial.log_path.open("xb") as log:  # "x": no link is followed
                return subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def _ended(self, trial: Trial, code: int) -> str:
        if code == 0 and trial.results_path.exists():
            return "finished"
        words, is_error = _last_words(trial.log_path, code)
        if self._stops and not is_error:
            self.interrupted.append(trial)
            return "interrupted"
        self.failures.append(Failure(trial, words))
        return "failed"


def _last_words(log: Path, code: int) -> tuple[str, bool]:
    """Return why a training ended: its error, and that it is one; else the last lines it wrote."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [index for index, line in enumerate(lines) if line.startswith(_ERROR)]
    if errors:
        error_lines = lines[errors[-1] :]
        return "\n".join([error_lines[0].removeprefix(_ERROR), *error_lines[1:]]), True
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else ""), False
    last = "\n".join(lines[-_LINES_OF_LAST_WORDS:])
    return last or f"ended with code {code}, and wrote nothing", False
