"""All figures, as plotly figures: a notebook and the report show the same objects.

Functions of plain tensors, numbers and strings; they measure nothing. In pages of ours, text and
lines take their colours from the page's style sheet, in the dark as in the light.
"""

from unrolled.inspection.figures.curves import (
    learning_curves,
    memory_map,
    reach_by_lag,
    saturation_map,
    step_stretch,
    time_constant_curve,
)
from unrolled.inspection.figures.dynamics import eigenvalue_map, fixed_point_map, lyapunov_spectrum
from unrolled.inspection.figures.texts import (
    attention_map,
    candidates,
    gate_maps,
    unit_over_text,
)

__all__ = [
    "attention_map",
    "candidates",
    "eigenvalue_map",
    "fixed_point_map",
    "gate_maps",
    "learning_curves",
    "lyapunov_spectrum",
    "memory_map",
    "reach_by_lag",
    "saturation_map",
    "step_stretch",
    "time_constant_curve",
    "unit_over_text",
]
