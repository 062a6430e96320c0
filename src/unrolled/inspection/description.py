"""A cell in words and lines of text: what is new about it, its equations, what they read.

Not for the numbers of a step: those are filled into the equations of `equations.py`.
"""

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass

from unrolled.cells import Cell
from unrolled.inspection.equations import step_equations

__all__ = ["CellDescription", "data_flow", "describe"]


@dataclass(frozen=True)
class CellDescription:
    """What is written beside a cell's equations, and the equations.

    Args:
        new: What is new about it, one sentence; "" where its file does not say.
        notes: Where it departs from its paper, and what its letters mean; paragraphs, may be none.
        equations: A line each, as they are in the cell's file; without the last one, where that
            says no more than which values are returned.
    """

    new: str
    notes: tuple[str, ...]
    equations: tuple[str, ...]


def describe(cell: Cell) -> CellDescription:
    """Return what the text of a cell says.

    Raises:
        OSError: The cell has no file.

    Example:
        >>> from unrolled.cells.catalogue import CATALOGUE
        >>> for line in describe(CATALOGUE["ugrnn"]).equations:
        ...     print(line)
        g = sigmoid(x.g + u.g)
        n = tanh(x.n + u.n)
        h = g * h + (1 - g) * n
    """
    text = textwrap.dedent(inspect.getsource(cell.equations))
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    first, *paragraphs = (ast.get_docstring(function) or "").split("\n\n")
    statements = function.body[ast.get_docstring(function) is not None :]
    if _returns_names(statements[-1]):
        del statements[-1]
    lines = text.splitlines()
    parts = [lines[each.lineno - 1 : each.end_lineno] for each in statements]
    equations = textwrap.dedent("\n".join(line for part in parts for line in part))
    notes = tuple(" ".join(paragraph.split()) for paragraph in paragraphs)
    return CellDescription(" ".join(first.split()), notes, tuple(equations.splitlines()))


def _returns_names(statement: ast.stmt) -> bool:
    """Whether a statement is `return dict(h=h, f=f)`."""
    values = getattr(getattr(statement, "value", None), "keywords", [])
    return bool(values) and all(ast.unparse(each.value) == each.arg for each in values)


def data_flow(cell: Cell) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return for each value of a step, in the order of computation, what it is computed from.

    Raises:
        EquationsError: The step cannot be captured as a graph.

    Example:
        >>> from unrolled.cells import gru_reset_before
        >>> for value, sources in data_flow(gru_reset_before):
        ...     print(value, "from", *sources)
        r from x_r u_r
        z from x_z u_z
        v from r h[t-1]
        n from x_n u_n(v)
        h[t] from z n h[t-1]
    """
    step = step_equations(cell)
    products = {
        node.id: f"{_plain(step.symbols[node.id])}({_plain(step.symbols[str(node.inputs[0])])})"
        for node in step.graph.nodes
        if node.operation == "product"
    }
    flow = []
    for equation in step.equations:
        sources = dict.fromkeys(re.findall(r"{([^}]*)}", equation.terms[0]))
        names = [products.get(id) or _plain(step.symbols[id]) for id in sources]
        flow.append((_plain(equation.symbol), tuple(names)))
    return tuple(flow)


def _plain(symbol: str) -> str:
    """Return a symbol in characters that every terminal has: "c_{t−1}" is c[t-1]."""
    name, _, below = symbol.partition("_{")
    below, _, primes = below.partition("}")
    parts = [part for part in below.replace("−", "-").split(", ") if part]
    time = f"[{parts.pop()}]" if parts and parts[-1] in ("t", "t-1") else ""
    return "_".join([name, *(part.replace(" ", "_") for part in parts)]) + time + primes
