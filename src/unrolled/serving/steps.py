"""A cell's step in types that JSON has: what the page draws, fills in and computes with."""

from dataclasses import asdict
from functools import cache
from typing import Any

from unrolled.cells import CELLS
from unrolled.inspection import StepEquations, step_equations

__all__ = ["describe_step", "lecture_cells"]

_IN_THE_LECTURE = ("rnn", "lstm", "gru", "janet")


def describe_step(step: StepEquations) -> dict[str, Any]:
    """Return the equations of a step and the graph that they are of."""
    return {
        "nodes": [
            {
                "id": node.id,
                "operation": node.operation,
                "inputs": node.inputs,
                "symbol": step.symbols.get(node.id),
                "constant": step.constants.get(node.id),
            }
            for node in step.graph.nodes
        ],
        "equations": [asdict(equation) for equation in step.equations],
    }


@cache
def lecture_cells() -> dict[str, dict[str, Any]]:
    """Return the cells of the lecture by name: gates and states in order, the step as a graph."""
    return {
        name: {
            "gates": [*cell.gates],
            "states": [*cell.states],
            "step": describe_step(step_equations(cell)),
        }
        for name in _IN_THE_LECTURE
        for cell in [CELLS[name]]
    }
