"""The errors of equations that cannot be made into a kernel."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from unrolled.errors import UnrolledError

__all__ = ["EquationsError", "as_equations_error", "reads_foreign", "reads_values"]


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
        raise EquationsError(f"{where}: cannot be compiled: {reason}") from error


def reads_foreign(where: str, operation: object, tensor: Tensor) -> EquationsError:
    """Return the error of an operation that reads a tensor which is not the cell's."""
    shape = tuple(tensor.shape)
    return EquationsError(f"{where}: {operation} reads a tensor from outside the cell, {shape}")


def reads_values(where: str) -> EquationsError:
    """Return the error of equations that look at the numbers in a tensor."""
    return EquationsError(f"{where}: cannot be compiled: its equations read values")
