"""Forecasts as a figure: what was, what was forecast from one place, its interval, and what came.

Not here: what is forecast (`task.py`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from unrolled.inspection.figures.style import COLOURS, INK, new_figure, rgba, styled

__all__ = ["Drawn", "forecast_figure"]


class Drawn(NamedTuple):
    """One target of one series: the truth, and forecasts from several places.

    times: Of the truth, as the table writes them.
    truth: Numbers, None where one is missing.
    forecasts: For each place the times, forecasts, and lows and highs, which may be empty.
    name: Of the target.
    """

    times: Sequence[str]
    truth: Sequence[float | None]
    forecasts: Sequence[tuple[Sequence[str], Sequence[float], Sequence[float], Sequence[float]]]
    name: str


def forecast_figure(drawn: Drawn) -> Any:
    """Return the plotly figure.

    Raises:
        OptionError: plotly is not installed.
    """
    figure = new_figure()
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
                name="interval",
                legendgroup="interval",
                showlegend=index == 0,
            )
        figure.add_scatter(
            x=list(times),
            y=list(said),
            mode="lines",
            line={"color": blue, "width": 2},
            name="forecast",
            legendgroup="forecast",
            showlegend=index == 0,
        )
    figure.add_scatter(
        x=list(drawn.times),
        y=list(drawn.truth),
        mode="lines",
        line={"color": INK, "width": 1.5},
        name=drawn.name,
    )
    styled(figure, height=360, legend=True)
    figure.update_xaxes(nticks=10)
    return figure
