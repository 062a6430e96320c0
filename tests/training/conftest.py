import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch):
    """As if the extra were not installed: it is slow to import, and has a test of its own."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def text_file(tmp_path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{n} times {n} is {n * n}; " for n in range(200)))
    return path
