"""Figures over lags, units and updates: reach, memory, saturation, learning curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import OptionError
from unrolled.inspection.figures.style import (
    COLOURS,
    DASHES,
    FROM_ZERO,
    INK,
    new_figure,
    rgba,
    scale,
    styled,
)
from unrolled.inspection.gradients import Reach
from unrolled.languages import ENGLISH, Phrases

__all__ = [
    "learning_curves",
    "memory_map",
    "reach_by_lag",
    "saturation_map",
    "step_stretch",
    "time_constant_curve",
]

_FLOOR = 1e-5  # of the gradient at lag 0: nobody learns from less


def reach_by_lag(
    reaches: Mapping[str, Reach],
    *,
    state: str | None = None,
    wanted: int | None = None,
    cut: int | None = None,
    unit: str = "step",
    language: str = ENGLISH,
) -> Any:
    """Draw how much of the gradient is left k steps back, on a logarithmic scale.

    Args:
        reaches: By the names of the curves: several cells, or a cell before and after training.
        state: Which gradient is drawn, of the first layer: "x" compares any cells. None draws every
            state of every layer but "x".
        wanted: A mark at this lag: how far back the loss should be felt.
        cut: A mark at this lag: where training cuts its gradient, k2.
        unit: What a step is called.
        language: Of what is written.
    """
    say, figure = Phrases(language, "report"), new_figure(language=language)
    back = say("figures.back", units=say.many(unit))
    number = 0
    longest = 1
    for name, reach in reaches.items():
        relative = reach.relative()
        states = [s for s in relative if s != "x"] or ["x"] if state is None else [state]
        for which in states:
            for layer, curve in enumerate(relative[which]):
                if state is not None and layer > 0:
                    continue
                parts = [name] if name else []
                if state is None:
                    parts.append(say.of("figures.states", which, state=which))
                    of_layer = say("memory.layer", layer=layer + 1)
                    parts += [of_layer] * (len(relative[which]) > 1)
                shown = curve.where(curve >= _FLOOR, torch.nan).tolist()
                longest = max([longest, *(k for k, v in enumerate(shown) if v == v)])
                figure.add_scatter(
                    x=reach.lags.tolist(),
                    y=[None if v != v else v for v in shown],
                    name=", ".join(parts) or say("figures.gradient"),
                    mode="lines",
                    line={
                        "color": COLOURS[number % len(COLOURS)],
                        "width": 2.5,
                        "dash": DASHES[number % len(DASHES)],
                    },
                    hovertemplate=f"%{{x}} {back}: %{{y:.2e}}",
                )
                number += 1
    styled(figure, height=360, legend=number > 1)
    marks = [lag for lag in (wanted, cut) if lag is not None]
    shown_lags = max(longest * 1.08, 10, *(lag * 1.08 for lag in marks))
    end = min(max(int(reach.lags[-1]) for reach in reaches.values()), shown_lags)
    figure.add_hline(y=0.01, line={"color": INK, "width": 1, "dash": "dot"})
    figure.add_annotation(
        xref="paper", x=1, y=-2, xanchor="right", yanchor="bottom", showarrow=False,
        text=say("figures.felt"), font={"size": 11},
    )  # fmt: skip
    for lag, meaning in ((wanted, say("figures.wanted")), (cut, say("figures.cut"))):
        if lag is None or lag > end:
            continue
        figure.add_vline(x=lag, line={"color": INK, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=lag, yref="paper", y=1, yanchor="top", showarrow=False, font={"size": 11},
            xanchor="left" if lag < 0.6 * end else "right",
            text=f"&nbsp;{lag}: {meaning}&nbsp;",
        )  # fmt: skip
    figure.update_xaxes(title_text=back, range=[0, end])
    figure.update_yaxes(
        title_text=say("figures.part"),
        type="log",
        tickvals=[10.0**power for power in range(-5, 7)],
        ticktext=[*(f"{say.number(share, 'g')} %" for share in (0.001, 0.01, 0.1)), "1 %", "10 %",
                  "100 %", "10×", "100×", "10³×", "10⁴×", "10⁵×", "10⁶×"],
    )  # fmt: skip
    return figure


def step_stretch(norms: Tensor, tokens: Sequence[str], *, language: str = ENGLISH) -> Any:
    """Draw by how much a single step stretches a change of the state, along a text.

    Args:
        norms: Of `step_jacobian_norms`, one row's, (L, T).
        tokens: What each step read, T of them.
        language: Of what is written.
    """
    say, figure = Phrases(language, "report"), new_figure(language=language)
    for layer, line in enumerate(norms.tolist()):
        figure.add_scatter(
            x=list(range(len(line))),
            y=line,
            customdata=[_visible(token) for token in tokens],
            name=say("memory.layer", layer=layer + 1),
            mode="lines",
            line={"color": COLOURS[layer % len(COLOURS)], "width": 1.5},
            hovertemplate=say("figures.after") + " “%{customdata}”: × %{y:.2f}<extra></extra>",
        )
    styled(figure, height=230, legend=len(norms) > 1)
    figure.add_hline(y=1, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text=say("figures.characters"), showgrid=False)
    figure.update_yaxes(title_text=say("figures.stretched"), rangemode="tozero", ticksuffix="×")
    return figure


def time_constant_curve(constants: Mapping[str, Tensor], *, language: str = ENGLISH) -> Any:
    """Draw the time constants of all units, the longest first, on a logarithmic scale.

    Args:
        constants: (H,) of `time_constants` for each layer or cell by its name.
        language: Of what is written.
    """
    say, figure = Phrases(language, "report"), new_figure(language=language)
    unit, steps_word = say("figures.unit"), say("figures.steps")
    for number, (name, steps) in enumerate(constants.items()):
        order = steps.argsort(descending=True)
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(
            x=list(range(1, len(order) + 1)),
            y=steps[order].tolist(),
            customdata=order.tolist(),
            name=name,
            mode="lines",
            line={"color": colour, "width": 2.5, "dash": DASHES[number % len(DASHES)]},
            fill="tozeroy" if len(constants) == 1 else None,
            fillcolor=rgba(colour, 0.12),
            hovertemplate=f"{unit} %{{customdata}}: %{{y:.1f}} {steps_word}"
            "<extra>%{fullData.name}</extra>",
        )
    styled(figure, height=280, legend=len(constants) > 1)
    figure.update_xaxes(title_text=say("figures.slowest"), showgrid=False)
    figure.update_yaxes(
        title_text=say("figures.constant"),
        type="log",
        tickvals=[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
    )
    return figure


def memory_map(
    moved: Tensor, units: Sequence[int], unit: str = "step", *, language: str = ENGLISH
) -> Any:
    """Draw how far units still move when the input k steps ago is replaced.

    Args:
        moved: (K, H), as part of each unit's spread: a layer of `Memory.by_state`.
        units: The units that are drawn, from top to bottom.
        unit: What a step is called.
        language: Of what is written.
    """
    say, figure = Phrases(language, "report"), new_figure(language=language)
    later, spread = say("figures.later", units=say.many(unit)), say("figures.of_spread")
    shown = moved[:, list(units)].T.float().cpu().numpy()
    figure.add_heatmap(
        z=shown,
        zmin=0,
        zmax=1,
        colorscale=scale(FROM_ZERO),
        y=[f"{say('figures.unit')} {number}" for number in units],
        hovertemplate=f"%{{y}}, %{{x}} {later}: %{{z:.2f}} {spread}<extra></extra>",
        colorbar={
            "thickness": 8,
            "outlinewidth": 0,
            "tickvals": [0, 0.5, 1],
            "tickfont": {"size": 10},
            "len": 0.6,
        },
    )
    styled(figure, height=max(220, min(420, 60 + 6 * len(units))))
    figure.update_xaxes(title_text=say("figures.since", units=say.many(unit)), showgrid=False)
    figure.update_yaxes(
        autorange="reversed",
        showticklabels=False,
        showgrid=False,
        title_text=say("figures.units"),
    )
    return figure


def saturation_map(shares: Mapping[str, tuple[Tensor, Tensor]], *, language: str = ENGLISH) -> Any:
    """Draw each unit at the shares of time it is at its low end and at its high end.

    After A. Karpathy, J. Johnson and L. Fei-Fei (2015), figure 3.

    Args:
        shares: Of `saturation`: (low, high), (H,) each, by the names of the gates.
        language: Of what is written.
    """
    if not shares:
        raise OptionError("saturation_map: nothing in this cell has bounds")
    say, figure = Phrases(language, "report"), new_figure(language=language)
    of_unit, low_word, high_word = (
        say(name) for name in ("figures.of_unit", "gates.low", "gates.high")
    )
    symbols = ("circle", "diamond", "square", "cross", "triangle-up", "x")
    for number, (name, (low, high)) in enumerate(shares.items()):
        figure.add_scatter(
            x=low.tolist(),
            y=high.tolist(),
            customdata=list(range(len(low))),
            name=name,
            mode="markers",
            marker={
                "color": rgba(COLOURS[number % len(COLOURS)], 0.55),
                "size": 8,
                "symbol": symbols[number % len(symbols)],
                "line": {"width": 0},
            },
            hovertemplate=f"{name} {of_unit} %{{customdata}}: {low_word} %{{x:.0%}}, "
            f"{high_word} %{{y:.0%}}<extra></extra>",
        )
    styled(figure, height=400, legend=True)
    figure.add_scatter(
        x=[0, 1], y=[1, 0], mode="lines", showlegend=False, hoverinfo="skip",
        line={"color": INK, "width": 1, "dash": "dot"},
    )  # fmt: skip
    figure.update_xaxes(title_text=say("figures.low_share"), range=[-0.02, 1.03])
    figure.update_yaxes(title_text=say("figures.high_share"), range=[-0.02, 1.03])
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(tickformat=".0%")
    return figure


def learning_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_title: str,
    y_title: str,
    language: str = ENGLISH,
) -> Any:
    """Draw measurements over a training.

    Args:
        curves: (x, y) pairs by the names of the curves. One of more than 40 points is drawn faintly
            beneath the others: it is the noisy one.
        x_title: What x is, with its unit.
        y_title: What y is, with its unit.
        language: Of the numbers.
    """
    figure = new_figure(language=language)
    for number, (name, points) in enumerate(curves.items()):
        dense = len(points) > 40
        colour = COLOURS[number % len(COLOURS)]
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            name=name,
            mode="lines" if dense else "lines+markers",
            marker={"size": 6},
            line={"color": rgba(colour, 0.55) if dense else colour, "width": 1.5 if dense else 2.5},
            hovertemplate=f"%{{x:.4g}}: %{{y:.4f}}<extra>{name}</extra>",
        )
    styled(figure, height=300, legend=len(curves) > 1)
    figure.update_xaxes(title_text=x_title, showgrid=False)
    figure.update_yaxes(title_text=y_title)
    return figure


def _visible(token: str) -> str:
    return token.replace("\n", "↵").replace(" ", "␣").replace("\t", "⇥")
