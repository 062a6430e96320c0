"""How far a gradient reaches, as JSON has it: for the server, and for the page in a file."""

import math
from typing import Any

from torch import Tensor

from unrolled.inspection import Reach, Verdict
from unrolled.inspection.reading import Measured
from unrolled.inspection.verdict import MARKS
from unrolled.languages import language_names

__all__ = ["rounded", "told_measured", "told_reach", "told_verdict"]


def told_reach(reach: Reach) -> dict[str, Any]:
    """Return a reach, relative to lag 0."""
    relative = {name: [rounded(row) for row in rows] for name, rows in reach.relative().items()}
    return {"lags": reach.lags.tolist(), "reach": relative}


def told_measured(measured: Measured) -> dict[str, Any]:
    """Return what a verdict is the mean over."""
    return {"windows": measured.windows, "held_out": measured.held_out, "cut": measured.cut}


def told_verdict(judged: Verdict) -> dict[str, Any]:
    """Return a verdict with how it is said in each language."""
    rate = judged.rate if math.isfinite(judged.rate) else None
    return {
        "kind": judged.kind,
        "mark": MARKS[judged.kind],
        "state": judged.state,
        "layer": judged.layer,
        "rate": rate,
        "half_life_steps": judged.half_life_steps,
        "horizon_steps": judged.horizon_steps,
        "measured_steps": judged.measured_steps,
        "words": {code: judged.say(code)._asdict() for code in language_names()},
    }


def rounded(values: Tensor) -> list[float | None]:
    """Return numbers as JSON has them, None for what is none."""
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values.tolist()]
