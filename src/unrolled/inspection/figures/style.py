"""How figures look: colours that colour-blind eyes tell apart, on white as on black; one layout.

Not here: what is drawn.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from unrolled.errors import OptionError
from unrolled.languages import ENGLISH, load_words

__all__ = [
    "AROUND_ZERO",
    "COLOURS",
    "DASHES",
    "FROM_ZERO",
    "INK",
    "MONO",
    "new_figure",
    "rgba",
    "styled",
]

# After Okabe and Ito (2008), each as far from white as from black; their black and yellow are not.
COLOURS = ("#2282c4", "#d9620f", "#129570", "#c06ca2", "#2e93c4", "#bd8100")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")  # for eyes without colour
INK = "#5f6b76"  # a grey that is read on white and on black

# Blue is above zero and orange below, as on the page of `unrolled serve`. Nothing is the page's own
# colour, and no end hides a letter.
AROUND_ZERO = (
    (0.0, "rgba(222,92,0,0.85)"),
    (0.25, "rgba(230,130,30,0.5)"),
    (0.5, "rgba(128,128,128,0.05)"),
    (0.75, "rgba(40,135,205,0.5)"),
    (1.0, "rgba(0,104,190,0.85)"),
)
FROM_ZERO = (
    (0.0, "rgba(128,128,128,0.05)"),
    (0.5, "rgba(40,135,205,0.45)"),
    (1.0, "rgba(0,104,190,0.85)"),
)

SANS = "Inter, 'Segoe UI', system-ui, -apple-system, 'Helvetica Neue', Arial, sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_FAINT = "rgba(128,128,128,0.18)"


def new_figure(rows: int | None = None, *, language: str = ENGLISH) -> Any:
    """Return an empty plotly figure, of `rows` one below the other on one x axis.

    Args:
        rows: How many; None for one.
        language: Of its numbers.

    Raises:
        OptionError: plotly is not installed; there is no such language.
    """
    figure = _figure_class()()
    if load_words(language)["decimal"] == ",":
        figure.update_layout(separators=",.")
    if rows is not None:
        options = {"rows": rows, "cols": 1, "shared_xaxes": True, "vertical_spacing": 0.03}
        _imported("plotly.subplots").make_subplots(figure=figure, **options)
    return figure


@cache
def _figure_class() -> Any:
    """Return plotly's figure, but for a page of its own that needs no network: plotly's does."""

    class Figure(_imported("plotly.graph_objects").Figure):  # type: ignore[misc]  # imported late
        def _repr_html_(self) -> str:
            shown: dict[str, str] = self._repr_mimebundle_()
            whole: str = self.to_html(full_html=False, include_plotlyjs=True)
            return shown.get("text/html", whole)

    return Figure


def styled(figure: Any, *, height: int, legend: bool = False) -> Any:
    """Return `figure` in our layout, `height` pixels high."""
    figure.update_layout(
        template="none",
        height=height,
        autosize=True,
        font={"family": SANS, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 58, "r": 12, "t": 12, "b": 44},
        showlegend=legend,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hoverlabel={"font": {"family": SANS, "size": 12}},
    )
    axis: dict[str, Any] = {
        "gridcolor": _FAINT,
        "zerolinecolor": _FAINT,
        "linecolor": _FAINT,
        "ticks": "",
        "automargin": True,
        "title": {"standoff": 8, "font": {"size": 12}},
        "tickfont": {"size": 11},
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def rgba(colour: str, opacity: float) -> str:
    """Return a colour #rrggbb with an opacity, as plotly writes it."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def scale(stops: Sequence[tuple[float, str]]) -> list[list[Any]]:
    """Return a colour scale as plotly has it."""
    return [list(stop) for stop in stops]


def _imported(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise OptionError(
            "figures need plotly, which is not installed", 'pip install "unrolled[figures]"'
        ) from None
