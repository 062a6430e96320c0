"""From a cell to its compiled library: captured, emitted and compiled where the cache has none."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch

from unrolled.cells import Cell
from unrolled.cells.registry import is_built_in
from unrolled.cells.surroundings import Surroundings
from unrolled.kernels import capturing, emitting
from unrolled.kernels.building.cache import load_defined, load_library

__all__ = ["cell_library"]


def cell_library(
    cell: Cell,
    surroundings: Surroundings,
    prove: Callable[[ctypes.CDLL], None],
    products: emitting.ProductFormat = "f32",
) -> ctypes.CDLL:
    """Return the compiled kernel of `cell`, whose equations read `surroundings` from outside.

    Args:
        cell: The equations.
        surroundings: What they read from outside.
        products: How the kernel multiplies.
        prove: Is given a new library before it is used; raises a KernelError if it is wrong.

    Raises:
        EquationsError: No kernel can do what the equations hold.
        KernelError: There is neither a prebuilt library nor a compiler, or it fails, or the library
            cannot be stored or loaded.
    """

    def write() -> str:
        return emitting.kernel_source(cell, surroundings, products)

    name = cell.name if products == "f32" else f"{cell.name}_{products}"
    if is_built_in(cell.equations) and surroundings.is_complete and not surroundings.unknown:
        # known without capturing, which takes ten times as long
        definition = _definition_of(cell, surroundings) + "\0" + products
        return load_defined(definition, write, name, prove)
    # what such equations read from outside can be known only by capturing them
    return load_library(write(), name, prove)


def _definition_of(cell: Cell, surroundings: Surroundings) -> str:
    """Return all that the source of a built-in cell's kernel comes from.

    The text of the files is not enough: a value of theirs may be another one in this process.
    """
    files = []
    for package in (capturing, emitting):
        folder = Path(package.__path__[0])
        files += sorted(file for file in folder.rglob("*") if file.suffix in (".py", ".h"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    gates = (cell.gates, cell.feedforward, cell.recurrent, cell.applied)
    declared = (gates, cell.states, [*cell.parameters], cell.step_inputs)
    digest = surroundings.digest(repr((declared, cell.arguments, cell.equations.__doc__)))
    return "\0".join([torch.__version__, cell.name, digest, *texts])
