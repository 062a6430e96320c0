"""Cells in files of the user's own: found by name, kept as text, run only when somebody says so.

A run keeps the text of the file that its cell comes from, and is loaded from that text. So the file
must stand alone: what it imports must be installed where the run is loaded.
"""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from unrolled.cells.cell import Cell
from unrolled.errors import OptionError

__all__ = ["CellSource"]


@dataclass(frozen=True)
class CellSource:
    """The text of a file that declares a cell. Nothing of it is run before `load`.

    Args:
        text: All of the file.
        name: The cell's name in it.
        path: Where the text was found, for messages and tracebacks.
    """

    text: str
    name: str
    path: str

    @classmethod
    def find(cls, reference: str) -> "CellSource":
        """Return the source that a command line names.

        Args:
            reference: "path/to/file.py:NAME" or "module:NAME"; a module may also be in the current
                folder.

        Raises:
            OptionError: There is no such file or module, or it cannot be read.
        """
        place, _, name = reference.rpartition(":")
        path = Path(place) if place.endswith(".py") else _module_path(place)
        return cls(_read(path, reference), name, str(path.resolve()))

    @classmethod
    def of(cls, cell: Cell) -> "CellSource":
        """Return the source of a cell, where it has the name by which its module knows it.

        Raises:
            OptionError: The cell was not declared at the top of a file that can be run again.
        """
        module = sys.modules.get(cell.equations.__module__)
        declared = {} if module is None or module.__name__ == "__main__" else vars(module)
        name = next((name for name, value in declared.items() if value is cell), None)
        text, path = declared.get("__cell_source__"), Path(declared.get("__file__") or "")
        if name is None or (text is None and not (path.suffix == ".py" and path.is_file())):
            hint = "declare it at the top of a .py file, and import it from there"
            raise OptionError(f"cell {cell.name}: has no file that a run could keep", hint)
        return cls(_read(path, cell.name) if text is None else text, name, str(path))

    def load(self) -> Cell:
        """Run the text, and return the cell that it declares. The same text is run once.

        Raises:
            OptionError: The text cannot be run, declares no such cell, or one of which no step can
                be computed.
        """
        cell = getattr(self._module(), self.name, None)
        if isinstance(cell, Cell):
            _compute_a_step(cell, self.path)
            return cell
        problem = "does not exist" if cell is None else "is not a cell"
        cells = [name for name, value in vars(self._module()).items() if isinstance(value, Cell)]
        hint = f"{Path(self.path).name} declares {', '.join(cells) or 'no cell'}"
        raise OptionError(f"cell {self.name} of {self.path}: {problem}", hint)

    def _module(self) -> ModuleType:
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        module_name = f"unrolled_cell_{digest[:16]}"
        if module_name in sys.modules:
            return sys.modules[module_name]
        module = ModuleType(module_name)
        vars(module).update(__package__="", __file__=self.path, __cell_source__=self.text)
        sys.modules[module_name] = module
        try:
            exec(compile(self.text, self.path, "exec"), module.__dict__)
        except BaseException as error:  # whatever is wrong with the user's file
            del sys.modules[module_name]
            if isinstance(error, KeyboardInterrupt):
                raise
            message = f"cell {self.name}: cannot run {self.path}: {type(error).__name__}: {error}"
            hint = "the file must stand alone: it may import what is installed, nothing beside it"
            raise OptionError(message, hint) from None
        return module


def _compute_a_step(cell: Cell, path: str) -> None:
    """Raise `OptionError`, with the line of the user's file, if a step cannot be computed."""
    try:
        cell.step_from_zeros(2)
    except OptionError:
        raise
    except Exception as error:  # whatever is wrong with the user's equations
        lines = [at.lineno for at in extract_tb(error.__traceback__) if at.filename == path]
        where = f"{path}, line {lines[-1]}" if lines else path
        message = f"cell {cell.name}: {where}: {type(error).__name__}: {error}"
        raise OptionError(message, "equations get tensors (B, H) and return tensors") from None


def _read(path: Path, cell: str) -> str:
    """Return the text of a file in which a cell is said to be."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise OptionError(f"cell {cell}: {path}: cannot be read: {reason}") from None


def _module_path(name: str) -> Path:
    """Return the file of a module, which may be in the current folder, as for `python -m`.

    Neither it nor the packages that it is in are run there, and `sys.path` is left as it is.
    """
    spec = _spec_in(Path.cwd(), name)
    try:
        if spec is None and name:
            spec = find_spec(name)
    except (ImportError, ValueError) as error:
        raise OptionError(f"cannot import {name}: {type(error).__name__}: {error}") from None
    if spec is None or not _is_source(spec):
        raise OptionError(f"no module {name!r} with a source file", "FILE.py:NAME names a file")
    return Path(str(spec.origin))


def _spec_in(folder: Path, name: str) -> ModuleSpec | None:
    """Return what a module is made of that lies in `folder`, None if there is no such file."""
    places: Sequence[str] | None = [str(folder)]
    spec = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:count]), places) if places else None
        places = None if spec is None else spec.submodule_search_locations
    return spec if spec is not None and _is_source(spec) else None


def _is_source(spec: ModuleSpec) -> bool:
    return spec.origin is not None and spec.origin.endswith(".py")
