"""Figures over a text: gates, one unit, what may come next, and what attends to what."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import ShapeError
from unrolled.inspection.figures.style import (
    AROUND_ZERO,
    FROM_ZERO,
    MONO,
    new_figure,
    scale,
    styled,
)
from unrolled.languages import ENGLISH, Phrases

__all__ = ["attention_map", "candidates", "gate_maps", "unit_over_text"]

_SIGNS = {"\n": "↵", "\t": "⇥", " ": " "}
_CELL = 9.4  # pixels that a character of a wrapped text is wide
_LINE = 22  # and high
_WIDEST = 14  # characters of a token, longer ones are cut
_COLUMN = 6.9  # pixels that a step of a map is wide


def gate_maps(
    values: Mapping[str, Tensor],
    tokens: Sequence[str],
    units: Sequence[int],
    *,
    names: Sequence[str],
    language: str = ENGLISH,
) -> Any:
    """Draw gates and states over a text, one below the other: a line is a unit, a column a token.

    Args:
        values: By name (T, H), as in a `Record` for one row.
        tokens: What each step read, T of them.
        units: The units that are drawn, from top to bottom.
        names: Which values are drawn, from top to bottom.
        language: Of what is written.
    """
    _check_length("gate_maps", values[names[0]], tokens)
    say, figure = Phrases(language, "report"), new_figure(len(names), language=language)
    unit, of, character = (say(f"figures.{name}") for name in ("unit", "of", "character"))
    chosen = list(units)
    signs = [_sign(token) for token in tokens]
    for row, name in enumerate(names, 1):
        shown = values[name][:, chosen].T.float().cpu()
        signed = bool((shown < 0).any())
        most = float(shown.abs().max())
        # values that are mostly 0 have no other size that most keep within
        limit = 1.0 if most <= 1 else float(shown.abs().quantile(0.95)) or most
        figure.add_heatmap(
            row=row,
            col=1,
            z=shown.numpy(),
            zmin=-limit if signed else 0,
            zmax=limit,
            colorscale=scale(AROUND_ZERO if signed else FROM_ZERO),
            y=[f"{unit} {number}" for number in chosen],
            hovertemplate=f"{name} {of} %{{y}}, {character} %{{x}}: %{{z:.3f}}<extra></extra>",
            colorbar=_bar(say, row, len(names), limit, signed),
        )
    styled(figure, height=50 + 128 * len(names))
    width = 110 + round(_COLUMN * len(tokens))
    figure.update_layout(width=width, autosize=False, margin_r=34)
    figure.update_xaxes(showgrid=False, showticklabels=False, zeroline=False)
    figure.update_xaxes(
        row=len(names),
        showticklabels=True,
        tickmode="array",
        tickvals=list(range(len(signs))),
        ticktext=signs,
        tickangle=0,
        tickfont={"family": MONO, "size": 9},
    )
    for row, name in enumerate(names, 1):
        figure.update_yaxes(row=row, title_text=f"<b>{name}</b>")
    figure.update_yaxes(autorange="reversed", showticklabels=False, showgrid=False, zeroline=False)
    return figure


def unit_over_text(
    values: Tensor, tokens: Sequence[str], *, columns: int = 76, language: str = ENGLISH
) -> Any:
    """Colour the tokens of a text by the value of one unit after each of them.

    After A. Karpathy, J. Johnson and L. Fei-Fei (2015), figure 2.

    Args:
        values: (T,).
        tokens: What each step read, T of them.
        columns: Characters in a line; a line break in the text also begins a new one.
        language: Of the numbers.
    """
    _check_length("unit_over_text", values, tokens)
    num_cells = _num_cells(tokens, columns)
    lines = _wrapped(tokens, num_cells)
    limit = max(float(values.abs().quantile(0.98)), 1e-6)
    z = [[float(values[t]) for t in line] + [None] * (num_cells - len(line)) for line in lines]
    signs = [[_sign(tokens[t]) for t in line] + [""] * (num_cells - len(line)) for line in lines]
    figure = new_figure(language=language)
    figure.add_heatmap(
        z=z,
        zmin=-limit,
        zmax=limit,
        colorscale=scale(AROUND_ZERO),
        text=signs,
        texttemplate="%{text}",
        textfont={"family": MONO, "size": 14},
        hovertemplate="%{text}: %{z:.3f}<extra></extra>",
        hoverongaps=False,
        showscale=False,
    )
    return _as_text(figure, len(lines), columns)


def candidates(
    tokens: Sequence[str],
    probabilities: Tensor,
    symbols: Sequence[str],
    *,
    forecasts: bool = True,
    top: int = 5,
    columns: int = 80,
    language: str = ENGLISH,
) -> Any:
    """Draw a text, and beneath each token what the model says there, the likeliest on top.

    The text itself, and of forecasts what did come next, are bold.

    Args:
        tokens: What each step read, T of them.
        probabilities: Of what is said at each step, (T, V).
        symbols: The text of each label, V of them.
        forecasts: Whether the labels are tokens, and what is said at a step is the next one.
        top: How many candidates are drawn.
        columns: Characters in a line.
        language: Of the numbers.
    """
    _check_length("candidates", probabilities, tokens)
    best = probabilities.topk(min(top, probabilities.shape[1]), dim=1)
    following: list[str | None] = [None] * len(tokens)
    if forecasts:
        following = [*(_sign(token, blank="␣") for token in tokens[1:]), None]
    labels = [symbols[number] for number in sorted({*best.indices.flatten().tolist()})]
    num_cells = _num_cells([*tokens, *labels], columns)
    starts = range(0, len(tokens), num_cells)
    z: list[list[float | None]] = []
    text: list[list[str]] = []
    for start in starts:
        line = range(start, min(start + num_cells, len(tokens)))
        gap = num_cells - len(line)
        z.append([None] * num_cells)
        text.append([f"<b>{_sign(tokens[t])}</b>" for t in line] + [""] * gap)
        for rank in range(best.values.shape[1]):
            z.append([float(best.values[t, rank]) for t in line] + [None] * gap)
            ids = (int(best.indices[t, rank]) for t in line)
            signs = [_sign(symbols[number], blank="␣") for number in ids]
            text.append([*map(_bold_if, signs, (following[t] for t in line)), *[""] * gap])
        z.append([None] * num_cells)
        text.append([""] * num_cells)
    figure = new_figure(language=language)
    figure.add_heatmap(
        z=z[:-1],
        zmin=0,
        zmax=1,
        colorscale=scale(FROM_ZERO),
        text=text[:-1],
        texttemplate="%{text}",
        textfont={"family": MONO, "size": 13},
        hovertemplate="%{text}: %{z:.1%}<extra></extra>",
        hoverongaps=False,
        showscale=False,
    )
    return _as_text(figure, len(z) - 1, columns, line=18)


def _num_cells(signs: Sequence[str], columns: int) -> int:
    """Return how many cells of the widest sign a line of `columns` characters has."""
    widest = max(len(sign.strip()) for sign in signs)
    return columns // min(_WIDEST, max(1, widest + (widest > 1)))


def _bold_if(guess: str, following: str | None) -> str:
    return f"<b>{guess}</b>" if guess == following else guess


def attention_map(weights: Tensor, source: Sequence[str], target: Sequence[str]) -> Any:
    """Draw how much each target token attended to each source token.

    Args:
        weights: (target, source), each row's sum 1.
        source: The tokens that were read.
        target: The tokens that were written.

    Raises:
        ShapeError: The weights do not fit the tokens.
    """
    if weights.shape != (len(target), len(source)):
        raise ShapeError(
            f"attention_map: weights must be ({len(target)}, {len(source)}), "
            f"got {tuple(weights.shape)}"
        )
    figure = new_figure()
    figure.add_heatmap(
        z=weights.float().cpu().numpy(),
        zmin=0,
        zmax=1,
        colorscale=scale(FROM_ZERO),
        hovertemplate="target %{y} ← source %{x}: %{z:.2f}<extra></extra>",
        colorbar={"thickness": 10, "outlinewidth": 0, "tickvals": [0, 0.5, 1]},
        xgap=1,
        ygap=1,
    )
    styled(figure, height=120 + 26 * len(target))
    names = {"tickmode": "array", "showgrid": False, "zeroline": False}
    figure.update_xaxes(
        tickvals=list(range(len(source))), ticktext=[_sign(s) for s in source], side="top", **names
    )
    figure.update_yaxes(
        tickvals=list(range(len(target))),
        ticktext=[_sign(s) for s in target],
        autorange="reversed",
        **names,
    )
    return figure


def _as_text(figure: Any, num_lines: int, columns: int, line: int = _LINE) -> Any:
    """Return a heat map whose cells are characters in the size of a text."""
    styled(figure, height=20 + line * num_lines)
    figure.update_layout(
        margin={"l": 4, "r": 4, "t": 4, "b": 4},
        width=round(_CELL * columns) + 8,
        autosize=False,
    )
    bare = {"visible": False, "showgrid": False, "zeroline": False, "fixedrange": True}
    figure.update_xaxes(**bare)
    figure.update_yaxes(autorange="reversed", **bare)
    return figure


def _wrapped(tokens: Sequence[str], columns: int) -> list[list[int]]:
    """Return the numbers of the tokens of each line."""
    lines: list[list[int]] = [[]]
    for number, _token in enumerate(tokens):
        if len(lines[-1]) == columns or (number and tokens[number - 1].endswith("\n")):
            lines.append([])
        lines[-1].append(number)
    return lines


def _bar(say: Phrases, row: int, rows: int, limit: float, signed: bool) -> dict[str, Any]:
    height = 1 / rows
    low = -limit if signed else 0.0
    return {
        "thickness": 8,
        "outlinewidth": 0,
        "len": height * 0.86,
        "y": 1 - (row - 0.5) * height,
        "tickvals": [low, (low + limit) / 2, limit],
        "ticktext": [say.number(v, ".2g") for v in (low, (low + limit) / 2, limit)],
        "tickfont": {"size": 10},
    }


def _sign(token: str, blank: str = " ") -> str:
    """Return a token as plotly shows it: markup as text, white space as a sign, not too long."""
    shown = blank if token == " " else "".join(_SIGNS.get(c, c) for c in token)
    shown = shown if len(shown) < _WIDEST else f"{shown[: _WIDEST - 2]}…"
    return html.escape(shown, quote=False)


def _check_length(where: str, values: Tensor, tokens: Sequence[str]) -> None:
    if len(values) != len(tokens):
        raise ShapeError(f"{where}: {len(values)} steps, but {len(tokens)} tokens")


def order_by_change(values: Tensor, most: int) -> list[int]:
    """Return the units of (T, H) that stay themselves longest first, of the `most` liveliest."""
    centred = values - values.mean(0)
    spread = centred.square().mean(0)
    chosen = spread.argsort(descending=True)[:most]
    lively = centred[:, chosen]
    stays = (lively[1:] * lively[:-1]).mean(0) / spread[chosen].clamp_min(torch.finfo().tiny)
    return chosen[stays.argsort(descending=True)].tolist()
