"""Cells by name, for what can hold no Python objects: traced graphs and exported programs."""

import sys
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from unrolled.cells.origins import BUILT_IN_FILES
from unrolled.cells.surroundings import Surroundings
from unrolled.errors import OptionError

if TYPE_CHECKING:
    from unrolled.cells.cell import Cell

__all__ = ["find_cell", "free_key", "is_built_in", "remember"]

_cells: WeakValueDictionary[str, "Cell"] = WeakValueDictionary()
_given: Counter[str] = Counter()


def free_key(equations: Callable[..., Any], declaration: str) -> str:
    """Return "module:qualified name@digest", with "#2" ... from the second such cell on.

    The digest is of the equations, of what they read from outside, and of their `declaration`: a
    program that was exported must not compute with others. Cells of ours need none. A "~" says that
    it does not tell all. No key is given twice.
    """
    key = f"{equations.__module__}:{equations.__qualname__}"
    if not is_built_in(equations):
        surroundings = Surroundings(equations)
        told = surroundings.is_complete and not surroundings.unknown
        key = f"{key}@{surroundings.digest(declaration)}{'' if told else '~'}"
    _given[key] += 1
    return key if _given[key] == 1 else f"{key}#{_given[key]}"


def is_built_in(equations: Callable[..., Any]) -> bool:
    """Whether these are equations of this package."""
    code = getattr(equations, "__code__", None)
    module = sys.modules.get(equations.__module__ or "")
    return code is not None and code.co_filename in BUILT_IN_FILES and module is not None


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
    problem = "not known in this process"
    if key not in _cells and colon:
        try:
            import_module(module)
        except ImportError as error:
            problem = f"its module cannot be imported: {error}"
    registered = _cells.get(key) or _equal_cell(key)
    if registered is not None:
        return registered
    name = key.partition("@")[0]
    if any(other.partition("@")[0] == name for other in _cells):
        raise OptionError(
            f"cell {name}: is not the one that the program was made with: its equations, what "
            "they read from outside, or Python have changed",
            "export the program again",
        )
    raise OptionError(
        f"cell {key}: {problem}",
        "a traced graph names its cell; declare it at the top of a module that can be imported",
    )


def _equal_cell(key: str) -> "Cell | None":
    """Return a cell of which the key says that it computes the same."""
    equal, _, _ = key.partition("#")
    if "@" not in equal or equal.endswith("~"):
        return None
    return next((cell for other, cell in _cells.items() if other.partition("#")[0] == equal), None)
