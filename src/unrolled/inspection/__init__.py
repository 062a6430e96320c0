"""Looking inside: gates and states by name, the reach of the gradient, the memory of units."""

from unrolled.inspection.gradients import Reach, gradient_reach, step_jacobian_norms
from unrolled.inspection.memory import (
    Memory,
    memory_by_perturbation,
    saturation,
    time_constants,
)
from unrolled.inspection.record import pre_activations, states_before, trace
from unrolled.inspection.tables import save_lstmvis, save_safetensors, to_polars
from unrolled.inspection.units import Ranking, area_under_curve, pattern_masks, rank_units
from unrolled.inspection.verdict import Verdict, verdict
from unrolled.layers.recording import Record

__all__ = [
    "Memory",
    "Ranking",
    "Reach",
    "Record",
    "Verdict",
    "area_under_curve",
    "gradient_reach",
    "memory_by_perturbation",
    "pattern_masks",
    "pre_activations",
    "rank_units",
    "saturation",
    "save_lstmvis",
    "save_safetensors",
    "states_before",
    "step_jacobian_norms",
    "time_constants",
    "to_polars",
    "trace",
    "verdict",
]
