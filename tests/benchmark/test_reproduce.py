"""Of `benchmarks/reproduce` what several computers share; its trainings are not run."""

import json
import runpy
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "reproduce"
PAPERS = tomllib.loads((FOLDER / "papers.toml").read_text())
FIGURES = {"metrics": {row["metric"]: 0.5 for row in PAPERS.values()}}
FIGURES |= {"parameters": 9, "updates": 3, "elapsed_seconds": 1.0, "seed": 0}


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The program's `main`, for the folder `out`; it counts in `begun` what it would train."""
    names = runpy.run_path(str(FOLDER / "run.py"))
    main, begun = names["main"], Counter()

    def run(command, check):
        assert check
        path = Path(command[command.index("--run") + 1])
        begun[path.name] += 1
        time.sleep(0.01)
        path.mkdir()
        (path / "results.json").write_text(json.dumps(FIGURES))

    monkeypatch.setitem(main.__globals__, "subprocess", SimpleNamespace(run=run))
    argv = ["run.py", *("bai-adding", "bai-copy", "bai-jsb"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", argv)
    main.begun = begun
    return main


def test_two_that_share_a_folder_train_everything_once_and_no_figure_is_lost(program, tmp_path):
    with ThreadPoolExecutor() as pool:
        for future in [pool.submit(program) for _ in range(2)]:
            future.result()
    rows = ("bai-adding", "bai-copy", "bai-jsb")
    trainings = [(row, cell) for row in rows for cell in PAPERS[row]["published"]]
    assert program.begun == {f"{row}-{cell}": 1 for row, cell in trainings}
    measured = json.loads((tmp_path / "out" / "reproduce.json").read_text())
    assert set(measured) == {f"{row}/{cell}" for row, cell in trainings}
    assert {each["figure"] for each in measured.values()} == {0.5}
    left = {path.name for path in (tmp_path / "out").iterdir()} - set(program.begun)
    assert left == {"data", "reproduce.json"}


def test_a_figure_that_another_one_adds_at_the_same_time_is_kept(program, tmp_path):
    add, claims = program.__globals__["add"], program.__globals__["Claims"]
    path = tmp_path / "reproduce.json"
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(add, path, f"row/{n}", {"figure": n}, claims()) for n in range(8)]
        for future in futures:
            future.result()
    assert json.loads(path.read_text()) == {f"row/{n}": {"figure": n} for n in range(8)}
