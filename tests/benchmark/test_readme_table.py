"""README's figures are those of the results that the repository keeps."""

import json
import runpy
from pathlib import Path

import pytest

from unrolled.benchmark.grid import all_works, peers_of

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "readme_table.py"))


def test_the_table_of_the_readme_is_that_of_the_results():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    results = json.loads((ROOT / "benchmarks" / "results" / "bench.json").read_text())
    assert SCRIPT["with_table"](page, results) == page


def test_every_row_is_a_line_that_is_measured():
    measured = {(work.title, peer) for work in all_works() for peer in peers_of(work)}
    assert {(title, peer) for title, peer, _ in SCRIPT["ROWS"]} <= measured


def test_a_page_without_markers_is_refused():
    with pytest.raises(AssertionError, match="needs the markers"):
        SCRIPT["with_table"]("# A page\n", {})


def test_figures_of_a_busy_machine_are_marked():
    machine = {"cores": 2, "vector_extensions": "AVX2", "versions": {"torch": "2"}, "threads": 2}
    for load, marked in ((0.1, False), (4.0, True), (None, True)):
        results = {"machine": machine | {"load_before": load}, "lines": []}
        assert ("Measured on a busy machine" in SCRIPT["table"](results)) is marked
