"""A training beside a busy process, and the memory that a training needs."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

from unrolled.benchmark.grid import OURS, Work
from unrolled.benchmark.lines import Progress, Settings, in_silence, prepare
from unrolled.benchmark.times import Times
from unrolled.benchmark.worker import Worker, WorkerError

__all__ = [
    "Busy",
    "Memory",
    "busy_title",
    "busy_work",
    "measure_busy",
    "measure_memory",
    "memory_title",
    "memory_work",
]

_CONTESTANTS = (OURS, "torch.nn")
_FEWEST_ROUNDS = 5
_TRAININGS = 3  # whose peak memory is taken: buffers come and go in the first already

# Ends with its parent, however that ends.
_SPIN = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


@dataclass(frozen=True)
class Busy:
    """Times of a training by contestant: alone, and beside a process that keeps one core busy."""

    work: Work
    alone: dict[str, Times]
    beside: dict[str, Times]

    @property
    def title(self) -> str:
        """The experiment's name."""
        return busy_title(self.work)

    def slowdown(self, name: str) -> float:
        """Return how many times as long a repeat takes."""
        return self.beside[name].median / self.alone[name].median


@dataclass(frozen=True)
class Memory:
    """The rise of resident memory above inputs and weights in a training, bytes by contestant."""

    work: Work
    peak_bytes: dict[str, int]

    @property
    def title(self) -> str:
        """The experiment's name."""
        return memory_title(self.work)

    @property
    def ratio(self) -> float:
        """Ours to torch's: below 1, ours needs less."""
        return self.peak_bytes[OURS] / self.peak_bytes["torch.nn"]


def busy_title(work: Work) -> str:
    """Return the name of a training beside a busy process."""
    return f"{work.title} beside a busy process"


def memory_title(work: Work) -> str:
    """Return the name of a training whose memory is measured."""
    return f"{work.title}, peak memory"


def busy_work(*, quick: bool = False) -> Work:
    """Return the work that is done beside a busy process."""
    return Work("lstm", "training", *((4, 8, 16, 16) if quick else (64, 128, 256, 256)))


def memory_work(*, quick: bool = False) -> Work:
    """Return the work whose memory is measured."""
    return Work("lstm", "training", *((8, 256, 64, 64) if quick else (64, 1024, 512, 512)))


def measure_busy(work: Work, settings: Settings, progress: Progress = in_silence) -> Busy:
    """Measure a training alone and beside a process that keeps a core busy, in turns.

    The process is pinned to no core: where it runs is the system's choice, as of any neighbour.

    Raises:
        WorkerError: A contestant could not do its work.
    """
    alone: dict[str, list[float]] = {name: [] for name in _CONTESTANTS}
    beside: dict[str, list[float]] = {name: [] for name in _CONTESTANTS}
    with Worker("torch", settings.num_threads) as worker, TemporaryDirectory() as folder:
        for name in _CONTESTANTS:
            prepare(worker, name, work, Path(folder))
        end = perf_counter() + settings.seconds
        turn = 0
        while turn < _FEWEST_ROUNDS or perf_counter() < end:
            progress(f"turn {turn + 1}")
            for name in _CONTESTANTS:
                for times in (alone, beside):
                    with _busy_core() if times is beside else nullcontext():
                        answer = worker.ask(do="time", name=name, seconds=settings.seconds / 40)
                    times[name] += answer["times"]
            turn += 1
    return Busy(
        work,
        {name: Times.of(values) for name, values in alone.items()},
        {name: Times.of(values) for name, values in beside.items()},
    )


def measure_memory(work: Work, settings: Settings) -> Memory:
    """Measure the peak memory of a training, each contestant in a process of its own.

    Raises:
        WorkerError: A contestant could not do its work.
    """
    peak_bytes = {}
    for name in _CONTESTANTS:
        with Worker("torch", settings.num_threads) as worker:
            answer = worker.ask(do="memory", name=name, work=asdict(work), repeats=_TRAININGS)
        peak_bytes[name] = answer["bytes"]
    return Memory(work, peak_bytes)


@contextmanager
def _busy_core() -> Iterator[None]:
    """Keep one core busy inside the `with` block."""
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", _SPIN])
    try:
        sleep(0.1)  # until it spins
        yield
        if child.poll() is not None:
            raise WorkerError(f"the busy process ended by itself, with status {child.returncode}")
    finally:
        child.kill()
        child.wait()
