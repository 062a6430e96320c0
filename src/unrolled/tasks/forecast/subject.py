"""A forecaster as it is looked into: what it reads of windows, and its forecasts."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import islice
from math import isfinite, pi, sin
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from unrolled.data.source import Source
from unrolled.inspection.page import Page
from unrolled.inspection.subject import InputForm, Passage, Subject
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.rows import ends_of_interval
from unrolled.tasks.forecast.windows import Window, apart

if TYPE_CHECKING:
    from unrolled.tasks.forecast.figure import Drawn
    from unrolled.tasks.forecast.task import ForecastTask

__all__ = ["ForecastSubject"]

_DRAWN_TARGETS = 4
_DRAWN_STEPS = 600
_SHOWN = 200  # steps before a forecast, or as many as it looks at
_SERIES_AHEAD = 20
_TYPED = 3500  # characters of an example


class ForecastSubject(Subject):
    """A forecaster and its task.

    Args:
        model: In eval mode.
        task: Whose windows it reads.
    """

    by_step = False
    is_text = False
    backtests = True

    def __init__(self, model: Forecaster, task: "ForecastTask") -> None:
        super().__init__(model, model.layer, "step")
        self.task = task

    @property
    def form(self) -> InputForm:
        """A series as a line of a `.ts` file."""
        return InputForm("series", dimensions=len(self.task.options.data.target))

    def example(self) -> str | None:
        """Return waves of the season, of the mean and spread of the first series."""
        if not self._can_be_typed:
            return None
        task = self.task
        scale = next(iter(task.scaling.scales.values()))
        season = task.calendar.season if task.calendar.season > 1 else 12
        num = task.sizes.lookback
        waves = []
        for center, width in zip(scale.center.tolist(), scale.width.tolist(), strict=True):
            wave = [center + width * (1.5 + sin(2 * pi * t / season)) / 1.5 for t in range(num)]
            wave = task.scaling.curve.undo(torch.tensor(wave).clamp(max=700)).tolist()
            waves.append(",".join(f"{value:.4g}" for value in wave))
        return ":".join(waves)

    def as_input(self, example: Window) -> str | None:
        """Return the last values of a series as one types them.

        None of another series than the one whose scale typed values have, and where columns are
        read that cannot be typed.
        """
        series = example.series
        is_other = series.id != next(iter(self.task.scaling.scales))
        if is_other or not self._can_be_typed or len(series) < self.task.sizes.lookback:
            return None
        line = _line_of(series.values[-self._num_drawn :])
        return line if len(line) < _TYPED else _line_of(series.values[-self.task.sizes.lookback :])

    @property
    def _can_be_typed(self) -> bool:
        data = self.task.options.data
        return not data.past and not data.known and not data.static

    @property
    def _num_drawn(self) -> int:
        """How many steps are shown before a forecast: some more than it looks at."""
        lookback = self.task.sizes.lookback
        return max(lookback, min(2 * lookback, _SHOWN))

    def backtest(self, examples: Sequence[Window]) -> list[dict[str, Any]]:
        """Return forecasts from places one after the other, each beginning where another ends."""
        from unrolled.tasks.forecast.figure import forecasts_from

        windows = apart([*examples])
        if not windows:
            return []
        sizes = self.task.sizes
        drawn = forecasts_from(self.task, cast(Forecaster, self.model), windows, _DRAWN_STEPS)
        return [
            _told(each, min(windows[0].origin, sizes.lookback), sizes.horizon) for each in drawn
        ]

    def ahead(self) -> list[dict[str, Any]]:
        """Return the forecasts from the ends of the first series of the table."""
        from unrolled.tasks.forecast.figure import Drawn

        told = []
        levels = ends_of_interval(self.task.options.model, None) or ()
        for window in islice(self.task.ends(self.task.own_source), _SERIES_AHEAD):
            series, horizon = window.series, self.task.sizes.horizon
            said = self.task.forecast(cast(Forecaster, self.model), [window], levels)
            start = max(0, len(series) - self._num_drawn)
            ends = series.places[start : len(series) + horizon]
            times = [window.calendar.text(place) for place in ends]
            for column, target in enumerate(self.task.options.data.target):
                truth = series.values[start:, column].tolist()
                low, high = (
                    ([], []) if said.quantiles is None else said.quantiles[:, 0, :, column].tolist()
                )
                point = said.point[0, :, column].tolist()
                forecast = (times[len(truth) :], point, low, high)
                drawn = Drawn(times[: len(truth)], truth, [forecast], target, series.id)
                told.append(_told(drawn, len(truth), horizon))
        return told

    def read(self, source: Source) -> Iterator[Passage]:
        """Yield the end of each series, as `unrolled predict` reads it."""
        for window in self.task.ends(source):
            yield self.passage(window)

    def passages(self, examples: Iterable[Window]) -> Iterator[Passage]:
        """Yield windows that do not share what they look at."""
        for window in apart([*examples]):
            yield self.passage(window)

    @torch.no_grad()
    def passage(self, window: Window) -> Passage:
        """Return how a window is read; where targets are read apart, the first one."""
        model = cast(Forecaster, self.model)
        features = model.features(self.task.inputs([window]))[0]
        start, text = window.origin - window.sizes.lookback, self.task.calendar.text
        places = window.series.places[start : window.origin]
        each = len(places) // len(features)
        ends = places[len(places) - each * len(features) :][each - 1 :: each]
        pieces = tuple(f" {text(place)}" for place in ends)
        return Passage(pieces, features, context=window)

    def write(self, page: Page, passages: Sequence[Passage]) -> None:
        """Write the forecasts from the passages beside what came."""
        from unrolled.tasks.forecast.figure import forecast_figure, forecasts_from

        windows = [cast(Window, passage.context) for passage in passages]
        say = page.say
        page.section(say("forecast.heading"), say("forecast.link"), say("forecast.intro"))
        targets = forecasts_from(self.task, cast(Forecaster, self.model), windows, _DRAWN_STEPS)
        for drawn in targets[:_DRAWN_TARGETS]:
            name = drawn.target
            if drawn.series:
                name = say("forecast.of", target=drawn.target, series=drawn.series)
            figure = forecast_figure(drawn, name, language=say.language)
            page.figure(figure, say("forecast.label", name=name), f"<b>{escape(name)}</b>")


def _line_of(values: Tensor) -> str:
    """Return values, (T, C), as one types them: between commas, targets between colons."""
    columns = (["?" if v != v else f"{v:.6g}" for v in column] for column in values.T.tolist())
    return ":".join(",".join(column) for column in columns)


def _told(drawn: "Drawn", first: int, horizon: int) -> dict[str, Any]:
    """Return forecasts in types that JSON has.

    Args:
        drawn: The forecasts of a target.
        first: Where in its times the first of them begins.
        horizon: How many steps after it the next one begins.
    """
    return {
        "target": drawn.target,
        "series": drawn.series,
        "times": [*drawn.times],
        "truth": _finite(drawn.truth),
        "forecasts": [
            {
                "start": first + number * horizon,
                "times": [*times],
                "forecast": _finite(point),
                "low": _finite(low),
                "high": _finite(high),
            }
            for number, (times, point, low, high) in enumerate(drawn.forecasts)
        ],
    }


def _finite(values: Sequence[float | None]) -> list[float | None]:
    """Return numbers as JSON has them: None for what is none."""
    return [None if each is None or not isfinite(each) else each for each in values]
