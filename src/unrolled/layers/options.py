"""Checks of the constructor arguments that layers and models share. Not for shapes of tensors."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from unrolled.errors import OptionError

__all__ = ["check_count", "check_dropout", "check_sizes"]


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
