"""Tables and targets, from measurements made by hand."""

import json

import pytest

from unrolled.benchmark import report
from unrolled.benchmark.experiments import Busy, Memory
from unrolled.benchmark.grid import OURS, Work
from unrolled.benchmark.lines import Line
from unrolled.benchmark.times import Times


def times(median):
    return Times(5, median, (0.9 * median, 1.1 * median), 0.8 * median)


@pytest.fixture
def results():
    training = Line(Work("lstm", "training", 64, 128, 256, 256))
    training.times = {
        OURS: times(100.0),
        f"{OURS}, tuned": times(80.0),
        "torch.nn": times(125.0),
        "torch.nn, tuned": times(60.0),
    }
    training.failures = {"JAX": "ended with status -9: without a word"}
    forward = Line(Work("lstm", "forward", 64, 128, 256, 256))
    forward.times = {OURS: times(50.0), "torch.nn": times(49.0)}
    forward.peak_gflops = 200.0
    return {"lines": [report.line_as_json(line) for line in (training, forward)]}


def test_a_ratio_is_the_peers_median_by_ours_of_the_same_allocator(results):
    training, _ = results["lines"]
    assert training["ratio"] == {"torch.nn": 1.25, "torch.nn, tuned": 0.75}


def test_a_target_is_met_from_its_value_on(results):
    training, forward = results["lines"]
    assert training["targets"] == {
        "torch.nn": {"at_least": 1.2, "met": True},
        "torch.nn, tuned": {"at_least": 0.97, "met": False},
    }
    assert forward["targets"]["torch.nn"] == {"at_least": 1.0, "met": False}


def test_the_share_of_the_peak_is_useful_operations_by_time_and_peak(results):
    _, forward = results["lines"]
    flop = 2 * 64 * 128 * 4 * 256 * (256 + 256)
    assert forward["share_of_peak"] == pytest.approx(flop / 0.050 / 200e9)
    assert forward["targets"]["peak"] == {"at_least": 0.85, "met": True}


def test_a_contestant_without_times_meets_no_target():
    line = Line(Work("lstm", "training", 64, 128, 256, 256), failures={"torch.nn": "gone"})
    assert report.line_as_json(line)["targets"]["torch.nn"]["met"] is False


def test_the_table_shows_ratios_marked_by_their_targets(results):
    assert report.as_markdown(report.tables(results)) == (
        "**LSTM**\n\n"
        "|  | unrolled, ms | of peak | torch.nn | torch.nn, tuned | JAX |\n"
        "|---|---:|---:|---:|---:|---:|\n"
        "| B64 T128 H256 training | 100.0 ±10% |  | 1.25 ✓ | 0.75 < 0.97 | failed |\n"
        "| B64 T128 H256 forward | 50.00 ±10% | 86% ✓ | 0.98 < 1 |  |  |"
    )


def test_the_foot_counts_the_targets_and_names_what_is_missed_or_failed(results):
    assert report.summary(results) == [
        "2 of 4 targets met",
        "missed: LSTM: B64 T128 H256 training, torch.nn, tuned",
        "missed: LSTM: B64 T128 H256 forward, torch.nn",
        "failed: LSTM: B64 T128 H256 training, JAX: ended with status -9: without a word",
    ]


def test_slowdown_and_memory_are_asked_to_stay_below_their_targets():
    work = Work("lstm", "training", 64, 128, 256, 256)
    alone = {OURS: times(100.0), "torch.nn": times(100.0)}
    busy = report.busy_as_json(Busy(work, alone, {OURS: times(201.0), "torch.nn": times(310.0)}))
    assert busy["slowdown"] == {OURS: pytest.approx(2.01), "torch.nn": pytest.approx(3.1)}
    assert busy["targets"] == {OURS: {"at_most": 2.0, "met": False}}
    work = Work("lstm", "training", 64, 1024, 512, 512)
    memory = report.memory_as_json(Memory(work, {OURS: 80 * 2**20, "torch.nn": 100 * 2**20}))
    assert memory["targets"] == {OURS: {"at_most": 0.9, "met": True}}
    text = report.as_markdown(report.tables({"lines": [], "busy": busy, "memory": memory}))
    assert "| unrolled | 100.0 | 201.0 | 2.01 > 2 |" in text
    assert "| torch.nn | 100.0 | 310.0 | 3.10 |" in text
    assert "| unrolled | 80 | 0.80 ✓ |" in text


def test_no_target_is_asked_of_the_memory_of_a_small_training():
    memory = Memory(Work("lstm", "training", 8, 256, 64, 64), {OURS: 9, "torch.nn": 9})
    assert report.memory_as_json(memory)["targets"] == {}
    (table,) = report.tables({"lines": [], "memory": report.memory_as_json(memory)})
    assert table.rows[0][2] == report.Entry("1.00")


def test_the_table_is_the_same_from_the_file_that_was_kept(results):
    kept = json.loads(json.dumps(results))
    assert report.tables(kept) == report.tables(results)
