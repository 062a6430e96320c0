"""Which functions equations call while they are captured: only such as always say the same.

What a function returns becomes a constant of the graph. A clock, a counter, a random number or a
mode of torch may be another one at the next step, and the modes of `reads` do not see them.
"""

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import torch

from unrolled.cells.origins import is_of_equations, is_standard, package_of

__all__ = ["CallWatch", "is_asked_by_equations"]

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
# Modules whose functions depend on nothing but their arguments, or only write.
_PURE = {
    *("abc", "builtins", "cmath", "collections", "copy", "enum", "functools", "io", "itertools"),
    *("math", "numpy", "operator", "re", "sre", "string", "struct", "types", "typing", "warnings"),
}
# The same of those that are written in Python; what they call is watched, too.
_PURE_PYTHON = _PURE | {
    *("bisect", "codecs", "collections_abc", "colorsys", "contextlib", "copyreg", "dataclasses"),
    *("fractions", "heapq", "importlib", "keyword", "numbers", "py_abc", "reprlib", "statistics"),
    *("textwrap", "weakref", "weakrefset"),
}
_OF_OS = {"__getitem__", "__contains__", "get", "encode", "decode", "check_str"}  # of os.environ
_IMPURE_BUILTINS = {
    *("breakpoint", "compile", "dir", "exec", "globals", "hash", "id", "input", "locals"),
    *("open", "vars", "__import__"),
}
_IMPURE_NUMPY = {"geterr", "geterrcall", "getbufsize", "get_printoptions"}
_TELL_THE_KIND = {"is_tensor", "is_storage", "promote_types", "can_cast", "finfo", "iinfo"}
# What only writes, whatever it does for that.
_WRITERS_IN_C = {("builtins", "print"), ("warnings", "warn"), ("warnings", "warn_explicit")}
_WRITERS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log"}


class CallWatch:
    """Sees each function that equations call, as a profiler does.

    Args:
        note: Called with what they do that may have another result at another call.
        num_seen: Returns how many functions of torch the modes of `reads` have seen.
        visit: Called with the frame of each Python function of theirs, as it begins.
    """

    _writer: FrameType | None = None  # what writes, or has called C that does

    def __init__(
        self,
        note: Callable[[str], None],
        num_seen: Callable[[], int],
        visit: Callable[[FrameType], None],
    ) -> None:
        self._note, self._num_seen, self._visit = note, num_seen, visit
        self._calls: dict[FrameType, tuple[Any, int]] = {}  # C that a frame is in the middle of
        self._returning: dict[FrameType, int] = {}  # Python functions of torch

    def __enter__(self) -> "CallWatch":
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        self._calls.clear()
        self._returning.clear()

    def is_in_torch(self, frame: FrameType) -> bool:
        """Whether `frame` is in the middle of a call of torch's C."""
        return frame in self._calls and _module_of(self._calls[frame][0]) == "torch"

    def _see(self, frame: FrameType, event: str, argument: Any) -> None:
        if self._writer is not None:
            if frame is self._writer and (event == "return" or _writes_in_c(argument)):
                self._writer = None
            return
        file = frame.f_code.co_filename
        is_theirs = is_of_equations(file) or (is_standard(file) and _is_run_for_equations(frame))
        if event == "call" and is_theirs:
            self._see_call(frame)
        elif event == "call" and _is_called_by_equations(frame):
            self._returning[frame] = self._num_seen()
        elif event == "return" and (num_seen := self._returning.pop(frame, None)) is not None:
            if isinstance(argument, bool | int | float | str) and num_seen == self._num_seen():
                self._note_state_of_torch(frame.f_code)
        elif event == "c_call" and is_theirs:
            if _writes_in_c(argument):
                self._writer = frame
                return
            self._calls[frame] = argument, self._num_seen()
            self._see_c_call(frame, argument)
        elif event in ("c_return", "c_exception") and frame in self._calls:
            _, num_seen = self._calls.pop(frame)
            unseen = event == "c_return" and num_seen == self._num_seen()
            if unseen and _module_of(argument) == "torch":
                self._note_state_of_torch(argument)

    def _see_call(self, frame: FrameType) -> None:
        """See a Python function of the equations, or of Python's own that runs for them."""
        if is_of_equations(frame.f_code.co_filename):
            self._visit(frame)
            return
        name, package = frame.f_code.co_name, package_of(frame.f_globals.get("__name__"))
        if package == "logging" and name in _WRITERS:
            self._writer = frame
        elif package not in _PURE_PYTHON and not (package == "os" and name in _OF_OS):
            self._note(f"call {name} of {package}, which may say something else at the next step")
        elif name in _IMPURE_NUMPY or (package == "importlib" and name == "import_module"):
            self._note(f"call {name}, which may say something else at the next step")

    def _see_c_call(self, frame: FrameType, function: Any) -> None:
        module, name = _module_of(function), function.__name__
        if module == "builtins" and name in _IMPURE_BUILTINS:
            # the hash of a key, whose place in a table is not read; what was copied already
            if frame.f_code.co_name == "__hash__" or frame.f_globals is vars(copy):
                return
            self._note(f"call {name}, which may say something else at the next step")
        elif module not in _PURE and module != "torch":
            self._note(f"call {module}.{name}, which may say something else at the next step")

    def _note_state_of_torch(self, function: Any) -> None:
        name = function.co_name if isinstance(function, CodeType) else function.__name__
        if name not in _TELL_THE_KIND:
            self._note(f"call torch's {name}, which may say something else at the next step")


def is_asked_by_equations() -> bool:
    """Whether what our caller sees comes from equations, and not from torch's engine itself."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_TORCH):
        frame = frame.f_back
    return frame is not None and _is_run_for_equations(frame)


def _is_run_for_equations(frame: FrameType | None) -> bool:
    """Whether equations run in a frame, or what they call of Python's own."""
    while frame is not None and is_standard(frame.f_code.co_filename):
        frame = frame.f_back
    return frame is not None and is_of_equations(frame.f_code.co_filename)


def _is_called_by_equations(frame: FrameType) -> bool:
    """Whether a frame is of a function of torch that equations call themselves."""
    caller = frame.f_back
    return (
        caller is not None
        and _is_run_for_equations(caller)
        and frame.f_code.co_filename.startswith(_TORCH)
    )


def _module_of(function: Any) -> str:
    """Return the outermost module of a C function or of the type whose method it is."""
    owner = getattr(function, "__self__", None)
    name: str | None = getattr(function, "__module__", None)
    if isinstance(owner, ModuleType):
        name = owner.__name__
    elif name is None:
        kind = owner if isinstance(owner, type) else type(owner)
        bases = (base for base in kind.__mro__ if function.__name__ in vars(base))
        name = next(bases, kind).__module__
    if name.startswith("numpy.random"):
        return name
    return package_of(name)


def _writes_in_c(function: Any) -> bool:
    module, name = getattr(function, "__module__", None), getattr(function, "__name__", None)
    return (package_of(module), name) in _WRITERS_IN_C
