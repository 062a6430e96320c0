"""Which functions equations call while they are captured: only such as always say the same.

What a function returns becomes a constant of the graph. A clock, a counter, a random number or a
mode of torch may be another one at the next step, and the modes of `reads` do not see them.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import torch

from unrolled.cells.surroundings import is_of_equations

__all__ = ["CallWatch", "is_asked_by_equations"]

_TORCH = f"{Path(torch.__file__).parent}{os.sep}"
# Modules whose C functions depend on nothing but their arguments, or only write.
_PURE = {
    *("abc", "builtins", "cmath", "collections", "copy", "decimal", "enum", "functools", "io"),
    *("itertools", "math", "numpy", "operator", "re", "sre", "string", "struct", "types"),
    *("typing", "warnings"),
}
_IMPURE_BUILTINS = {
    *("breakpoint", "compile", "dir", "exec", "globals", "hash", "id", "input", "locals", "open"),
    *("vars", "__import__"),
}
_TELL_THE_KIND = {"is_tensor", "is_storage", "promote_types", "can_cast", "finfo", "iinfo"}


class CallWatch:
    """Sees each function that equations call, as a profiler does.

    Args:
        note: Called with what they do that may have another result at another call.
        num_seen: Returns how many functions of torch the modes of `reads` have seen.
        visit: Called with the frame of each Python function of theirs, as it begins.
    """

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
        is_theirs = is_of_equations(frame.f_code.co_filename)
        if event == "call" and is_theirs:
            self._visit(frame)
        elif event == "call" and _is_called_by_equations(frame):
            self._returning[frame] = self._num_seen()
        elif event == "return" and (num_seen := self._returning.pop(frame, None)) is not None:
            if isinstance(argument, bool | int | float | str) and num_seen == self._num_seen():
                self._note_state_of_torch(frame.f_code)
        elif event == "c_call" and is_theirs:
            self._calls[frame] = argument, self._num_seen()
            self._see_c_call(argument)
        elif event in ("c_return", "c_exception") and frame in self._calls:
            _, num_seen = self._calls.pop(frame)
            unseen = event == "c_return" and num_seen == self._num_seen()
            if unseen and _module_of(argument) == "torch":
                self._note_state_of_torch(argument)

    def _see_c_call(self, function: Any) -> None:
        module, name = _module_of(function), function.__name__
        if module == "builtins" and name in _IMPURE_BUILTINS:
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
    return frame is not None and is_of_equations(frame.f_code.co_filename)


def _is_called_by_equations(frame: FrameType) -> bool:
    """Whether a frame is of a function of torch that equations call themselves."""
    caller = frame.f_back
    return (
        caller is not None
        and is_of_equations(caller.f_code.co_filename)
        and frame.f_code.co_filename.startswith(_TORCH)
    )


def _module_of(function: Any) -> str:
    """Return the outermost module of a C function or of the type whose method it is."""
    owner = getattr(function, "__self__", None)
    name: str | None = getattr(function, "__module__", None)
    if isinstance(owner, ModuleType):
        name = owner.__name__
    elif name is None:
        name = (owner if isinstance(owner, type) else type(owner)).__module__
    if name.startswith("numpy.random"):
        return name
    return name.partition(".")[0].removeprefix("_") or name
