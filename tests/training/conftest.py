import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch):
    """As if the extra were not installed: it is slow to import, and has a test of its own."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


@pytest.fixture
def text_file(tmp_path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{n} times {n} is {n * n}; " for n in range(200)))
    return path
