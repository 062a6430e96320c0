"""Learning curves of many cells as one SVG: all in grey, a few in colour with their names."""

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3fbf")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 340, 62, 150, 14, 44

Curve = Sequence[tuple[float, float]]


def svg(curves: Mapping[str, Curve], named: Sequence[str], across: str, up: str) -> str:
    """Return the drawing.

    Args:
        curves: By cell, (update, figure) of each evaluation.
        named: The cells in colour.
        across: What the horizontal axis is.
        up: What the vertical one is.
    """
    points = [point for curve in curves.values() for point in curve if math.isfinite(point[1])]
    last = max(x for x, _ in points)
    figures = sorted(y for x, y in points if x > 0) or [y for _, y in points]
    low, high = figures[0], figures[int(0.98 * (len(figures) - 1))]
    if figures[-1] - low < 2 * (high - low):  # else a few that diverge would flatten all others
        high = figures[-1]
    pad = 0.04 * (high - low) or abs(high) or 1.0
    low, high = low - pad, high + pad

    def at(x: float, y: float) -> str:
        wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        share = (min(max(y, low), high) - low) / (high - low)
        return f"{LEFT + wide * x / last:.1f},{TOP + tall * (1 - share):.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#777">',
        f"<title>{escape(up)} of each cell by {escape(across)}</title>",
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = low + share * (high - low)
        right, height = at(last, y).split(",")
        lines.append(f'<path d="M{LEFT},{height}H{right}" stroke="#8884"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{height}" dy="4" text-anchor="end">{y:.3g}</text>')
        x = at(share * last, low).partition(",")[0]
        lines.append(
            f'<text x="{x}" y="{HEIGHT - 24}" text-anchor="middle">{share * last:.0f}</text>'
        )
    lines.append(
        f'<text x="{LEFT}" y="{HEIGHT - 6}">{escape(across)}; upwards: {escape(up)}</text>'
    )
    paths = {
        name: [at(x, y) for x, y in curve if x > 0 and math.isfinite(y)]
        for name, curve in curves.items()
    }
    paths = {name: path for name, path in paths.items() if path}
    for name, path in paths.items():
        if name not in named:
            lines.append(_line(path, "#8887", 1))
    ends = []
    for name, colour in zip(named, COLOURS, strict=False):
        if name in paths:
            lines.append(_line(paths[name], colour, 2))
            ends.append((float(paths[name][-1].partition(",")[2]), name, colour))
    below = 0.0
    for height, name, colour in sorted(ends):  # labels keep a line's distance
        below = max(height + 4, below + 14)
        lines.append(
            f'<text x="{WIDTH - RIGHT + 6}" y="{below:.1f}" fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def _line(path: Sequence[str], colour: str, width: int) -> str:
    return f'<path d="M{"L".join(path)}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
