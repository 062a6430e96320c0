"""Looking inside: gates and states by name, the reach of the gradient, the memory of units."""

from unrolled.inspection.attribution import Attribution, attribute
from unrolled.inspection.dynamics import (
    FixedPoints,
    Lyapunov,
    fixed_points,
    lyapunov_exponents,
)
from unrolled.inspection.equations import Equation, StepEquations, kinds, step_equations
from unrolled.inspection.gradients import Reach, gradient_reach, step_jacobian_norms
from unrolled.inspection.memory import (
    Memory,
    bounds,
    memory_by_perturbation,
    saturation,
    time_constants,
)
from unrolled.inspection.record import pre_activations, states_before, trace
from unrolled.inspection.subject import InputForm, Passage, Subject
from unrolled.inspection.tables import save_lstmvis, save_safetensors, to_polars
from unrolled.inspection.units import Ranking, area_under_curve, pattern_masks, rank_units
from unrolled.inspection.verdict import Verdict, verdict
from unrolled.layers import Record

__all__ = [
    "Attribution",
    "Equation",
    "FixedPoints",
    "InputForm",
    "Lyapunov",
    "Memory",
    "Passage",
    "Ranking",
    "Reach",
    "Record",
    "StepEquations",
    "Subject",
    "Verdict",
    "area_under_curve",
    "attribute",
    "bounds",
    "fixed_points",
    "gradient_reach",
    "kinds",
    "lyapunov_exponents",
    "memory_by_perturbation",
    "pattern_masks",
    "pre_activations",
    "rank_units",
    "saturation",
    "save_lstmvis",
    "save_safetensors",
    "states_before",
    "step_equations",
    "step_jacobian_norms",
    "time_constants",
    "to_polars",
    "trace",
    "verdict",
]
