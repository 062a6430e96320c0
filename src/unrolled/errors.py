"""The exceptions of this package and the one voice of their messages.

Every message says where, what was expected, what was got and what to do. `raise` is for what a
caller can get wrong; what we got wrong is an `assert`.

A message names an option by `field("held_out")`. Who shows it decides how that reads: `held_out` in
Python, `--held-out` on the command line.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "PROGRAM",
    "DataError",
    "DivergedError",
    "OptionError",
    "RunError",
    "ShapeError",
    "UnrolledError",
    "VocabularyError",
    "check_shape",
    "field",
    "render",
    "require",
]


_FIELD = re.compile("\ue000(.*?)\ue001")  # characters that no text has: for private use

PROGRAM = "\ue002"
"""What a message has in the place of this program's name, in commands that can be pasted."""


def field(name: str) -> str:
    """Return what a message has in the place of an option's name."""
    return f"\ue000{name}\ue001"


def render(text: str, name: Callable[[str], str] = str, program: str = "unrolled") -> str:
    """Return a text with the options that `field` names called as `name` says.

    Args:
        text: A message or a note.
        name: What an option is called.
        program: What this program is called.
    """
    return _FIELD.sub(lambda match: name(match[1]), text).replace(PROGRAM, program)


class UnrolledError(Exception):
    """Something a caller can put right. The command line prints it on one line and exits with 1.

    Args:
        message: Where, what was expected, what was got.
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self._message, self._hint = message, hint
        super().__init__(f"{self.message} ({self.hint})" if hint else self.message)

    @property
    def message(self) -> str:
        """Where, what was expected, what was got; options by their names in Python."""
        return self.render(str)[0]

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.render(str)[1]

    def render(self, name: Callable[[str], str], program: str = "unrolled") -> tuple[str, str]:
        """Return message and hint, with the options called as `name` says."""
        return render(self._message, name, program), render(self._hint, name, program)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self._message, self._hint)


class ShapeError(UnrolledError, RuntimeError, ValueError):
    """A tensor or a state of the wrong shape, type or kind.

    It is a `RuntimeError` and a `ValueError` too, because `torch.nn` raises now one, now the other.
    """


class OptionError(UnrolledError, ValueError):
    """An argument out of its range, or two arguments that exclude each other."""


class DataError(UnrolledError, ValueError):
    """Input data that cannot be used: missing, empty, not text, too short."""


class VocabularyError(DataError):
    """Text that a vocabulary has no symbols for."""


class RunError(UnrolledError):
    """A run's folder that is missing, in the way, unwritable, damaged, or of another version."""


class DivergedError(UnrolledError, ArithmeticError):
    """Training met a loss or a gradient that is not a finite number."""


def check_shape(
    where: str, name: str, tensor: "Tensor", expected: Sequence[int], hint: str
) -> None:
    """Raise `ShapeError` unless `tensor` has exactly the shape `expected`."""
    if tuple(tensor.shape) != tuple(expected):
        got = tuple(tensor.shape)
        raise ShapeError(f"{where}: {name} must be {tuple(expected)}, got {got}", hint)


def require(holds: bool, name: str, expected: str, got: object) -> None:
    """Raise `OptionError` unless `holds`: the option `name` must be `expected`."""
    if not holds:
        raise OptionError(f"{field(name)} must be {expected}, got {got}")
