"""Who trains what, where several computers work through one folder that they all see.

A claim is a file beside the run, `lstm-0.claim-1`, which only one of them can make. Whoever holds
it gives it a new time every few seconds, and a training that is alive writes its log; where both
times stand still, the process has died, and the next claim, `lstm-0.claim-2`, takes the place. So
nothing is ever taken away from a claim, and no two can hold the last one. Clocks are not compared:
what counts is how long a time was seen to stand.

Not here: what a training is, and running it (`runner.py`).
"""

import itertools
import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from unrolled.training import writing

__all__ = ["SILENCE_SECONDS", "Claims", "Holder"]

SILENCE_SECONDS = 180.0
"""How long a claim's time may stand still: longer than a network's file system is behind."""

_SIGNS = 12  # of life, in that time


@dataclass(frozen=True)
class Holder:
    """Who holds a claim.

    Args:
        name: The computer and the process: "node7, process 4711".
        silent_seconds: For how long it was seen to give no sign of life.
        is_gone: Whether that is too long.
    """

    name: str
    silent_seconds: float
    is_gone: bool


class Claims:
    """The claims of one process on runs.

    Args:
        silence_seconds: A claim without a sign of life for longer is of a process that died.
        clock: Seconds since anything.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     run, mine, other = Path(folder, "lstm-0"), Claims(), Claims()
        ...     (mine.take(run), other.take(run))
        (True, False)
    """

    def __init__(
        self,
        silence_seconds: float = SILENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.silence_seconds = silence_seconds
        self._clock = clock
        content = {"computer": socket.gethostname(), "process": os.getpid(), "id": uuid4().hex}
        self._signature = json.dumps(content) + "\n"  # computers may have the same name
        self._held: dict[Path, Path] = {}  # of each run the claim
        self._seen: dict[Path, tuple[list[int], float]] = {}  # others' times, and since when
        self._signed = clock()

    def take(self, run: Path) -> bool:
        """Claim a run; return whether it is this process's now.

        Raises:
            RunError: The folder cannot be read or written.
        """
        with _in_folder(run):
            last = _last(run)  # looked up once: whoever is faster from here on makes the same file
            if last > 0:
                holder = self._holder(run, _claim(run, last))
                if holder is None or not holder.is_gone:  # ours, given back just now, or alive
                    return run in self._held
            claim = _claim(run, last + 1)
            try:
                with claim.open("x", encoding="utf-8") as file:
                    file.write(self._signature)
            except FileExistsError:  # another one was faster
                return False
        self._held[run] = claim
        return True

    def holder(self, run: Path) -> Holder | None:
        """Return who else holds a run; None where nobody does.

        Raises:
            RunError: The folder cannot be read.
        """
        with _in_folder(run):
            return self._holder(run, _claim(run, _last(run)))

    def _holder(self, run: Path, claim: Path) -> Holder | None:
        """Return who else has made a claim; None where nobody has."""
        if claim == self._held.get(run):
            return None
        try:
            log = run / "metrics.jsonl"  # a training may go on without the process that began it
            changed = [file.stat().st_mtime_ns for file in (claim, log) if file.exists()]
            content = claim.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        now = self._clock()
        before, since = self._seen.get(claim, (changed, now))
        if before != changed:
            since = now
        self._seen[claim] = changed, since
        return Holder(_name(content), now - since, now - since > self.silence_seconds)

    def keep(self) -> list[Path]:
        """Give a sign of life where it is time; return the runs that others have taken meanwhile.

        That is what happens to a process that was stopped for too long, and goes on.

        Raises:
            RunError: The folder cannot be read or written.
        """
        if self._clock() - self._signed <= self.silence_seconds / _SIGNS:
            return []
        self._signed = self._clock()
        lost = [run for run in self._held if not self._sign(run)]
        for run in lost:
            del self._held[run]
        return lost

    def _sign(self, run: Path) -> bool:
        """Give a claim a new time; return whether it is still this process's, and the last one."""
        claim = self._held[run]
        with _in_folder(run):
            try:
                if not self._is_ours(claim) or claim != _claim(run, _last(run)):
                    return False
                os.utime(claim)
            except FileNotFoundError:  # somebody has deleted it
                return False
        return True

    def _is_ours(self, claim: Path) -> bool:
        """Whether this process made a file: another one may have made one of that name since."""
        return claim.read_text(encoding="utf-8") == self._signature

    def release(self, run: Path) -> None:
        """Give a run back, for others to go on with; what was lost is left to them.

        Raises:
            RunError: The folder cannot be read or written.
        """
        held = self._held.pop(run, None)
        with _in_folder(run):
            if held is None or not held.exists() or not self._is_ours(held):
                return
            for number in itertools.count(1):  # ours last: none before it becomes the last one
                claim = _claim(run, number)
                claim.unlink(missing_ok=True)
                if claim == held:
                    return


def _in_folder(run: Path) -> AbstractContextManager[None]:
    """Turn the system's refusal of the folder that a run is in into a `RunError`."""
    return writing(run.parent, "folder")


def _claim(run: Path, number: int) -> Path:
    return run.with_name(f"{run.name}.claim-{number}")


def _last(run: Path) -> int:
    """Return the number of the last claim on a run; 0 where there is none."""
    before = f"{run.name}.claim-"
    names = os.listdir(run.parent)  # noqa: PTH208  # asked for often, in a folder of many files
    numbers = [name.removeprefix(before) for name in names if name.startswith(before)]
    return max((int(each) for each in numbers if each.isdecimal()), default=0)


def _name(content: str) -> str:
    try:
        holder = json.loads(content)
        return f"{holder['computer']}, process {holder['process']}"
    except (ValueError, LookupError, TypeError):  # made, and not written yet
        return "another process"
