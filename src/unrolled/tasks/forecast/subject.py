"""A forecaster as it is looked into: what it reads of windows, and its forecasts."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import pi, sin
from typing import TYPE_CHECKING, cast

import torch

from unrolled.data.source import Source
from unrolled.inspection.page import Page
from unrolled.inspection.subject import InputForm, Passage, Subject
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.windows import Window, apart

if TYPE_CHECKING:
    from unrolled.tasks.forecast.task import ForecastTask

__all__ = ["ForecastSubject"]

_DRAWN_TARGETS = 4
_DRAWN_STEPS = 600


class ForecastSubject(Subject):
    """A forecaster and its task.

    Args:
        model: In eval mode.
        task: Whose windows it reads.
    """

    by_step = False
    is_text = False

    def __init__(self, model: Forecaster, task: "ForecastTask") -> None:
        super().__init__(model, model.layer, "step")
        self.task = task

    @property
    def form(self) -> InputForm:
        """A series as a line of a `.ts` file."""
        return InputForm("series", dimensions=len(self.task.options.data.target))

    def example(self) -> str:
        """Return waves of the season, of the mean and spread of the first series."""
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
