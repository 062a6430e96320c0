"""Looking inside: gates and states by name, the reach of the gradient, the memory of units."""

from unrolled.inspection.gradients import Reach, gradient_reach, step_jacobian_norms
from unrolled.inspection.memory import (
    Memory,
    memory_by_perturbation,
    saturation,
    time_constants,
)
from unrolled.inspection.record import trace
from unrolled.inspection.verdict import Verdict, verdict
from unrolled.layers.recording import Record

__all__ = [
    "Memory",
    "Reach",
    "Record",
    "Verdict",
    "gradient_reach",
    "memory_by_perturbation",
    "saturation",
    "step_jacobian_norms",
    "time_constants",
    "trace",
    "verdict",
]
