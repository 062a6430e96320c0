"""From a cell's equations to graphs: one step and its gradient, operation by operation.

The first station of the pipeline. The word is capture, because a trace is the numbers of a run.
"""

from unrolled.kernels.capturing.capture import CapturedStep, Column, capture
from unrolled.kernels.capturing.errors import EquationsError
from unrolled.kernels.capturing.reductions import (
    RUNNING_SUMS,
    is_over_units,
    reversed_cumsum,
)
from unrolled.kernels.capturing.step_graph import Number, StepGraph, StepNode, step_graph

__all__ = [
    "RUNNING_SUMS",
    "CapturedStep",
    "Column",
    "EquationsError",
    "Number",
    "StepGraph",
    "StepNode",
    "capture",
    "is_over_units",
    "reversed_cumsum",
    "step_graph",
]
