"""Figures of a layer as a map of its state: where it stands still, and how fast states part."""

import math
from typing import Any

import torch
from torch import Tensor

from unrolled.inspection.dynamics import FixedPoints, Lyapunov
from unrolled.inspection.figures.style import COLOURS, INK, new_figure, styled
from unrolled.languages import ENGLISH, Phrases

__all__ = ["eigenvalue_map", "fixed_point_map", "lyapunov_spectrum"]

_SIGN_OF = {"stable": "circle", "saddle": "x", "unstable": "triangle-up"}
_COLOUR_OF = {"stable": COLOURS[0], "saddle": COLOURS[1], "unstable": COLOURS[3]}
_MOST_POINTS = 8  # whose eigenvalues are drawn


def fixed_point_map(points: FixedPoints, *, language: str = ENGLISH) -> Any:
    """Draw the states that a layer visits and the points where it stands still, in a plane.

    It is that of the two directions in which the visited states differ most. Points that are not
    fixed, but slow, are hollow.

    Args:
        points: Of `fixed_points`.
        language: Of what is written.
    """
    say, figure = Phrases(language, "report"), new_figure(language=language)
    visited, fixed = (_side_by_side(part) for part in (points.visited, points.states))
    centre = visited.mean(0)
    _, _, directions = torch.linalg.svd(visited - centre, full_matrices=False)
    plane = directions[:2].T
    if plane.shape[1] < 2:  # of one number
        plane = torch.cat([plane, torch.zeros_like(plane)], dim=1)[:, :2]
    seen, at = ((part - centre) @ plane for part in (visited, fixed))
    figure.add_scatter(
        x=seen[:, 0].tolist(),
        y=seen[:, 1].tolist(),
        mode="markers",
        name=say("figures.visited"),
        marker={"color": INK, "size": 4, "opacity": 0.5},
        hoverinfo="skip",
    )
    kinds, is_fixed = points.kinds, points.is_fixed.tolist()
    for kind in dict.fromkeys(kinds):
        chosen = [k for k, each in enumerate(kinds) if each == kind]
        figure.add_scatter(
            x=at[chosen, 0].tolist(),
            y=at[chosen, 1].tolist(),
            mode="markers",
            name=say(f"figures.{kind}"),
            customdata=[
                [say.number(float(points.speed[k]), ".2g"), int(points.num_unstable[k])]
                for k in chosen
            ],
            marker={
                "color": _COLOUR_OF[kind],
                "size": 12,
                "symbol": [_SIGN_OF[kind] + ("" if is_fixed[k] else "-open") for k in chosen],
            },
            hovertemplate=say("figures.point") + "<extra></extra>",
        )
    styled(figure, height=380, legend=True)
    figure.update_xaxes(title_text=say("figures.first_direction"))
    figure.update_yaxes(title_text=say("figures.second_direction"))
    return figure


def eigenvalue_map(points: FixedPoints, *, language: str = ENGLISH) -> Any:
    """Draw the eigenvalues at the slowest points; within the circle a direction shrinks.

    Args:
        points: Of `fixed_points`.
        language: Of what is written.
    """
    say, figure = Phrases(language, "report"), new_figure(language=language)
    angles = [2 * math.pi * k / 180 for k in range(181)]
    figure.add_scatter(
        x=[math.cos(angle) for angle in angles],
        y=[math.sin(angle) for angle in angles],
        mode="lines",
        line={"color": INK, "width": 1, "dash": "dot"},
        showlegend=False,
        hoverinfo="skip",
    )
    for number, kind in enumerate(points.kinds[:_MOST_POINTS]):
        values = points.eigenvalues[number]
        figure.add_scatter(
            x=values.real.tolist(),
            y=values.imag.tolist(),
            mode="markers",
            name=f"{number + 1}: {say(f'figures.{kind}')}",
            marker={
                "color": COLOURS[number % len(COLOURS)],
                "size": 7,
                "symbol": _SIGN_OF[kind],
            },
            hovertemplate="%{x:.3f} + %{y:.3f} i<extra></extra>",
        )
    styled(figure, height=420, legend=True)
    figure.update_xaxes(title_text=say("figures.real"))
    figure.update_yaxes(title_text=say("figures.imaginary"), scaleanchor="x")
    return figure


def lyapunov_spectrum(found: Lyapunov, *, language: str = ENGLISH) -> Any:
    """Draw Lyapunov exponents, the largest first: the mean, and a line for each row.

    Args:
        found: Of `lyapunov_exponents`.
        language: Of what is written.
    """
    say, figure = Phrases(language, "report"), new_figure(language=language)
    numbers = list(range(1, len(found.exponents) + 1))

    def finite(values: Tensor) -> list[float | None]:
        return [value if math.isfinite(value) else None for value in values.tolist()]

    for row in found.by_row:
        figure.add_scatter(
            x=numbers,
            y=finite(row),
            mode="lines",
            line={"color": INK, "width": 0.7},
            opacity=0.4,
            showlegend=False,
            hoverinfo="skip",
        )
    figure.add_scatter(
        x=numbers,
        y=finite(found.exponents),
        mode="lines+markers",
        line={"color": COLOURS[0], "width": 2},
        showlegend=False,
        hovertemplate="%{x}: %{y:.3f}<extra></extra>",
    )
    styled(figure, height=260)
    figure.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text=say("figures.exponent"), dtick=max(1, len(numbers) // 12))
    figure.update_yaxes(title_text=say("figures.nats_per_step"))
    return figure


def _side_by_side(states: dict[str, Tensor]) -> Tensor:
    """Return states by name, (L, K, H) each, as rows of all their numbers, (K, D)."""
    return torch.cat([part.transpose(0, 1).flatten(1) for part in states.values()], dim=1)
