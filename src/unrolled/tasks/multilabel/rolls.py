"""Piano rolls in files of MATLAB, as Boulanger-Lewandowski's data are handed on: a 0 or 1 a key.

    traindata, validdata, testdata      cell arrays, in each cell a matrix (T, 88)

A roll of 88 columns has the keys of a piano, whose numbers in MIDI are 21 to 108; of any other
width the labels are the numbers of its columns, from 1.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError, OptionError
from unrolled.tasks.multilabel.lines import Steps

__all__ = ["read_rolls"]

_KEYS, _LOWEST_KEY = 88, 21


def read_rolls(path: Path) -> tuple[dict[str, list[Steps]], tuple[str, ...]]:
    """Return the sequences of each cell array by its name, and what the columns are called.

    Raises:
        DataError: The file cannot be read, has no cell array, or a cell is no such matrix.
        OptionError: scipy is not installed.
    """
    rolls: dict[str, list[NDArray[Any]]] = {}
    for name, value in _variables(path).items():
        if isinstance(value, np.ndarray) and value.dtype == object:
            cells = enumerate(value.ravel(), 1)
            rolls[name] = [
                _checked(cell, f"{path}, {name}, cell {number}") for number, cell in cells
            ]
    if not rolls:
        raise DataError(f"{path}: no cell array in it", "each cell is a matrix, steps x labels")
    widths = {roll.shape[1]: name for name, cells in rolls.items() for roll in cells}
    if len(widths) != 1:
        got = ", ".join(map(str, sorted(widths))) or "none"
        raise DataError(f"{path}: matrices of one width are expected, got widths {got}")
    (width,) = widths
    first = _LOWEST_KEY if width == _KEYS else 1
    names = tuple(str(first + column) for column in range(width))
    return {part: [_steps(roll, names) for roll in cells] for part, cells in rolls.items()}, names


def _steps(roll: NDArray[Any], names: tuple[str, ...]) -> Steps:
    return tuple(tuple(names[column] for column in np.flatnonzero(row)) for row in roll)


def _checked(cell: Any, where: str) -> NDArray[Any]:
    is_matrix = isinstance(cell, np.ndarray) and cell.ndim == 2 and cell.dtype.kind in "biuf"
    if not is_matrix:
        raise DataError(f"{where}: not a matrix of numbers", "a matrix of steps x labels, 0 or 1")
    others = np.argwhere((cell != 0) & (cell != 1))
    if len(others):
        row, column = others[0]
        message = f"{where}: {cell[row, column]} in row {row + 1}, column {column + 1}"
        raise DataError(message, "0 where a label is not in a set, 1 where it is")
    matrix: NDArray[Any] = cell
    return matrix


def _variables(path: Path) -> dict[str, Any]:
    loadmat = _loadmat()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", "check the path") from None
    try:
        variables: dict[str, Any] = loadmat(io.BytesIO(content))
    except NotImplementedError:
        message = f"{path}: a MATLAB file of version 7.3"
        raise DataError(message, "save it with -v7, or as JSON") from None
    except Exception as error:  # scipy raises ValueError, TypeError and its own
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: cannot be read as a MATLAB file: {reason}") from None
    return variables


def _loadmat() -> Callable[[io.BytesIO], Any]:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise OptionError(
            "MATLAB files need the library scipy",
            'pip install "unrolled[matlab]", or save the sequences as JSON',
        ) from None
    function: Callable[[io.BytesIO], Any] = loadmat
    return function
