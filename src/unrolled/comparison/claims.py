"""Who trains what, where several computers work through one folder that they all see.

A claim is a file beside the run, `lstm-0.claim-1`, which only one of them can make. Whoever holds
it gives it a new time every few seconds, and a training that is alive writes its log; where both
times stand still, the process has died, and the next claim, `lstm-0.claim-2`, takes the place. So
nothing is ever taken away from a claim, and no two can hold the last one. Clocks are not compared:
what counts is how long a time was seen to stand.

Not here: what a training is, and running it (`runner.py`).
"""

import json
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
        self._held: dict[Path, Path] = {}  # of each run the claim
        self._seen: dict[Path, tuple[list[int], float]] = {}  # others' times, and since when
        self._signed = clock()

    def take(self, run: Path) -> bool:
        """Claim a run; return whether it is this process's now.

        Raises:
            OSError: The folder cannot be read or written.
        """
        holder, last = self.holder(run), _last(run)
        if holder is not None and not holder.is_gone:
            return False
        claim = _claim(run, last + 1)
        content = {"computer": socket.gethostname(), "process": os.getpid()}
        try:
            with claim.open("x", encoding="utf-8") as file:
                file.write(json.dumps(content) + "\n")
        except FileExistsError:  # another one was faster
            return False
        self._held[run] = claim
        return True

    def holder(self, run: Path) -> Holder | None:
        """Return who else holds a run; None where nobody does."""
        claim = _claim(run, _last(run))
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
        """
        lost = [run for run, claim in self._held.items() if claim != _claim(run, _last(run))]
        for run in lost:
            del self._held[run]
        if self._clock() - self._signed > self.silence_seconds / _SIGNS:
            self._signed = self._clock()
            for claim in self._held.values():
                os.utime(claim)
        return lost

    def release(self, run: Path) -> None:
        """Give a run back, for others to go on with; what was lost is left to them."""
        held = self._held.pop(run, None)
        if held is None:
            return
        number = _number(held, run)
        for each in range(1, number + 1):  # ours last: none before it becomes the last one
            _claim(run, each).unlink(missing_ok=True)


def _claim(run: Path, number: int) -> Path:
    return run.with_name(f"{run.name}.claim-{number}")


def _number(file: Path, run: Path) -> int:
    """Return the number of a claim on a run; 0 of any other file."""
    match = re.fullmatch(re.escape(run.name) + r"\.claim-(\d+)", file.name)
    return int(match[1]) if match else 0


def _last(run: Path) -> int:
    """Return the number of the last claim on a run; 0 where there is none."""
    return max((_number(file, run) for file in run.parent.iterdir()), default=0)


def _name(content: str) -> str:
    try:
        holder = json.loads(content)
        return f"{holder['computer']}, process {holder['process']}"
    except (ValueError, LookupError, TypeError):  # made, and not written yet
        return "another process"
