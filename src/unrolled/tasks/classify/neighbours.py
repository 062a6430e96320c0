"""The controls of a classifier of series: the class of the nearest one, and logistic regression.

    Euclidean    series drawn out or pressed to one length, then the distance of their numbers
    DTW          dynamic time warping: the least sum of squared distances over all ways to walk
                 through both series at once, at most a tenth of the longer one apart

Series are (T, I), of any lengths. A series without steps is at distance 0 of all.

Source:
    Sakoe and Chiba (1978): DTW and its window; Ratanamahatana and Keogh (2005): a tenth.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unrolled.data.batching import pad
from unrolled.tasks.classify.logistic import fit_logistic
from unrolled.tasks.classify.pressing import pressed

__all__ = [
    "dtw_distances",
    "euclidean_distances",
    "logistic_regression",
    "nearest",
    "nearest_mean",
    "nearest_of",
    "ridge_regression",
    "walkable",
]

_WINDOW = 0.1  # of the longer series
_MOST_STEPS = 100  # that a series is pressed to
_MOST_CELLS = 1e9  # of all walks: seven seconds
_CELLS_AT_ONCE = 2**25  # numbers, of 4 bytes


def common_length(series: Sequence[Tensor]) -> int:
    """Return the mean length of series, at least 1 and at most 100."""
    mean = sum(map(len, series)) / len(series)
    return min(max(1, round(mean)), _MOST_STEPS)


def euclidean_distances(series: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """Return the distance of each of N series to each of M others, (N, M)."""
    num_steps = common_length(others)
    rows, columns = (
        pressed(*pad(each), num_steps).flatten(1).double() for each in (series, others)
    )
    return torch.cdist(rows, columns)


def walkable(series: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Return whether `dtw_distances` takes seconds and no hours."""
    longest = max(map(len, [*series, *others]))
    return len(series) * len(others) * longest * longest <= _MOST_CELLS


def dtw_distances(series: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """Return the least sum of squared distances along a walk, (N, M).

    The window is a tenth of the longer of the two, and at least the difference of their lengths.

    Example:
        >>> a, b = torch.tensor([[0.0], [0], [5], [0]]), torch.tensor([[0.0], [5], [0], [0]])
        >>> dtw_distances([a], [b]).item()
        0.0
    """
    columns, column_lengths = pad(others)
    widest = max(columns.shape[1], *map(len, series)) + 1
    at_once = max(1, _CELLS_AT_ONCE // (len(others) * widest * max(1, columns.shape[2])))
    parts = [
        _walk(*pad(series[start : start + at_once]), columns, column_lengths)
        for start in range(0, len(series), at_once)
    ]
    return torch.cat(parts)


def _walk(x: Tensor, x_lengths: Tensor, y: Tensor, y_lengths: Tensor) -> Tensor:
    """Return the distances of (N, S, I) to (M, T, I).

    Cells (i, j) of the same i + j depend on those of the two diagonals before alone: each diagonal
    is computed at once, (N, M, S + 2), step i at place i + 1; beside the window nothing ends.
    """
    (num_rows, num_steps, _), (num_columns, num_others, _) = x.shape, y.shape
    distances = torch.zeros(num_rows, num_columns)  # of series without steps
    if not num_steps or not num_others:
        return distances
    shape = num_rows, num_columns
    x_length, y_length = x_lengths[:, None].expand(shape), y_lengths.expand(shape)
    window = (_WINDOW * x_length.maximum(y_length)).ceil().long()
    window = window.maximum((x_length - y_length).abs())
    widest = int(window.max())
    last_diagonal = (x_length + y_length - 2).where(x_length.minimum(y_length) > 0, -1)
    walk, before, two_before = (torch.full((*shape, num_steps + 2), torch.inf) for _ in range(3))
    for diagonal in range(num_steps + num_others - 1):
        first = max(0, diagonal - num_others + 1, (diagonal - widest + 1) // 2)
        end = min(num_steps, diagonal + 1, (diagonal + widest) // 2 + 1)
        steps, others = x[:, first:end], y[:, diagonal - end + 1 : diagonal - first + 1].flip(1)
        costs = (steps[:, None] - others).square().sum(3)
        apart = (2 * torch.arange(first, end) - diagonal).abs()
        best = before[..., first:end].minimum(before[..., first + 1 : end + 1])
        best = best.minimum(two_before[..., first:end]) if diagonal else torch.zeros(())
        walk[..., first] = walk[..., end + 1] = torch.inf  # of three diagonals before
        walk[..., first + 1 : end + 1] = (best + costs).where(apart <= window[..., None], torch.inf)
        at_last_step = walk.gather(2, x_length[..., None])[..., 0]
        distances = at_last_step.where(last_diagonal == diagonal, distances)
        walk, before, two_before = two_before, walk, before
    return distances


def nearest_of(
    distances: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor],
    series: Sequence[Tensor],
    others: Sequence[Tensor],
    labels: Sequence[float],
) -> list[float]:
    """Return the label of the nearest of `others` for each series, so many at once as fit."""
    at_once = max(1, _CELLS_AT_ONCE // len(others))
    parts = (series[start : start + at_once] for start in range(0, len(series), at_once))
    return [label for part in parts for label in nearest(distances(part, others), labels)]


def nearest(distances: Tensor, labels: Sequence[float]) -> list[float]:
    """Return the label of the nearest of M series, for each row of (N, M)."""
    return [labels[index] for index in distances.argmin(1).tolist()]


def nearest_mean(known: Tensor, classes: Sequence[int], others: Tensor) -> list[int]:
    """Return for each of `others`, (M, D), the class whose mean in `known`, (N, D), is nearest."""
    present = sorted(set(classes))
    of_class = torch.tensor(classes)
    means = torch.stack([known[of_class == each].mean(0) for each in present])
    return [present[index] for index in torch.cdist(others, means).argmin(1).tolist()]


def ridge_regression(
    series: Sequence[Tensor], labels: Sequence[float], others: Sequence[Tensor]
) -> list[float]:
    """Return the number of each of `others`, by the numbers of all steps.

        number = w x + b,   minimizing  sum of (true number - number)^2 + |w|^2

    with x as in `logistic_regression`.
    """
    x, y = _flat(series, others)
    numbers = torch.tensor(labels, dtype=torch.float64)
    mean = numbers.mean()  # x has mean 0
    if x.shape[1] < len(x):  # the same w, by the smaller matrix: w = (x' x + 1)^-1 x' number
        weight = torch.linalg.solve(x.T @ x + _one(x.shape[1]), x.T @ (numbers - mean))
    else:  # w = x' (x x' + 1)^-1 number
        weight = x.T @ torch.linalg.solve(x @ x.T + _one(len(x)), numbers - mean)
    predicted: list[float] = (y @ weight + mean).tolist()
    return predicted


def _one(size: int) -> Tensor:
    return torch.eye(size, dtype=torch.float64)


def logistic_regression(
    series: Sequence[Tensor], labels: Sequence[int], num_classes: int, others: Sequence[Tensor]
) -> list[int]:
    """Return the likeliest class of each of `others`, by the numbers of all steps.

        p(class) = softmax(W x + b),   minimizing  sum of -log p(true class) + |W|^2 / 2

    with x the series pressed to one length, each number on the scale that it has in `series`.
    """
    x, y = _flat(series, others)
    weight, bias = fit_logistic(lambda w, b: [x @ w + b], labels, x.shape[1], num_classes)
    classes: list[int] = (y @ weight + bias).argmax(1).tolist()
    return classes


def _flat(series: Sequence[Tensor], others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return both as rows of numbers, each on the scale that it has in `series`."""
    num_steps = common_length(series)
    x, y = (pressed(*pad(each), num_steps).flatten(1).double() for each in (series, others))
    spread, mean = torch.std_mean(x, dim=0, correction=0)
    x, y = ((each - mean) / spread.where(spread > 0, 1.0) for each in (x, y))
    return x, y
