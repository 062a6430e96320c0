"""Sequences in the forms that scikit-learn's users have them in, as what a task reads.

(N, T) numbers              a series of T numbers in each row
(N, T, I) numbers           N series of T steps with I numbers each
a list of (T, I) or (T,)    series of different lengths
a frame with levels of index, the last one the step     the same, as sktime has it
a frame with a series (T,) in each cell, I columns      the same, as its nested_univ
a list of str               texts
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

from unrolled.errors import DataError

__all__ = ["Sequences", "groups_of", "read_sequences"]

Floats = NDArray[np.float64]

_NUMBERS: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}


class Sequences(NamedTuple):
    """What an estimator is given.

    Args:
        contents: Of each sequence: a text, or (T, I) numbers.
        are_texts: Which of both.
    """

    contents: list[Any]
    are_texts: bool


def read_sequences(estimator: Any, given: Any, *, reset: bool) -> Sequences:
    """Return sequences, checked; NaN is a number that is missing.

    Args:
        estimator: It keeps, or has, `n_features_in_`: I, or T of a table of numbers.
        given: In one of the forms above.
        reset: Whether the estimator is fitted to them, rather than used.

    Raises:
        DataError: They are neither, or not those that the estimator was fitted to.
        ValueError: As scikit-learn raises it for numbers that cannot be used.
        TypeError: As scikit-learn raises it for a sparse matrix.
    """
    rows = _rows(given)
    if not reset:
        _check_kind(estimator, are_texts=rows is not None and isinstance(rows[0], str))
    if rows is None:  # a table, where scikit-learn itself keeps and compares the columns
        table = validate_data(estimator, given, reset=reset, **_NUMBERS)
        return Sequences([*table[:, :, None]], are_texts=False)
    if isinstance(rows[0], str):
        for index, row in enumerate(rows):
            if not isinstance(row, str):
                message = f"X[{index}]: a {type(row).__name__} among texts"
                raise DataError(message, "give texts only")
        sequences, size = Sequences([*map(str, rows)], are_texts=True), None
    else:
        contents = [_series(row, index) for index, row in enumerate(rows)]
        size = contents[0].shape[1]
        for index, content in enumerate(contents):
            if content.shape[1] != size:
                message = f"X[{index}]: {content.shape[1]} numbers in each step, X[0] has {size}"
                hint = "give the same in each"
                if len({len(each) for each in contents}) == 1:  # as aeon has a list
                    hint += "; or is time last? [x.T for x in X] has it first"
                raise DataError(message, hint)
        sequences = Sequences(contents, are_texts=False)
    if reset:
        for name in ("n_features_in_", "feature_names_in_"):
            vars(estimator).pop(name, None)
        if size is not None:
            estimator.n_features_in_ = size
    elif size != (expected := getattr(estimator, "n_features_in_", None)):
        name = type(estimator).__name__
        message = f"X has {size} features, but {name} is expecting {expected} features as input"
        raise DataError(message)
    return sequences


def _rows(given: Any) -> Sequence[Any] | None:
    """Return sequences one by one; None for a table of numbers, or for what is neither."""
    if groups := groups_of(given):
        return [group.to_numpy() for group in groups]
    if _is_nested(given):
        return [_of_cells(cells, index) for index, cells in enumerate(given.to_numpy())]
    if getattr(given, "ndim", 0) == 1 and hasattr(given, "to_numpy"):  # a column of a frame
        given = given.to_numpy()
    if isinstance(given, np.ndarray):
        if given.ndim > 3:
            message = f"expected (N, T) or (N, T, I) numbers, got {given.shape}"
            raise DataError(message, "make one series of each example")
        is_in_rows = given.ndim == 3 or (given.ndim == 1 and given.dtype.kind in "OUT")
        return [*given] if is_in_rows and len(given) else None
    if not isinstance(given, list | tuple) or not given:
        return None
    if isinstance(given[0], str):
        return given
    if not all(map(_is_rectangle, given)):
        return given
    shapes = {np.shape(row) for row in given}
    return None if len(shapes) == 1 and len(shapes.pop()) < 2 else given


def groups_of(given: Any) -> list[Any]:
    """Return the frames of the series of a frame, by all levels of its index but the last.

    Those that are left have the one level, the step. Empty for what has no such levels.
    """
    levels = getattr(getattr(given, "index", None), "nlevels", 1) - 1
    if not levels:
        return []
    names = [*range(levels)]
    level = names[0] if levels == 1 else names
    groups = given.groupby(level=level, sort=False, dropna=False)  # a series may have no name
    return [group.droplevel(names) for _, group in groups]


def _is_nested(given: Any) -> bool:
    """Return whether the first row of a frame has a series in each cell."""
    if not hasattr(given, "columns") or not hasattr(given, "to_numpy") or not len(given):
        return False
    cells = given.to_numpy()[0]
    return len(cells) > 0 and all(np.ndim(cell) == 1 for cell in cells)


def _of_cells(cells: Sequence[Any], index: int) -> Floats:
    """Return the series of a row's cells as (T, I) numbers."""
    columns = [np.asarray(cell) for cell in cells]
    if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
        shapes = ", ".join(str(column.shape) for column in columns)
        message = f"X[{index}]: cells of the shapes {shapes}, expected series of one length"
        raise DataError(message, "give as many steps in each cell of a row")
    return np.stack(columns, 1)


def _is_rectangle(row: Any) -> bool:
    try:
        np.shape(row)
    except ValueError:
        return False
    return True


def _series(row: Any, index: int) -> Floats:
    """Return a row as (T, I) numbers."""
    where = f"X[{index}]"
    numbers = check_array(
        np.asarray(row)[:, None] if np.ndim(row) == 1 else row,
        input_name=where,
        **_NUMBERS,
    )
    return np.asarray(numbers)


def _check_kind(estimator: Any, *, are_texts: bool) -> None:
    """Raise unless the estimator was fitted to sequences of this kind."""
    if are_texts == hasattr(estimator, "n_features_in_"):
        got, wanted = ("texts", "numbers") if are_texts else ("numbers", "texts")
        raise DataError(f"X has {got}, but {type(estimator).__name__} was fitted to {wanted}")
