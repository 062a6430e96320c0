"""What comes next: the steps after the end of series of numbers.

Here a series has no time column: its rows are its steps.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from unrolled.errors import DataError
from unrolled.sklearn.estimator import Estimator, takes_options_of
from unrolled.sklearn.frames import framed, tail_of
from unrolled.sklearn.index import check_index
from unrolled.sklearn.sequences import groups_of
from unrolled.tasks.forecast.ends import end_of
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.options import DataOptions, PredictOptions
from unrolled.tasks.forecast.parts import splits_of
from unrolled.tasks.forecast.reader import Panel, Series
from unrolled.tasks.forecast.rows import ends_of_interval, horizon_of
from unrolled.tasks.forecast.task import ForecastTask
from unrolled.tasks.forecast.times import Calendar
from unrolled.tasks.forecast.transforms import curve_of
from unrolled.tasks.forecast.windows import Sizes, Window, ends_of, settled_sizes, windows_of
from unrolled.training import FEWEST

__all__ = ["SequenceForecaster"]

Floats = NDArray[np.float64]


class _Numbers(NamedTuple):
    """What was given of several series.

    Args:
        contents: Of each its numbers, (T, C).
        is_many: Whether it was a list of them.
        is_flat: Whether each was (T,).
        names: Of the C columns, where they have some.
    """

    contents: list[Floats]
    is_many: bool
    is_flat: bool
    names: tuple[str, ...] = ()


@takes_options_of(ForecastTask, data=("horizon", "lookback", "season", "scale", "transform"))
class SequenceForecaster(Estimator):
    """The next steps of a series of numbers, or of each of several.

    `fit(y)` trains as `unrolled train forecast` does. y is one series, (T,) or (T, C) numbers; or
    several, a list of such arrays or (N, T, C). NaN is a missing number: it is neither learned from
    nor measured. `fit(X, y)` also reads X, columns that are known in advance, with a row for each
    step of y. The other methods take what `fit` took: the series alone, or X and the series.

    Example:
        >>> import numpy as np
        >>> y = np.sin(np.arange(120) * 2 * np.pi / 12)
        >>> model = SequenceForecaster(horizon=3, season=12, updates=20, random_state=0).fit(y)
        >>> bool(abs(model.predict() - [0.0, 0.5, 0.866]).max() < 0.05)
        True

    Attributes:
        horizon_: Steps that a forecast has.
        lookback_: Steps that it looks at.
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on series.

        Args:
            X: The series; with y, what is known in advance, (T, K) of each.
            y: None, or the series.

        Raises:
            DataError: The series cannot be used: too short, of different columns, without numbers.
            OptionError: A parameter is out of range.
            DivergedError: A loss is not finite.
        """
        known, given = _told(X, y)
        data: DataOptions = self._chosen(
            DataOptions,
            file="y",
            target=given.names or _names("y", given),
            known=() if known is None else known.names or _names("x", known),
            id="id" if given.is_many else None,
            test=0.0,
        )
        calendar = Calendar("number", 1, "number", season=data.season or 1)
        series = [_series(given, known, index, 0, data) for index in range(len(given.contents))]
        if self.held_out is None:
            horizon = data.horizon or calendar.season
            windows = (round(data.part * len(each)) - horizon + 1 for each in series)
            if sum(max(0, num) for num in windows) < FEWEST:
                data = replace(data, held_out=0.0)  # so few choose no weights
        sizes = settled_sizes(data, series, calendar)
        for each in series:
            ends_of(data, each, sizes)
        splits = splits_of(Panel(series, calendar, []), data)
        self._run(data, splits, int(check_random_state(self.random_state).randint(2**31 - 1)))
        self.lookback_, self.horizon_ = sizes
        self._ends = _end(given, sizes.lookback)
        self._known_ends = None if known is None else _end(known, sizes.lookback)
        self._tail = tail_of(X if y is None else y)
        return self

    def predict(self, X: Any = None, y: Any = None, *, horizon: int | None = None) -> Floats:
        """Return the steps that come next: the mean or the median, as the loss has it.

        Args:
            X: None, to go on from the end of what was learned from; or other series. Of a model
                that was fitted to X and y, what is known in advance: a row for each step to come,
                after a row for each step of y where y is given.
            y: Of such a model, other series to go on from; None for those that were learned from.
            horizon: Steps to forecast; None for as many as in training, or fewer.

        Returns:
            (H,) or (H, C) as the series that it was fitted to; of several (N, H) or (N, H, C).

        Raises:
            DataError: A series is shorter than what a forecast looks at, or has other columns.
            OptionError: The model does not make as many steps.
        """
        return self._forecast(X, y, horizon)[0]

    def predict_frame(self, X: Any = None, y: Any = None, *, horizon: int | None = None) -> Any:
        """Return what `predict` returns in the container of y, with the index of the steps to come.

        Args:
            X: As of `predict`.
            y: As of `predict`.
            horizon: As of `predict`.

        Returns:
            A series or frame of pandas, a list of those, or a frame with a level of index for the
            series and one for the step, as y is, or as it was in `fit` where none is given here.

        Raises:
            DataError: As of `predict`; y is nothing of pandas, or nothing tells what comes after
                its index.
            OptionError: As of `predict`.
        """
        forecasts = self.predict(X, y, horizon=horizon)
        given = X if self._known_ends is None else y
        return framed(self._tail if given is None else tail_of(given), forecasts)

    def predict_interval(
        self,
        X: Any = None,
        y: Any = None,
        *,
        horizon: int | None = None,
        coverage: float | None = None,
    ) -> Floats:
        """Return the ends of intervals: low and high, each as `predict` returns forecasts.

        Args:
            X: As of `predict`.
            y: As of `predict`.
            horizon: As of `predict`.
            coverage: Probability that a value lies in its interval; None for 0.8, or that of the
                outermost quantiles.

        Raises:
            DataError: As of `predict`.
            OptionError: The model says one number, has no such interval, or makes fewer steps.
        """
        check_is_fitted(self)
        model = self._fitted.options.model
        share = PredictOptions(interval=coverage).interval
        levels = ends_of_interval(model, share) or ends_of_interval(model, 0.8)  # which says no
        assert levels is not None
        low, high = self._forecast(X, y, horizon, levels)[1:]
        return np.stack([low, high])

    def score(self, X: Any, y: Any = None) -> float:
        """Return minus the MASE of forecasts from every step of series: 0 is best, above -1 good.

        A forecast looks at the steps of the series before it alone, so that the first `lookback_`
        steps are not forecast. A series by itself is scaled as that of the training; of several
        each by its first `lookback_` steps.

        Raises:
            DataError: No series is long enough; or it never changes, so that there is no MASE.
        """
        check_is_fitted(self)
        known, given = self._like_fitted(*_told(X, y))
        task = self._fitted
        windows: list[Window] = []
        for index in range(len(given.contents)):
            series = _series(given, known, index, 0, task.options.data)
            self._scale(series, given, task.scaling.seen_first(series.values))
            windows += windows_of(
                series,
                0,
                len(series),
                sizes=task.sizes,
                learned=len(series),
                calendar=task.calendar,
            )
        if not windows:
            message = f"no series has the {sum(task.sizes)} steps of a window: "
            message += f"{self.lookback_} to look at and {self.horizon_} to forecast"
            raise DataError(message, "give more steps")
        figures = task.monitor(self.model_, windows)
        if "mase" not in figures:
            raise DataError("no MASE: what it is scaled by never changes", "measure it otherwise")
        return -figures["mase"]

    def _forecast(
        self, X: Any, y: Any, horizon: int | None, levels: Sequence[float] = ()
    ) -> list[Floats]:
        """Return the forecast and its quantiles."""
        check_is_fitted(self)
        task = self._fitted
        num = horizon_of(task.options.model, PredictOptions(horizon=horizon), task.sizes)
        given, known = self._ends, None
        if self._known_ends is None:
            if X is not None or y is not None:
                known, given = self._like_fitted(*_told(X, y))
        else:
            if X is None:
                message = f"X: the model also reads {', '.join(task.options.data.known)}"
                raise DataError(message, f"give a row for each of the {num} steps to come")
            known = _numbers("X", X)
            if y is None:
                known = self._after_training(known, num)
            else:
                known, given = self._like_fitted(known, _numbers("y", y))
        windows = []
        sizes = Sizes(self.lookback_, max(num, self.horizon_))
        for index in range(len(given.contents)):
            series = _series(given, known, index, num, task.options.data, sizes.horizon)
            if given is not self._ends:
                self._scale(series, given, series.values)
            windows.append(end_of(series, task.calendar, sizes))
        point, quantiles = task.forecast(cast(Forecaster, self.model_), windows, levels)
        said = point[None] if quantiles is None else torch.cat([point[None], quantiles])
        arrays = said[:, :, :num].numpy()
        arrays = arrays[..., 0] if self._ends.is_flat else arrays
        return [*(arrays if given.is_many else arrays[:, 0])]

    def _after_training(self, known: _Numbers, num: int) -> _Numbers:
        """Return what is known of the ends of the training's series and of `num` steps to come."""
        assert self._known_ends is not None
        self._check_columns(known, self._known_ends, "X")
        _check_count(known, self._ends)
        for index, content in enumerate(known.contents):
            if len(content) < num:
                where = f"X[{index}]" if known.is_many else "X"
                message = f"{where}: {len(content)} rows, expected one for each of {num} steps"
                raise DataError(f"{message} to come")
        pairs = zip(self._known_ends.contents, known.contents, strict=True)
        return known._replace(contents=[np.concatenate(pair) for pair in pairs])

    def _scale(self, series: Series, given: _Numbers, values: Tensor) -> None:
        """Have a series scaled by values of its own, unless both it and the training's are one."""
        if given.is_many or self._ends.is_many:
            self._fitted.scaling.add(series, values)

    def _like_fitted(
        self, known: _Numbers | None, given: _Numbers
    ) -> tuple[_Numbers | None, _Numbers]:
        """Return what is given, if its columns are those of the training."""
        self._check_columns(given, self._ends, "y")
        if (known is None) != (self._known_ends is None):
            what = "X and y" if known is None else "y alone"
            name = type(self).__name__
            raise DataError(f"{name} was fitted to {what}", f"give {what} here, too")
        if known is not None and self._known_ends is not None:
            self._check_columns(known, self._known_ends, "X")
        return known, given

    def _check_columns(self, given: _Numbers, fitted: _Numbers, name: str) -> None:
        got, expected = (each.contents[0].shape[1] for each in (given, fitted))
        if got != expected:
            message = (
                f"{name} has {got} columns, but {type(self).__name__} was fitted to {expected}"
            )
            raise DataError(message)

    @property
    def _fitted(self) -> ForecastTask:
        return cast(ForecastTask, self._loaded.task)


def _told(X: Any, y: Any) -> tuple[_Numbers | None, _Numbers]:
    """Return what is known in advance, if anything, and the series."""
    if y is None:
        return None, _numbers("y", X)
    return _numbers("X", X), _numbers("y", y)


def _numbers(name: str, given: Any) -> _Numbers:
    """Return one series or several, checked; NaN is a missing number.

    Raises:
        DataError: They are no series, or of different columns.
        ValueError: As scikit-learn raises it for numbers that cannot be used.
    """
    names = tuple(given.columns) if hasattr(given, "columns") else ()
    names = names if all(isinstance(each, str) for each in names) else ()
    rows: Sequence[Any]
    if groups := groups_of(given):  # sktime's pd-multiindex, and its hierarchies
        rows = groups
    elif isinstance(given, list | tuple) and given and _is_series(given[0]):
        rows = given
    elif getattr(given, "ndim", 1) == 3:
        rows = [*given]
    else:
        contents = [_content(name, given)]
        return _Numbers(contents, False, np.ndim(given) == 1, names)
    contents = [_content(f"{name}[{index}]", row) for index, row in enumerate(rows)]
    for index, content in enumerate(contents):
        if content.shape[1] != contents[0].shape[1]:
            message = f"{name}[{index}]: {content.shape[1]} columns, {name}[0] has "
            raise DataError(f"{message}{contents[0].shape[1]}", "give the same in each")
    return _Numbers(contents, True, all(np.ndim(row) == 1 for row in rows), names)


def _is_series(given: Any) -> bool:
    return isinstance(given, list | tuple) or getattr(given, "ndim", 0) > 0


def _content(where: str, given: Any) -> Floats:
    """Return a series as (T, C) numbers."""
    if given is None or np.ndim(given) == 0:
        hint = "steps are a keyword: horizon=12" if isinstance(given, int) else ""
        raise DataError(f"{where}: expected a series of numbers, got {given!r:.60}", hint)
    check_index(where, given)
    rows = np.asarray(given)[:, None] if np.ndim(given) == 1 else given
    numbers = check_array(rows, dtype=np.float64, ensure_all_finite="allow-nan", input_name=where)
    return np.array(numbers)  # one of our own, in order


def _check_count(known: _Numbers, given: _Numbers) -> None:
    if len(known.contents) != len(given.contents):
        got, expected = len(known.contents), len(given.contents)
        raise DataError(f"X has {got} series, and y {expected}", "give X of each series")


def _names(letter: str, given: _Numbers) -> tuple[str, ...]:
    """Return what columns without names are called in the run."""
    num = given.contents[0].shape[1]
    return (letter,) if num == 1 else tuple(f"{letter}{index}" for index in range(num))


def _end(given: _Numbers, num: int) -> _Numbers:
    """Return the last steps, as many as a forecast looks at."""
    return given._replace(contents=[content[-num:].copy() for content in given.contents])


def _series(
    given: _Numbers,
    known: _Numbers | None,
    index: int,
    num_ahead: int,
    data: DataOptions,
    room: int = 0,
) -> Series:
    """Return a series as the task reads it.

    Args:
        given: Its targets, among those of others.
        known: What is known in advance.
        index: Which one.
        num_ahead: Steps after its end of which that has to be known.
        data: Of the task.
        room: Steps after its end that a forecast has.

    Raises:
        DataError: It has no value, a value without a logarithm, or X other steps.
    """
    values = given.contents[index]
    where = f"y[{index}]" if given.is_many else "y"
    if bool(np.isnan(values).all()):
        raise DataError(f"{where}: no value", "leave it out")
    curve, low = curve_of(data.transform), np.nanmin(values)
    if low <= curve.above:
        raise curve.refuse(f"{where}: a value", low)
    num, steps = len(values), np.full((len(values) + room, 0), np.nan)
    if known is not None:
        _check_count(known, given)
        content = known.contents[index]
        steps = np.full((num + room, content.shape[1]), np.nan)
        if len(content) < num + num_ahead or (not num_ahead and len(content) > num):
            message = f"{where.replace('y', 'X')}: {len(content)} rows"
            wanted = f"{num} steps of y" + (f" and {num_ahead} to come" if num_ahead else "")
            raise DataError(f"{message}, expected one for each of {wanted}")
        steps[: len(content)] = content[: len(steps)]
    return Series(
        where=where,
        id=str(index) if given.is_many else "",
        values=torch.from_numpy(values),
        past=torch.zeros(num, 0, dtype=torch.float64),
        given=torch.from_numpy(steps),
        num_columns=steps.shape[1],
        places=tuple(float(step) for step in range(1, num + room + 1)),
        last_line=num,
    )
