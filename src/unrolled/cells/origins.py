"""Whose code and classes are: those of equations, Python's own, or torch's and ours.

Equations are followed. Python's own library, and numpy's, is taken to do what its documentation
says, and only what it calls is watched. Torch's and our own code is not looked at.
"""

import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from traceback import walk_stack
from types import FrameType, FunctionType

import torch

__all__ = [
    "BUILT_IN_FILES",
    "is_changeable",
    "is_library",
    "is_library_class",
    "is_of_equations",
    "is_standard",
    "line_in",
    "line_of_equations",
    "package_of",
]

_PACKAGE = Path(__file__).parents[1]
_FOREIGN = tuple(f"{folder}{os.sep}" for folder in (_PACKAGE, Path(torch.__file__).parent))
_CELLS = _PACKAGE / "cells"
BUILT_IN_FILES = frozenset(
    str(file)
    for file in (
        *(_CELLS / f"{name}.py" for name in ("elman", "gru", "janet", "lstm")),
        *(_CELLS / "catalogue").glob("*.py"),
    )
)
"""The files of the cells of this package."""

_STANDARD = f"{sysconfig.get_path('stdlib')}{os.sep}"
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_NUMPY = tuple(f"{folder}numpy{os.sep}" for folder in _INSTALLED)
_LIBRARIES = sys.stdlib_module_names - {"__main__", "this"} | {"torch", "numpy", "unrolled"}


def is_standard(file: str) -> bool:
    """Whether `file` is of Python's own library, or of numpy."""
    if file.startswith(("<frozen ", _STANDARD)):
        return not any(folder in file for folder in _INSTALLED) or any(n in file for n in _NUMPY)
    return any(folder in file for folder in _NUMPY)


def is_of_equations(file: str) -> bool:
    """Whether code of `file` may be that of equations: it is neither Python's, torch's nor ours."""
    return file in BUILT_IN_FILES or not (file.startswith(_FOREIGN) or is_standard(file))


def package_of(module: str | None) -> str:
    """Return the outermost package of a module, without the "_" of one that is written in C."""
    name = (module or "").partition(".")[0]
    return name.removeprefix("_") or name


def is_library(module: str) -> bool:
    """Whether the module of this name is Python's, torch's, numpy's or ours."""
    if module.partition(".")[0] not in _LIBRARIES:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not is_of_equations(file)  # a user's may have the same name


def is_library_class(kind: type) -> bool:
    """Whether a class is Python's, torch's, numpy's or ours; its `__module__` may say anything."""
    if kind.__module__ == "builtins":
        return not is_changeable(kind)
    files = (
        value.__code__.co_filename for value in vars(kind).values() if type(value) is FunctionType
    )
    written = (file for file in files if not file.startswith("<"))
    return is_library(kind.__module__) and not any(map(is_of_equations, written))


def is_changeable(kind: type) -> bool:
    """Whether attributes of a class can be set: it is on the heap, and not immutable."""
    return bool(kind.__flags__ & 1 << 9) and not kind.__flags__ & 1 << 8


def line_of_equations() -> str:
    """Return " (cells.py, line 12)", the line of equations that runs now; "" outside of any."""
    return line_in(walk_stack(sys._getframe(1)))


def line_in(frames: Iterable[tuple[FrameType, int]]) -> str:
    """Return the line of equations in `frames`, the innermost first; "" if there is none."""
    for frame, line in frames:
        if is_of_equations(file := frame.f_code.co_filename):
            return f" ({Path(file).name}, line {line})"
    return ""
