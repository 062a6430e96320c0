"""Checks of the constructor arguments that layers and models share. Not for shapes of tensors."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from unrolled.cells import Cell
from unrolled.errors import OptionError

__all__ = [
    "check_count",
    "check_dropout",
    "check_heads",
    "check_projection",
    "check_sizes",
    "check_types",
]


def check_types(where: str, sizes: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
    """Raise `TypeError` unless `sizes` are whole numbers and `flags` are true or false."""
    for name, size in sizes.items():
        if not isinstance(size, int):
            raise TypeError(f"{where}: {name} must be an int, got {type(size).__name__}")
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise TypeError(f"{where}: {name} must be a bool, got {type(flag).__name__}")


def check_sizes(where: str, sizes: Mapping[str, int]) -> None:
    """Raise `OptionError` unless each of `sizes`, given by name, is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise OptionError(f"{where}: {name} must be at least 1, got {size}")


def check_count(where: str, name: str, count: Any) -> None:
    """Raise `OptionError` unless `count` is a whole number of at least 1, which a bool is not."""
    is_whole = isinstance(count, Integral) and count is not True and count is not False
    if not is_whole or count < 1:
        raise OptionError(f"{where}: {name} must be at least 1, got {count!r}")


def check_dropout(where: str, dropout: Any, name: str = "dropout") -> None:
    """Raise `OptionError` unless `dropout` is a probability: a number, which a bool is not."""
    is_number = isinstance(dropout, Real) and dropout is not True and dropout is not False
    if not is_number or not 0 <= dropout <= 1:
        raise OptionError(f"{where}: {name} must be a probability in [0, 1], got {dropout!r}")


def check_projection(where: str, proj_size: int, hidden_size: int) -> None:
    """Raise `OptionError` unless `proj_size` is 0, for no projection, or below `hidden_size`."""
    largest = hidden_size - 1
    if not 0 <= proj_size <= largest:
        raise OptionError(f"{where}: proj_size must lie in 0..{largest}, got {proj_size}")


def check_heads(where: str, cell: Cell, hidden_size: int, heads: int) -> None:
    """Raise `OptionError` unless the units are so many heads, and the cell has any to divide."""
    if heads > 1 and not cell.recurrent:
        raise OptionError(
            f"{where}: heads={heads}, but cell {cell.name} has no recurrent weights",
            "leave heads out",
        )
    if heads > 1 and cell.ties:
        raise OptionError(
            f"{where}: heads={heads}, but cell {cell.name} has tied weights",
            "a tie is of a whole matrix: leave heads out",
        )
    if hidden_size % heads:
        near = max(hidden_size // heads, 1) * heads
        raise OptionError(
            f"{where}: {hidden_size} units are not {heads} heads of as many each",
            f"hidden_size must be a multiple of {heads}, such as {near}",
        )
