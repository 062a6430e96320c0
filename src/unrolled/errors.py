"""The exceptions of this package and the one voice of their messages.

Every message says where, what was expected, what was got and what to do. `raise` is for what a
caller can get wrong; what we got wrong is an `assert`.
"""

from collections.abc import Sequence

from torch import Tensor

__all__ = [
    "DataError",
    "DivergedError",
    "OptionError",
    "RunError",
    "ShapeError",
    "UnrolledError",
    "VocabularyError",
    "check_shape",
    "require",
]


class UnrolledError(Exception):
    """Something a caller can put right. The command line prints it on one line and exits with 1.

    Args:
        message: Where, what was expected, what was got.
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint


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


def check_shape(where: str, name: str, tensor: Tensor, expected: Sequence[int], hint: str) -> None:
    """Raise `ShapeError` unless `tensor` has exactly the shape `expected`."""
    if tuple(tensor.shape) != tuple(expected):
        got = tuple(tensor.shape)
        raise ShapeError(f"{where}: {name} must be {tuple(expected)}, got {got}", hint)


def require(holds: bool, name: str, expected: str, got: object) -> None:
    """Raise `OptionError` unless `holds`."""
    if not holds:
        raise OptionError(f"{name} must be {expected}, got {got}")
