"""The errors of equations that cannot be made into a kernel, with the line that they are about."""

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from torch import Tensor

from unrolled.cells.origins import line_in, line_of_equations
from unrolled.errors import UnrolledError

__all__ = [
    "EquationsError",
    "as_equations_error",
    "reads_foreign",
    "reads_values",
]


class EquationsError(UnrolledError):
    """The equations hold something that no kernel can do; the reference loop can."""


@contextmanager
def as_equations_error(where: str, *but: type[Exception]) -> Iterator[None]:
    """Turn what torch raises at a user's equations into an `EquationsError`; `but` leaves some."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (EquationsError, *but)):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        line = line_in(reversed(list(walk_tb(error.__traceback__))))
        raise EquationsError(f"{where}: cannot be compiled: {reason}{line}") from error


def reads_foreign(where: str, operation: object, tensor: Tensor) -> EquationsError:
    """Return the error of an operation that reads a tensor which is not the cell's."""
    problem = f"{operation} reads a tensor from outside the cell, {tuple(tensor.shape)}"
    return EquationsError(f"{where}: {problem}{line_of_equations()}")


def reads_values(where: str) -> EquationsError:
    """Return the error of equations that look at the numbers in a tensor."""
    line = line_of_equations()
    return EquationsError(f"{where}: cannot be compiled: its equations read values{line}")
