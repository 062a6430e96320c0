"""From a cell to its compiled library: captured, emitted and compiled where the cache has none."""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from unrolled.cells import Cell
from unrolled.kernels import capturing, emitting
from unrolled.kernels.building.cache import load_defined, load_library

__all__ = ["cell_library"]


def cell_library(cell: Cell, prove: Callable[[ctypes.CDLL], None]) -> ctypes.CDLL:
    """Return the compiled kernel of `cell`.

    Args:
        cell: The equations.
        prove: Is given a new library before it is used; raises a KernelError if it is wrong.

    Raises:
        EquationsError: No kernel can do what the equations hold.
        KernelError: There is no compiler, or it fails, or the library cannot be stored or loaded.
    """
    if cell.equations.__module__.startswith("unrolled.cells."):
        # known without capturing, which takes ten times as long
        definition = _files_behind(cell)
        return load_defined(definition, lambda: emitting.kernel_source(cell), cell.name, prove)
    # what such equations read from outside can be known only by capturing them
    return load_library(emitting.kernel_source(cell), cell.name, prove)


def _files_behind(cell: Cell) -> str:
    """Return the text of all files that the source of a built-in cell's kernel comes from."""
    equations = sys.modules[cell.equations.__module__].__file__
    assert equations is not None
    files = [Path(equations)]
    for package in (capturing, emitting):
        folder = Path(package.__path__[0])
        files += sorted(file for file in folder.rglob("*") if file.suffix in (".py", ".h"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    return "\0".join([torch.__version__, cell.name, *texts])
