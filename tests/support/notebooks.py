"""Notebooks as tests read them: the cells of a source in the percent format."""

import re
from importlib.util import find_spec
from pathlib import Path

MARK = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)
LENGTH = re.compile(r"\b(updates|epochs)=\d+")
IMPORT = re.compile(r"^import matplotlib.*\n", re.MULTILINE)


def cells_of(source: str) -> list[tuple[str, str]]:
    """Return each cell of a source: "markdown" or "code", and its text."""
    before, *parts = MARK.split(source)
    assert before == "", f"text before the first cell: {before!r}"
    cells = []
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        text = body.strip("\n")
        if mark:
            lines = text.splitlines()
            assert all(line.startswith("#") for line in lines), f"code in a cell of text: {text}"
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)
        cells.append(("markdown" if mark else "code", text))
    return cells


def as_page(path: Path) -> str:
    """Return a notebook's source as a page of Markdown, its code in blocks.

    Trainings whose length is an argument are a few updates: whether the code runs is asked here,
    and what comes out is in the notebook. Where matplotlib is not installed, without the cells
    that draw.
    """
    cells = cells_of(LENGTH.sub(r"\1=2", path.read_text(encoding="utf-8")))
    if find_spec("matplotlib") is None:
        cells = [(kind, IMPORT.sub("", text)) for kind, text in cells if "plt." not in text]
    return "\n\n".join(
        f"```python\n{text}\n```" if kind == "code" else text for kind, text in cells
    )
