"""Cells by name, for what can hold no Python objects: traced graphs and exported programs."""

from collections.abc import Callable
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from unrolled.errors import OptionError

if TYPE_CHECKING:
    from unrolled.cells.cell import Cell

__all__ = ["find_cell", "free_key", "remember"]

_cells: WeakValueDictionary[str, "Cell"] = WeakValueDictionary()


def free_key(equations: Callable[..., Any]) -> str:
    """Return "module:qualified name" of `equations`, with "#2" ... while other cells live there."""
    key = f"{equations.__module__}:{equations.__qualname__}"
    return next(k for n in count(1) if (k := key if n == 1 else f"{key}#{n}") not in _cells)


def remember(cell: "Cell") -> "Cell":
    """Return `cell`, which `find_cell` now knows for as long as it lives."""
    _cells[cell.key] = cell
    return cell


def find_cell(key: str) -> "Cell":
    """Return the cell with this `key`; the module that declares it is imported if need be.

    Raises:
        OptionError: there is none.
    """
    module, colon, _ = key.partition(":")
    if key not in _cells and colon:
        try:
            import_module(module)
        except ImportError as error:
            raise OptionError(f"cell {key}: its module cannot be imported: {error}") from error
    registered = _cells.get(key)
    if registered is None:
        raise OptionError(
            f"cell {key}: not known in this process",
            "a traced graph names its cell; declare it at the top of a module that can be imported",
        )
    return registered
