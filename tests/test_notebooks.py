"""Notebooks are what their sources say, have been run, and are small. test_docs.py runs them."""

import base64
import json
from pathlib import Path

import pytest

from support.notebooks import cells_of

ROOT = Path(__file__).parents[1]
SOURCES = sorted(ROOT.glob("notebooks/*.py"))
LARGEST_PICTURE = 60_000  # bytes
LARGEST_PRINT = 3_000  # characters of what one cell prints


@pytest.fixture(params=SOURCES, ids=lambda path: path.stem)
def notebook(request):
    return request.param, json.loads(request.param.with_suffix(".ipynb").read_text("utf-8"))


def test_every_notebook_has_a_source():
    assert {path.stem for path in ROOT.glob("notebooks/*.ipynb")} == {path.stem for path in SOURCES}


def test_a_notebook_is_made_of_its_source(notebook):
    path, made = notebook
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in made["cells"]]
    assert cells == cells_of(path.read_text("utf-8")), "`make notebooks` makes it again"


def test_a_notebook_was_run_from_its_beginning_to_its_end(notebook):
    code = [cell for cell in notebook[1]["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert kinds <= {"stream", "display_data"}  # no error, and no value that is shown by chance


def test_what_a_notebook_keeps_is_small_and_names_no_place_of_a_machine(notebook):
    outputs = [each for cell in notebook[1]["cells"] for each in cell.get("outputs", [])]
    for output in outputs:
        if output["output_type"] == "stream":
            assert output["name"] == "stdout", output["text"]
            text = "".join(output["text"])
            assert len(text) <= LARGEST_PRINT
            assert "/tmp" not in text
            assert "/home" not in text
        else:
            assert len(base64.b64decode(output["data"]["image/png"])) <= LARGEST_PICTURE


def test_every_source_is_reached_from_the_page_of_notebooks():
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert all(f"(../notebooks/{path.stem}.ipynb)" in page for path in SOURCES)
