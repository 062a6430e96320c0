"""Learning curves and final values as plotly figures: a colour and a dash for each contestant.

Not here: the page that shows them.
"""

from bisect import bisect_left
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from unrolled.comparison.gather import Comparison, Finished
from unrolled.comparison.verdict import best_first
from unrolled.errors import OptionError
from unrolled.languages import ENGLISH, Phrases, load_words
from unrolled.metrics import find_metric

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["curves", "final_values", "plotly"]

# Okabe and Ito's colours, which people with any colour vision can tell apart; without their yellow,
# which white paper swallows.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
_POINTS = 80
_FAR = 2.5  # times the range of all trainings
_AXES = {"by updates": (0, "figures.by_updates"), "by time": (1, "figures.by_time")}

Curve = list[tuple[float, float]]


def plotly() -> "ModuleType":
    """Return the library.

    Raises:
        OptionError: It is not installed.
    """
    try:
        import plotly.graph_objects
    except ImportError:
        message = "the figures of a comparison need plotly, which is not installed"
        raise OptionError(message, 'pip install "unrolled[figures]"') from None
    module: ModuleType = plotly.graph_objects
    return module


def curves(comparison: Comparison, kind: str, language: str = ENGLISH) -> Any:
    """Return the held-out loss on the way: the mean over the seeds, and the range they span.

    Args:
        comparison: What to draw.
        kind: "by updates" or "by time".
        language: Of what is written.
    """
    go = plotly()
    say = Phrases(language, "comparison")
    column, title = _AXES[kind]
    figure = go.Figure()
    every_loss: list[float] = []
    for place, row in enumerate(comparison.rows):
        runs = [run for run in comparison.finished if run.contestant == row.contestant]
        points = _over_seeds([_curve(run, column) for run in runs])
        if not points:
            continue
        x, means, lows, highs = zip(*points, strict=True)
        every_loss += lows
        colour = _COLOURS[place % len(_COLOURS)]
        if row.num_seeds > 1:
            figure.add_scatter(
                x=[*x, *reversed(x)],
                y=[*highs, *reversed(lows)],
                fill="toself",
                fillcolor=colour,
                opacity=0.13,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=row.contestant,
            )
        figure.add_scatter(
            x=x,
            y=means,
            name=row.contestant,
            legendgroup=row.contestant,
            mode="lines",
            line={"color": colour, "dash": _DASHES[place % len(_DASHES)], "width": 2.2},
        )
    for name, metrics in comparison.baselines.items():
        loss = metrics.get("loss", 0.0)
        if loss > 0:
            figure.add_hline(
                y=loss,
                line={"color": "#767676", "dash": "dot", "width": 1},
                annotation_text=name,
                annotation_font_color="#595959",
                annotation_position="top right",
            )
    wide = min(every_loss, default=0) > 0 and max(every_loss) > 30 * min(every_loss)
    figure.update_xaxes(title=say(title), rangemode="tozero")
    loss_metric = find_metric(comparison.metrics, "loss")
    assert loss_metric is not None
    figure.update_yaxes(title=say("figures.held_out", metric=loss_metric.label))
    figure.update_layout(height=460)
    if wide:
        figure.update_yaxes(type="log", exponentformat="power", dtick=1)
    return _styled(figure, language)


def final_values(comparison: Comparison, language: str = ENGLISH) -> Any:
    """Return the metric that decides, a point each training, the best contestant on top."""
    go = plotly()
    say = Phrases(language, "comparison")
    figure = go.Figure()
    metric = comparison.metric.name
    names = [row.contestant for row in comparison.rows]
    for row in reversed(best_first(comparison)):
        place = names.index(row.contestant)
        values = [
            (run.seed, run.results["metrics"][metric])
            for run in comparison.finished
            if run.contestant == row.contestant
        ]
        colour = _COLOURS[place % len(_COLOURS)]
        wrapped = row.contestant.replace(" --", "<br>--")
        figure.add_scatter(
            x=[value for _, value in values],
            y=[wrapped] * len(values),
            mode="markers",
            marker={
                "color": colour,
                "symbol": _SYMBOLS[place % len(_SYMBOLS)],
                "size": 10,
                "opacity": 0.75,
            },
            text=[f"{say('figures.seed')} {seed}" for seed, _ in values],
            hovertemplate="%{y}, %{text}: %{x}<extra></extra>",
        )
        if len(values) > 1:
            figure.add_scatter(
                x=[row.metrics[metric]],
                y=[wrapped],
                mode="markers",
                marker={"symbol": "line-ns-open", "color": "#222", "size": 22, "line_width": 2},
                hovertemplate=f"%{{y}}, {say('figures.mean')}: %{{x}}<extra></extra>",
            )
    everything = [run.results["metrics"][metric] for run in comparison.finished]
    low, high = min(everything), max(everything)
    for name, metrics in comparison.baselines.items():
        # one that is far away, such as the most frequent class, would crowd all else together
        far = _FAR * (high - low)
        if metric in metrics and low - far <= metrics[metric] <= high + far:
            figure.add_vline(
                x=metrics[metric],
                line={"color": "#767676", "dash": "dot", "width": 1},
                annotation_text=name,
                annotation_font_color="#595959",
                annotation_yanchor="bottom",
                annotation_xanchor="center",
            )
    figure.update_xaxes(title=comparison.metric.label)
    figure.update_yaxes(automargin=True)
    lines = max(1 + name.count(" --") for name in names)
    figure.update_layout(height=130 + len(names) * (24 + 18 * lines), showlegend=False)
    return _styled(figure, language)


def _styled(figure: Any, language: str) -> Any:
    if load_words(language)["decimal"] == ",":
        figure.update_layout(separators=",.")
    figure.update_layout(
        template="simple_white",
        hovermode="closest",
        margin={"l": 64, "r": 24, "t": 36, "b": 56},
        font={"family": "system-ui, sans-serif", "size": 14},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    )
    figure.update_xaxes(showgrid=True, gridcolor="#ececec")
    figure.update_yaxes(showgrid=True, gridcolor="#ececec")
    return figure


def _curve(run: Finished, column: int) -> Curve:
    return [(point[column], point[2]) for point in run.curve]


def _over_seeds(runs: Sequence[Curve]) -> list[tuple[float, float, float, float]]:
    """Return (x, mean, least, most) over the runs, where all of them have come to."""
    runs = [run for run in runs if run]
    if not runs:
        return []
    end = min(run[-1][0] for run in runs)
    grid = sorted({point[0] for run in runs for point in run if point[0] <= end} | {end})
    if len(grid) > _POINTS and len(runs) > 1:
        grid = [min(end, end * i / (_POINTS - 1)) for i in range(_POINTS)]
    points = []
    for x in grid:
        values = [_at(run, x) for run in runs]
        points.append((x, fmean(values), min(values), max(values)))
    return points


def _at(run: Curve, x: float) -> float:
    """Return the value of a curve at `x`, on the line between two of its points."""
    after = bisect_left(run, x, key=lambda point: point[0])
    if after == 0 or run[after][0] == x:
        return run[after][1]
    (x0, y0), (x1, y1) = run[after - 1], run[after]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
