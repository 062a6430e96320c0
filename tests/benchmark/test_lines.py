"""Whole lines, measured in worker processes as the command does it."""

import math
import subprocess
import time
from contextlib import ExitStack

import pytest

from unrolled.benchmark import experiments
from unrolled.benchmark.experiments import measure_busy, measure_memory
from unrolled.benchmark.grid import OURS, Work, missing, peers_of, process_of
from unrolled.benchmark.lines import Settings, measure, measure_peak, prepare
from unrolled.benchmark.worker import Worker, WorkerError

SECONDS = 0.02


def settings(*processes):
    return Settings(num_threads=1, seconds=SECONDS, processes=frozenset(processes))


def work_of(cell, mode, **options):
    sizes = {"rows": 3, "steps": 1 if mode == "step" else 7, "input_size": 5, "hidden_size": 9}
    return Work(cell, mode, **sizes | options)


def measured(work, *processes):
    """Measure a line whose contestants all agree with ours, or fail."""
    wanted = settings(*processes)
    line = measure(work, wanted)
    assert line.failures == {}
    assert set(line.times) == set(wanted.contestants(work))
    for times in line.times.values():
        assert times.repeats >= 5
        assert 0 < times.minimum <= times.quartiles[0] <= times.median <= times.quartiles[1]
    return line


@pytest.fixture(scope="module")
def agree(tmp_path_factory):
    """Compare a peer's numbers with ours; one process for all works, because it starts slowly."""
    with ExitStack() as stack:
        workers = {}

        def compare(work, peer):
            folder = tmp_path_factory.mktemp("answers")
            for name in (OURS, peer):
                process = process_of(name)
                if process not in workers:
                    workers[process] = stack.enter_context(Worker(process, 1))
                prepare(workers[process], name, work, folder)  # compares
            assert len(list(folder.iterdir())) == 2

        yield compare


def test_everyone_takes_turns_and_is_compared_under_its_own_allocator():
    work, wanted = work_of("lstm", "training"), settings("torch", "tuned")
    line = measure(work, wanted)
    assert line.failures == {}
    assert list(line.times) == [OURS, "unrolled, tuned", "torch.nn", "torch.nn, tuned"]
    for times in line.times.values():
        assert times.repeats >= 5
        assert 0 < times.minimum <= times.quartiles[0] <= times.median <= times.quartiles[1]
    ours, tuned = line.times["unrolled, tuned"], line.times["torch.nn, tuned"]
    assert line.ratio("torch.nn, tuned") == tuned.median / ours.median


WORKS = [
    work_of("lstm", "training"),
    work_of("gru", "training", ragged=True),
    work_of("lstm", "training", num_layers=2, bidirectional=True),
    work_of("own_janet", "training"),
    work_of("own_lstm", "training"),
    work_of("gru_before", "training"),
    work_of("gru", "forward"),
    work_of("lstm", "step", rows=1),
    work_of("gru", "step", rows=1),
    work_of("lstm", "training", weights="bf16"),
    work_of("gru", "training", weights="bf16"),
    work_of("lstm", "step", rows=1, weights="bf16"),
    work_of("gru", "step", rows=1, weights="int8"),
]


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.title)
def test_torchs_ways_of_doing_a_work_agree_with_ours(agree, work):
    peers = [peer for peer in peers_of(work) if process_of(peer) == "torch"]
    assert peers
    for peer in peers:
        agree(work, peer)


@pytest.mark.skipif(bool(missing("onnxruntime")), reason="no onnx or onnxruntime here")
@pytest.mark.parametrize("mode", ["forward", "step"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "gru_before"])
def test_onnx_runtime_agrees_with_ours(agree, cell, mode):
    agree(work_of(cell, mode, rows=1 if mode == "step" else 3), "ONNX Runtime")


@pytest.mark.skipif(bool(missing("jax")), reason="no jax here")
@pytest.mark.parametrize("mode", ["forward", "training"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "janet", "gru_before"])
def test_jax_agrees_with_ours(agree, cell, mode):
    agree(work_of(cell, mode), "JAX")


def test_a_peer_that_computes_something_else_is_not_timed(monkeypatch):
    monkeypatch.setattr("unrolled.benchmark.lines._TOLERANCE", 1e-12)
    line = measure(work_of("rnn", "forward"), settings("torch"))
    assert "differs from ours" in line.failures["torch.nn"]
    assert "torch.nn" not in line.times


def test_the_peak_is_that_of_a_machine_of_these_days():
    peak = measure_peak(2)
    assert list(peak) == ["1", "2"]
    assert 1 < peak["1"] < 1000  # GFLOP/s


def test_a_worker_that_dies_says_why():
    with Worker("torch", 1) as worker:
        with pytest.raises(WorkerError, match="KeyError: 'no such cell'"):
            worker.ask(
                do="prepare",
                name=OURS,
                process="torch",
                work=vars(work_of("no such cell", "forward")),
                file="",
            )
        worker._child.terminate()
        with pytest.raises(WorkerError, match="ended with status -15"):
            worker.ask(do="time", name=OURS, seconds=0.1)


def test_a_worker_that_takes_too_long_is_ended():
    with Worker("torch", 1) as worker, pytest.raises(WorkerError, match="not done after 0 s"):
        worker.ask(0.01, do="memory", name=OURS, work=vars(work_of("lstm", "training")), repeats=1)


def test_a_training_is_timed_beside_a_busy_process():
    work = Work("lstm", "training", 4, 8, 16, 16)
    busy = measure_busy(work, settings("torch"))
    assert all(math.isfinite(busy.slowdown(name)) for name in (OURS, "torch.nn"))


def test_memory_rises_by_what_a_training_keeps_at_least():
    # The gates of all steps, which both keep for the backward pass: 4 T B H floats.
    work = Work("lstm", "training", 16, 256, 64, 64)
    memory = measure_memory(work, settings("torch"))
    assert min(memory.peak_bytes.values()) > 4 * 4 * 256 * 16 * 64


def test_a_neighbour_that_does_not_run_is_an_error(monkeypatch):
    children, start = [], subprocess.Popen

    def starting(*arguments, **options):
        children.append(start(*arguments, **options))
        return children[-1]

    monkeypatch.setattr("subprocess.Popen", starting)
    monkeypatch.setattr(experiments, "_SPIN", "raise SystemExit(3)")
    with pytest.raises(WorkerError, match="status 3"), experiments._busy_core():
        children[0].wait()


def test_the_neighbour_runs_until_it_is_no_longer_wanted():
    with experiments._busy_core():
        time.sleep(0.5)


def test_a_worker_runs_no_module_of_the_current_folder(tmp_path, monkeypatch):
    for name in ("json", "queue", "numpy", "unrolled", "torch"):
        tmp_path.joinpath(f"{name}.py").write_text("open('was-run', 'w')")
    monkeypatch.chdir(tmp_path)
    with Worker("torch", 1) as worker:
        prepare(worker, OURS, work_of("rnn", "forward"), tmp_path)
    assert not tmp_path.joinpath("was-run").exists()
