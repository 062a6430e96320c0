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

__all__ = ["EXPORTED", "find_cell", "free_key", "is_built_in", "remember"]

EXPORTED = "="
"""Ends the key in a program that was exported: what its cell reads must be as when it was declared.
"""

_cells: WeakValueDictionary[str, "Cell"] = WeakValueDictionary()
_given: Counter[str] = Counter()


def free_key(equations: Callable[..., Any], declaration: str) -> tuple[str, Surroundings | None]:
    """Return "module:qualified name@digest", with "#2" ... from the second such cell on.

    With it goes what the equations read from outside, as it is now.

    The digest is of the equations, of what they read from outside, and of their `declaration`: a
    program that was exported must not compute with others. Cells of ours need none. A "~" says that
    it does not tell all. No key is given twice.
    """
    key, surroundings = f"{equations.__module__}:{equations.__qualname__}", None
    if not is_built_in(equations):
        surroundings = Surroundings(equations)
        is_told = surroundings.is_complete and not surroundings.unknown
        key = f"{key}@{surroundings.digest(declaration)}{'' if is_told else '~'}"
    _given[key] += 1
    return key if _given[key] == 1 else f"{key}#{_given[key]}", surroundings


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
        OptionError: there is none; or the key is `EXPORTED`, and the equations read from outside
            what has changed since they were declared.
    """
    key, is_exported = key.removesuffix(EXPORTED), key.endswith(EXPORTED)
    module, colon, _ = key.partition(":")
    problem = "not known in this process"
    if key not in _cells and colon:
        try:
            import_module(module)
        except ImportError as error:
            problem = f"its module cannot be imported: {error}"
    registered = _cells.get(key)
    if registered is None or (is_exported and not _is_as_declared(registered)):
        registered = _equal_cell(key)
    if registered is not None:
        return registered
    name = key.partition("@")[0]
    if any(other.partition("@")[0] == name for other in _cells):
        raise OptionError(
            f"cell {name}: is not the one that the program was made with: its equations, what "
            "they read from outside, or Python have changed",
            "declare the cell again, and export the program again",
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
    cells = (cell for other, cell in _cells.items() if other.partition("#")[0] == equal)
    return next(filter(_is_as_declared, cells), None)


def _is_as_declared(cell: "Cell") -> bool:
    """Whether what the equations read from outside is what it was when they were declared."""
    return cell.surroundings is None or cell.surroundings.unchanged()
