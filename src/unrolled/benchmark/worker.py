"""The process that a contestant runs in, and the parent's hold on it.

They speak in lines of JSON, one answer a question, so that the parent decides who runs when. A
worker answers only when its threads rest: those of a pool go on spinning for a while after their
work, and would slow the next contestant down.

    python -P -m unrolled.benchmark.worker
"""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from unrolled.benchmark.grid import PROCESSES, Work

__all__ = ["Worker", "WorkerError"]

_WARM_BELOW_SECONDS = 0.05  # a shorter repeat is preceded by one that does not count
_LARGEST_BURST = 500  # repeats
_REST_SECONDS = 0.002
_LONGEST_WAIT_FOR_REST = 0.5

# An allocator that keeps what it is given back: large buffers cost their page faults once.
_TUNED = {"MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "2000000000"}


class WorkerError(Exception):
    """A contestant that could not do its work; the message is for the table's foot."""


class Worker:
    """A process of contestants, seen from the parent. A context manager: it ends with the block.

    Args:
        process: A key of `PROCESSES`.
        num_threads: Of every pool in it.
    """

    def __init__(self, process: str, num_threads: int) -> None:
        assert process in PROCESSES
        self.process = process
        self._errors = tempfile.TemporaryFile("w+")  # closed by __exit__
        self._folder = tempfile.TemporaryDirectory()
        environment = os.environ | {
            "PYTHONSAFEPATH": "1",
            "UNROLLED_BENCH_THREADS": str(num_threads),
            "NPROC": str(num_threads),  # the pool of XLA
            "JAX_PLATFORMS": "cpu",
            "TORCHINDUCTOR_CACHE_DIR": self._folder.name,  # compiled anew, so that it is timed
        }
        self._child = subprocess.Popen(
            # -P, and the variable for what a peer starts in turn: no module of the current folder
            # stands in for one that is installed
            [sys.executable, "-P", "-m", "unrolled.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment | (_TUNED if process == "tuned" else {}),
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._child.stdout
        for line in self._child.stdout:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, timeout_seconds: float = 600.0, **question: Any) -> dict[str, Any]:
        """Return the answer to a question: the name of an answer below, `do`, and its arguments.

        Raises:
            WorkerError: The worker could not do it, died, or took too long.
        """
        assert self._child.stdin
        try:
            self._child.stdin.write(json.dumps(question) + "\n")
            self._child.stdin.flush()
        except OSError:
            raise WorkerError(self._last_words()) from None
        try:
            line = self._answers.get(timeout=timeout_seconds)
        except queue.Empty:
            self._child.kill()
            raise WorkerError(f"not done after {timeout_seconds:.0f} s") from None
        if not line:
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _last_words(self) -> str:
        status = self._child.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"ended with status {status}: {lines[-1] if lines else 'without a word'}"

    def __enter__(self) -> Self:
        """Return the worker."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._child.kill()
        self._child.wait()
        for file in (self._child.stdin, self._child.stdout, self._errors):
            assert file
            try:
                file.close()
            except BrokenPipeError:  # a question that it did not live to read
                continue
        self._folder.cleanup()


def main() -> None:
    """Answer questions until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    contestants: dict[str, Any] = {}
    for line in sys.stdin:
        question = json.loads(line)
        do = _ANSWERS[question.pop("do")]
        try:
            answer = do(contestants, **question)
        except Exception as error:  # whatever a peer raises ends that peer alone
            first_line = (str(error).strip() or "without a word").splitlines()[0]
            answer = {"error": f"{type(error).__name__}: {first_line}"}
        _rest()
        print(json.dumps(answer), file=answers, flush=True)  # the protocol


def prepare(
    contestants: dict[str, Any], name: str, process: str, work: dict[str, Any], file: str
) -> dict[str, Any]:
    """Make a contestant, and write its numbers to `file`, an npz.

    Returns:
        seconds: What making it and its first repeat took. flop: Of a repeat, or None.
    """
    import numpy as np

    begin = time.perf_counter()
    contestant = _make(name, process, Work(**work))
    contestant.repeat()
    seconds = time.perf_counter() - begin
    with Path(file).open("wb") as npz:
        np.savez(npz, **contestant.answers())
    contestants[name] = contestant
    return {"seconds": seconds, "flop": contestant.flop}


def time_burst(contestants: dict[str, Any], name: str, seconds: float) -> dict[str, Any]:
    """Repeat for `seconds`, once at least.

    Returns:
        times: Of each repeat, in seconds.
    """
    contestant = contestants[name]
    clock = time.perf_counter
    times: list[float] = []
    warm = False
    begin = clock()
    while not times or (clock() - begin < seconds and len(times) < _LARGEST_BURST):
        contestant.forget()
        start = clock()
        contestant.repeat()
        elapsed = clock() - start
        if not warm and elapsed < _WARM_BELOW_SECONDS:
            begin = clock()
        else:
            times.append(elapsed)
        warm = True
    return {"times": times}


def peak_memory(
    contestants: dict[str, Any], name: str, work: dict[str, Any], repeats: int
) -> dict[str, Any]:
    """Measure how far memory rises above the inputs and weights in `repeats` trainings.

    A small training goes before, so that what is loaded or compiled once does not count.

    Returns:
        bytes: The rise of the peak of resident memory.
    """
    size = Work(**work).hidden_size
    small = _make(name, "torch", Work(work["cell"], "training", 2, 2, size, size))
    small.repeat()
    contestant = _make(name, "torch", Work(**work))
    contestants[name] = contestant  # and what it holds is held
    before = _peak_bytes()
    for _ in range(repeats):
        contestant.forget()
        contestant.repeat()
    return {"bytes": _peak_bytes() - before}


_ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {
    "prepare": prepare,
    "time": time_burst,
    "memory": peak_memory,
}


def _peak_bytes() -> int:
    from unrolled.training import peak_memory_bytes

    peak = peak_memory_bytes()
    if peak is None:
        raise OSError("this system does not tell how much memory a process has had")
    return peak


def _make(name: str, process: str, work: Work) -> Any:
    if process == "onnxruntime":
        from unrolled.benchmark import onnxruntime_peer

        return onnxruntime_peer.make(name, work)
    if process == "jax":
        from unrolled.benchmark import jax_peer

        return jax_peer.make(name, work)
    import torch

    from unrolled.benchmark import torch_peers

    num_threads = int(os.environ["UNROLLED_BENCH_THREADS"])
    if num_threads != torch.get_num_threads():  # as installed, where that is what is asked for
        torch.set_num_threads(num_threads)
    return torch_peers.make(name, work)


def _rest() -> None:
    """Wait until this process does nothing."""
    end = time.perf_counter() + _LONGEST_WAIT_FOR_REST
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(_REST_SECONDS)
        if time.process_time() - before < _REST_SECONDS / 4:
            return


if __name__ == "__main__":
    main()
