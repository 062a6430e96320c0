"""One line of the benchmark: its contestants take turns until its time is up.

Every contestant that is not in our process is in one of its own, made for this line alone. No two
run at once. A training repeat is forward and backward with a given gradient of the output, the
input requiring a gradient; before each, and not timed, all gradients are put to None, as
`optimizer.zero_grad()` does. Times are of the repeats of all turns together.

Before the first turn every contestant hands in its numbers; one that does not agree with ours is
not timed.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from unrolled.benchmark.grid import OURS, Work, base_of, missing, peers_of, process_of
from unrolled.benchmark.problem import Array
from unrolled.benchmark.times import Times
from unrolled.benchmark.worker import Worker, WorkerError

__all__ = ["Line", "Progress", "Settings", "in_silence", "measure", "measure_peak", "prepare"]

_FEWEST_ROUNDS = 5
_ROUNDS = 20  # as many as fit the time, where repeats are short
_TOLERANCE = 1e-4  # of a peer's numbers, relative norm
_TOLERANCE_MIXED = 2e-2  # the same, where each rounds to bfloat16 at places of its own
_PREPARE_SECONDS = 1200.0  # torch.compile unrolls a loop for minutes

Progress = Callable[[str], object]


def in_silence(_: str) -> None:
    """Take what is said of the progress, and show nothing."""


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Args:
        num_threads: Of every contestant's pool.
        seconds: Of each line, more where repeats are long.
        processes: Whose contestants take part, keys of `grid.PROCESSES`; ours always does.
    """

    num_threads: int
    seconds: float
    processes: frozenset[str]

    def contestants(self, work: Work) -> list[str]:
        """Return ours and the peers that take part in a work, ours first."""
        peers = [
            peer
            for peer in peers_of(work)
            if process_of(peer) in self.processes and not missing(process_of(peer))
        ]
        return [*dict.fromkeys([OURS, *map(base_of, peers)]), *peers]


@dataclass
class Line:
    """What was measured of one work, by contestant.

    times: Of the repeats. prepare_seconds: What making the contestant and its first repeat took.
    failures: Why a contestant has no times. peak_gflops: Of all threads, in the same turns; None
    where it was not measured.
    """

    work: Work
    times: dict[str, Times] = field(default_factory=dict)
    prepare_seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    peak_gflops: float | None = None

    @property
    def peers(self) -> list[str]:
        """The peers that were measured, or failed."""
        return [name for name in peers_of(self.work) if name in self.times | self.failures]

    def ratio(self, peer: str) -> float | None:
        """Return the peer's median time by ours, or None where one of the two is missing."""
        if peer not in self.times or base_of(peer) not in self.times:
            return None
        return self.times[peer].median / self.times[base_of(peer)].median

    @property
    def share_of_peak(self) -> float | None:
        """The useful operations a second of ours, as a part of the peak."""
        if self.peak_gflops is None or OURS not in self.times:
            return None
        return self.work.forward_flop / (1e6 * self.times[OURS].median) / self.peak_gflops


def measure(work: Work, settings: Settings, progress: Progress = in_silence) -> Line:
    """Measure one work.

    Args:
        work: What to do.
        settings: How long, and by whom.
        progress: Told what goes on.
    """
    line = Line(work)
    contestants = settings.contestants(work)
    if work.mode == "forward" and not work.short:
        contestants.append("peak")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        workers = {
            process: stack.enter_context(Worker(process, settings.num_threads))
            for process in dict.fromkeys(map(process_of, contestants))
        }
        running, flop = [], {}
        for name in contestants:
            progress(f"preparing {name}")
            try:
                answer = prepare(workers[process_of(name)], name, work, folder)
            except WorkerError as error:
                line.failures[name] = str(error)
            else:
                running.append(name)
                line.prepare_seconds[name] = answer["seconds"]
                flop[name] = answer["flop"]
        times: dict[str, list[float]] = {name: [] for name in running}
        for name, durations in _turns(running, workers, settings.seconds, line, progress):
            times[name] += durations
    line.times = {name: Times.of(values) for name, values in times.items() if values}
    if peak := line.times.pop("peak", None):
        line.peak_gflops = flop["peak"] / peak.median / 1e6
    return line


def measure_peak(num_threads: int) -> dict[str, float]:
    """Return the peak of one core, and of `num_threads` at once, by their number: GFLOP/s.

    Raises:
        WorkerError: It cannot be measured, for want of a C compiler.
    """
    work = Work("rnn", "forward", 1, 1, 1, 1)
    gflops = {}
    with Worker("torch", num_threads) as worker, TemporaryDirectory() as folder:
        for name, count in {"peak of one core": 1, "peak": num_threads}.items():
            flop = prepare(worker, name, work, Path(folder))["flop"]
            seconds = worker.ask(do="time", name=name, seconds=0.3)["times"]
            gflops[str(count)] = flop / Times.of(seconds).median / 1e6
    return gflops


def prepare(worker: Worker, name: str, work: Work, folder: Path) -> dict[str, float]:
    """Make a contestant, and compare its numbers with ours, which are in `folder`."""
    file = folder / f"{name}.npz"
    answer = worker.ask(
        _PREPARE_SECONDS,
        do="prepare",
        name=name,
        process=worker.process,
        work=asdict(work),
        file=str(file),
    )
    ours = folder / f"{OURS}.npz"
    if ours.exists() and not name.startswith("peak"):
        with np.load(ours) as expected, np.load(file) as found:
            tolerance = _TOLERANCE_MIXED if work.mixed else _TOLERANCE
            _compare(dict(expected), dict(found), tolerance)
    return answer


def _compare(expected: dict[str, Array], actual: dict[str, Array], tolerance: float) -> None:
    """Raise `WorkerError` unless the numbers agree."""
    for name, value in expected.items():
        error, size = np.linalg.norm(actual[name] - value), np.linalg.norm(value)
        if not error <= tolerance * size:  # nor NaN; after one step from zeros, some are zero
            raise WorkerError(f"{name} differs from ours by {error:.1e}, of {size:.1e}")


def _turns(
    running: list[str],
    workers: dict[str, Worker],
    seconds: float,
    line: Line,
    progress: Progress,
) -> Iterator[tuple[str, list[float]]]:
    """Yield a contestant and the times of its repeats, one turn after the other."""
    burst = seconds / _ROUNDS / max(1, len(running))
    end = perf_counter() + seconds
    turn = 0
    while running and (turn < _FEWEST_ROUNDS or perf_counter() < end):
        progress(f"turn {turn + 1}")
        # There and back, so that nobody always follows the same one.
        for name in running[:: -1 if turn % 2 else 1]:
            try:
                answer = workers[process_of(name)].ask(do="time", name=name, seconds=burst)
            except WorkerError as error:
                line.failures[name] = str(error)
                running = [other for other in running if other != name]
            else:
                yield name, answer["times"]
        turn += 1
