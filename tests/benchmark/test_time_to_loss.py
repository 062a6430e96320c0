"""The race to a loss runs as it is written: ours and both plain scripts, at small sizes."""

import json
import runpy
import sys
from pathlib import Path

import torch

import unrolled

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_time_to_loss.py"


def test_all_three_are_judged_at_the_same_numbers_of_updates(tmp_path, monkeypatch, capsys):
    output, _ = unrolled.LSTM(3, 4)(torch.randn(2, 1, 3))  # its kernel is compiled before the race
    output.sum().backward()
    text, results = tmp_path / "text.txt", tmp_path / "results.json"
    text.write_text("".join(f"{n} times {n} is {n * n}; " for n in range(200)))
    sizes = {"hidden-size": 4, "batch-size": 4, "k1": 8, "evaluate-every": 4, "threads": 1}
    times = {"minutes": 0.02, "longest-minutes": 0.01, "loss": 0.01}
    arguments = [str(word) for name, n in {**sizes, **times}.items() for word in (f"--{name}", n)]
    monkeypatch.setattr(
        sys, "argv", [str(SCRIPT), str(text), *arguments, "--results", str(results)]
    )
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    rows = json.loads(results.read_text())["rows"]
    assert [row["name"] for row in rows] == [
        "unrolled",
        "plain torch",
        "plain torch, our recipe",
    ]
    for row in rows:
        characters = [point[0] for point in row["points"]]
        assert characters[0] == 0
        assert all(count % 4 == 0 for count in characters)
        assert row["seconds_to_loss"] is None
    assert "nats" in capsys.readouterr().out
