"""The trainings of a comparison, each a process of its own, some of them side by side.

What is finished is not done again, what was interrupted goes on, and where one fails the others go
on. Several such programs, on one computer or on many, can work through one folder: what one has
claimed the others leave to it.

Not here: the display (`cli/compare.py`), and what came out (`gather.py`).
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.comparison.claims import Claims, Holder
from unrolled.comparison.options import CompareOptions
from unrolled.comparison.plan import Trial
from unrolled.training import writing

__all__ = ["Failure", "Runner"]

PROGRAM = (sys.executable, "-P", "-m", "unrolled")
"""This package's command; -P: no module of the user's folder stands in for one of ours."""

_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_BETWEEN_SEARCHES = 1.0  # for what others have given back or ended
_LINES_OF_LAST_WORDS = 6
_ERROR = "unrolled: error: "
# The others: a training must not take the trainings of other runners, of one torchrun, for its own.
_NOT_PASSED_ON = ("FORCE_COLOR", "WORLD_SIZE", "TORCHELASTIC_MAX_RESTARTS")


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
        claims: Those of this process; others have theirs.

    Attributes:
        running: The trainings at work here.
        waiting: Those that have not begun here; of those that others have claimed, `elsewhere`.
        elsewhere: Who has claimed which.
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
        claims: Claims | None = None,
    ) -> None:
        CompareOptions(num_processes=num_processes)  # refuses
        self.num_processes = num_processes
        self.program = program
        self.threads_each = max(1, num_threads // num_processes)
        self.waiting = deque(trial for trial in trials if not trial.results_path.exists())
        self.running: dict[Trial, subprocess.Popen[bytes]] = {}
        self.elsewhere: dict[Trial, Holder] = {}
        self.claims = Claims() if claims is None else claims
        self._looked = -math.inf
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
        on_claim: Callable[[Trial, Holder], None],
    ) -> None:
        """Run all trainings to their ends, and wait for those that others have claimed.

        Args:
            on_start: Is told of every training that begins.
            on_end: Is told of every one that ended: "finished", "failed" or "interrupted", or
                "finished elsewhere".
            on_wait: Is called several times a second.
            on_claim: Is told of every one that another process has claimed, and once more where
                that has died, before the training begins here.

        Raises:
            RunError: A log or a claim cannot be written.
        """
        try:
            while self.running or (self.waiting and not self._stops):
                if self._may_begin():
                    self._look(on_start, on_end, on_claim)
                self._leave_to_others(self.claims.keep())
                self._pass_on_stops()
                for trial, process in list(self.running.items()):
                    if process.poll() is not None:
                        how = self._ended(trial, process.returncode)
                        del self.running[trial]
                        self.claims.release(trial.path)
                        on_end(trial, how)
                on_wait()
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            for process in self.running.values():  # only when something of ours has failed
                process.terminate()
            for trial, process in self.running.items():
                process.wait()  # it saves: only then can another one go on with it
                self.claims.release(trial.path)

    def _may_begin(self) -> bool:
        room = len(self.running) < self.num_processes
        return bool(self.waiting) and room and not self._stops

    def _look(
        self,
        on_start: Callable[[Trial], None],
        on_end: Callable[[Trial, str], None],
        on_claim: Callable[[Trial, Holder], None],
    ) -> None:
        """Begin what may begin, in order; leave what others have claimed waiting."""
        now, all_claimed = time.monotonic(), len(self.elsewhere) == len(self.waiting)
        if all_claimed and now - self._looked < _SECONDS_BETWEEN_SEARCHES:
            return
        self._looked = now
        for trial in list(self.waiting):
            if trial.results_path.exists():
                self.waiting.remove(trial)
                self.elsewhere.pop(trial, None)
                on_end(trial, "finished elsewhere")
                continue
            if not self._may_begin():
                return
            holder = self.claims.holder(trial.path)
            is_mine = self.claims.take(trial.path)
            if holder is not None and (trial not in self.elsewhere or (is_mine and holder.is_gone)):
                on_claim(trial, holder)
            if not is_mine:
                if holder is not None:
                    self.elsewhere[trial] = holder
                continue
            self.elsewhere.pop(trial, None)
            if trial.results_path.exists():  # it ended between the look and the claim
                self.claims.release(trial.path)
                continue
            self.waiting.remove(trial)
            self.running[trial] = self._begin(trial)
            on_start(trial)

    def _leave_to_others(self, lost: Sequence[Path]) -> None:
        """End trainings whose claims were taken over, as this process had given no sign of life."""
        for trial, process in list(self.running.items()):
            if trial.path in lost:
                process.kill()
                process.wait()
                del self.running[trial]
                self.waiting.append(trial)

    def _pass_on_stops(self) -> None:
        """Tell each training of the stops that it has not heard of."""
        for trial, process in self.running.items():
            if self._told.get(trial, 0) < self._stops:
                self._told[trial] = self._stops
                process.send_signal(signal.SIGINT)

    def _begin(self, trial: Trial) -> "subprocess.Popen[bytes]":
        environment = {name: x for name, x in os.environ.items() if name not in _NOT_PASSED_ON}
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
