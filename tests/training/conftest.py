import sys

import pytest


@pytest.fixture(autouse=True)
def without_tensorboard(monkeypatch):
    """As if the extra were not installed: it is slow to import, and has a test of its own."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
