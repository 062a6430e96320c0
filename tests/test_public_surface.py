"""What users can rely on: the names in `__all__`, and that an import does nothing but import."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import unrolled

PACKAGES = ["unrolled"] + [
    module.name
    for module in pkgutil.iter_modules(unrolled.__path__, "unrolled.")
    if module.ispkg and module.name != "unrolled.cli"  # its surface is its commands
]


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_exist_and_are_documented(package):
    module = importlib.import_module(package)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert value.__doc__, f"{package}.{name} has no docstring"


def test_the_names_that_are_loaded_late_are_the_public_ones():
    late = [name for names in unrolled._HOMES.values() for name in names]
    assert sorted(late) == sorted(unrolled.__all__) == dir(unrolled)
    with pytest.raises(AttributeError, match="no attribute 'LTSM'"):
        _ = unrolled.LTSM


IMPORT_ALL = """
import random, sys
import numpy, torch

def world():
    return [
        random.getstate(),
        repr(numpy.random.get_state()),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.get_num_interop_threads(),
        torch.get_default_dtype(),
        torch.get_default_device(),
    ]

before, loaded = world(), set(sys.modules)
import importlib
for module in sys.argv[1:]:
    importlib.import_module(module)
assert world() == before, "the world has changed"
new = sys.modules.keys() - loaded
heavy = {"rich", "tensorboard", "tokenizers", "typer", "unrolled.cli"}
assert not heavy & new, heavy & new
"""


def test_importing_costs_nothing():
    """No module prints, seeds, configures or loads what only some commands need."""
    folder = Path(unrolled.__path__[0])
    files = [path.relative_to(folder.parent).with_suffix("") for path in folder.rglob("*.py")]
    modules = sorted(".".join(file.parts).removesuffix(".__init__") for file in files)
    modules = [name for name in modules if not name.startswith(("unrolled.cli", "unrolled.__"))]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL, *modules],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout + done.stderr == ""
