"""Forecasts as a figure: what was, what was forecast from one place, its interval, and what came.

Not here: how it is forecast (`task.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from unrolled.inspection.figures.style import COLOURS, INK, new_figure, rgba, styled
from unrolled.languages import Phrases
from unrolled.tasks.forecast.model import Forecaster
from unrolled.tasks.forecast.rows import ends_of_interval
from unrolled.tasks.forecast.windows import Window

if TYPE_CHECKING:
    from unrolled.tasks.forecast.task import ForecastTask

__all__ = ["Drawn", "forecast_figure", "forecasts_from"]


class Drawn(NamedTuple):
    """One target of one series: the truth, and forecasts from several places.

    times: Of the truth, as the table writes them.
    truth: Numbers, None where one is missing.
    forecasts: For each place the times, forecasts, and lows and highs, which may be empty.
    target: Its name.
    series: That of its series; empty where there is one.
    """

    times: Sequence[str]
    truth: Sequence[float | None]
    forecasts: Sequence[tuple[Sequence[str], Sequence[float], Sequence[float], Sequence[float]]]
    target: str
    series: str


def forecasts_from(
    task: "ForecastTask", model: Forecaster, windows: Sequence[Window], num_steps: int
) -> list[Drawn]:
    """Return the targets of the series of the first window, with forecasts from there on.

    Each forecast begins where the one before it ends.

    Args:
        task: Whose windows they are.
        model: In eval mode.
        windows: At least one.
        num_steps: Of the series, at most.
    """
    series, horizon = windows[0].series, task.sizes.horizon
    start = max(0, windows[0].origin - task.sizes.lookback)
    stop = start + num_steps
    last = min(stop, len(series) - horizon + 1)
    origins = range(windows[0].origin, max(last, windows[0].origin + 1), horizon)
    shown = [replace(windows[0], origin=origin) for origin in origins]
    levels = ends_of_interval(task.options.model, None) or ()
    forecasts = [task.forecast(model, [window], levels) for window in shown]
    texts = [task.calendar.text(place) for place in series.places[: stop + horizon]]
    drawn = []
    for column, target in enumerate(task.options.data.target):
        truth = series.values[start:stop, column].tolist()
        lines = []
        for window, forecast in zip(shown, forecasts, strict=True):
            times = texts[window.origin : window.origin + horizon]
            low: list[float] = []
            high: list[float] = []
            if forecast.quantiles is not None:
                low, high = forecast.quantiles[:, 0, :, column].tolist()
            lines.append((times, forecast.point[0, :, column].tolist(), low, high))
        known = [None if value != value else value for value in truth]
        drawn.append(Drawn(texts[start : start + len(known)], known, lines, target, series.id))
    return drawn


def forecast_figure(drawn: Drawn, name: str, *, language: str) -> Any:
    """Return the plotly figure.

    Args:
        drawn: What is in it.
        name: What the truth is called.
        language: Of the other words, and of numbers.

    Raises:
        OptionError: plotly is not installed; there is no such language.
    """
    say, figure = Phrases(language, "report"), new_figure(language=language)
    blue = COLOURS[0]
    for index, (times, said, low, high) in enumerate(drawn.forecasts):
        if len(low):
            figure.add_scatter(
                x=[*times, *reversed(times)],
                y=[*high, *reversed(low)],
                fill="toself",
                fillcolor=rgba(blue, 0.18),
                line={"width": 0},
                hoverinfo="skip",
                name=say("forecast.interval"),
                legendgroup="interval",
                showlegend=index == 0,
            )
        figure.add_scatter(
            x=list(times),
            y=list(said),
            mode="lines",
            line={"color": blue, "width": 2},
            name=say("forecast.forecast"),
            legendgroup="forecast",
            showlegend=index == 0,
        )
    figure.add_scatter(
        x=list(drawn.times),
        y=list(drawn.truth),
        mode="lines",
        line={"color": INK, "width": 1.5},
        name=name,
    )
    styled(figure, height=360, legend=True)
    figure.update_xaxes(nticks=10)
    return figure
