"""A cell's step as equations: one for each value that has a name, to fill the numbers in.

    c_{t} = f · c_{t−1} + i · g         as it is written
    {f} · {before:c} + {i} · {g}        with numbers in the place of ids
    {c.0} + {c.1}                       the same after a part has been computed
    {c}                                 and its value

What the equations leave without a name gets one where it is worth an equation of its own: a gate
that is squashed within a longer one (JANET's second), what a product is applied to (GRU with reset
before), the sum that a gate consists of where nothing else has the gate's name (a plain RNN's a).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from unrolled.cells import RAW_INPUT, Cell
from unrolled.inspection.memory import bounds
from unrolled.inspection.notation import PRIME, written
from unrolled.kernels import StepGraph, StepNode, step_graph

__all__ = ["Equation", "Kind", "StepEquations", "kinds", "step_equations"]

Kind = Literal["keep", "admit", "gate", "candidate", "sum", "vector", "state", "output", "value"]

_SymbolOf = Callable[[str], str | None]
"""The text of an id; None to write out what it is computed from."""

_LEAVES = ("input", "recurrent", "product", "before", "given", "vector")
_SQUASHES = ("sigmoid", "tanh", "relu", "hardtanh")
_ARITHMETIC = ("add", "sub", "mul", "div", "neg", "copy")
_MOST_TERMS = 4
_WORTH_A_NAME = 2  # operations, where several equations share them


@dataclass(frozen=True)
class Equation:
    """One equation of a step.

    Args:
        id: Of the node that is computed.
        symbol: What it is called: "f", "c_{t}", "x_{f}".
        kind: What it is in the cell, see `kinds`; besides those "sum" of the two parts of a gate,
            and "vector" that a product is applied to.
        formula: The whole equation, with symbols.
        terms: What it is equal to, from all of its inputs to its value: ids stand in braces.
        of: For a gate that keeps, the state that it keeps.
        kept: Of a new state the part that comes from the old one, if it is a sum; else None.
        added: The other part.
    """

    id: str
    symbol: str
    kind: Kind
    formula: str
    terms: tuple[str, ...]
    of: str | None = None
    kept: str | None = None
    added: str | None = None


@dataclass(frozen=True, eq=False)
class StepEquations:
    """A step as a graph, and as equations.

    Args:
        graph: All values.
        symbols: What those are called that have a name or are given, by id.
        constants: Those that are the same at every step, by id, as they are written.
        equations: In an order in which they can be computed.
    """

    graph: StepGraph
    symbols: dict[str, str]
    constants: dict[str, str]
    equations: tuple[Equation, ...]


def kinds(cell: Cell) -> dict[str, Kind]:
    """Return what each value is that a cell may return by name.

    "keep": the gate that keeps the old state, "admit": that which lets the new in; "gate": another
    in 0..1; "candidate": another gate; "output": the first state of several; "state": another one.
    Of all else: "value".
    """
    within = bounds(cell)
    kind_of: dict[str, Kind] = {
        gate: "gate" if within.get(gate) == (0, 1) else "candidate" for gate in cell.gates
    }
    if cell.admits:
        kind_of[cell.admits] = "admit"
    if cell.keeps:
        kind_of[cell.keeps] = "keep"
    output, *others = cell.states
    for state in others:
        kind_of[state] = "state"
    kind_of[output] = "state" if cell.carrier == output else "output"
    return kind_of


def step_equations(cell: Cell) -> StepEquations:
    """Return a cell's step as equations.

    Raises:
        EquationsError: It cannot be captured as a graph.

    Example:
        >>> from unrolled.cells import lstm
        >>> for equation in step_equations(lstm).equations:
        ...     print(equation.formula)
        i = σ(x_{i} + u_{i})
        f = σ(x_{f} + u_{f})
        g = tanh(x_{g} + u_{g})
        o = σ(x_{o} + u_{o})
        c_{t} = f · c_{t−1} + i · g
        h_{t} = o · tanh(c_{t})
    """
    return _Writer(step_graph(cell)).write()


@dataclass
class _Writer:
    """Chooses what has an equation, and writes them."""

    graph: StepGraph
    symbols: dict[str, str] = field(default_factory=dict)
    results: dict[str, Kind] = field(default_factory=dict)  # what has an equation

    def __post_init__(self) -> None:
        self.cell = self.graph.cell
        self.nodes = {node.id: node for node in self.graph.nodes}

    def write(self) -> StepEquations:
        for node in self.graph.nodes:
            if node.operation in _LEAVES:
                self.symbols[node.id] = _symbol_of_leaf(node.id)
        known = kinds(self.cell)
        for node in self.graph.nodes:
            if node.name is not None:
                self.results[node.id] = known.get(node.name, "value")
                self.symbols[node.id] = _symbol(node.name, "t" * (node.name in self.cell.states))
        self._name_vectors()
        self._name_gates()
        self._name_sums()
        self._name_shared()
        ordered = [node for node in self.graph.nodes if node.id in self.results]
        equations = tuple(map(self._equation, ordered))
        return StepEquations(self.graph, self.symbols, self._constants(), equations)

    def _constants(self) -> dict[str, str]:
        """Return what is computed of per-unit vectors and numbers alone, as it is written."""
        texts: dict[str, str] = {}
        for node in self.graph.nodes:
            sources = [source for source in node.inputs if isinstance(source, str)]
            is_given = node.operation in _LEAVES and node.operation != "vector"
            if not is_given and all(source in texts for source in sources):
                text = self._text(node, self.symbols.get)
                texts[node.id] = self.symbols.get(node.id) or text
        return texts

    # ---- what gets a name ----

    def _name(self, id: str, base: str, kind: Kind) -> None:
        taken = set(self.symbols.values())
        symbol = _symbol(base)
        while symbol in taken:
            symbol += PRIME
        self.symbols[id] = symbol
        self.results[id] = kind

    def _name_vectors(self) -> None:
        """Name what products are applied to."""
        products = [node for node in self.graph.nodes if node.operation == "product"]
        for node in products:
            (vector,) = node.inputs
            assert isinstance(vector, str)
            if vector not in self.symbols:
                gate = node.id.partition(":")[2]
                self._name(vector, "v" if len(products) == 1 else f"v_{gate}", "vector")

    def _name_gates(self) -> None:
        """Name what is squashed of a gate within a longer equation."""
        for node in self.graph.nodes:
            if node.id in self.symbols or node.operation not in _SQUASHES:
                continue
            if gates := self._gates(node):
                kind: Kind = "gate" if node.operation == "sigmoid" else "candidate"
                self._name(node.id, gates[0], kind)

    def _name_sums(self) -> None:
        """Name the sum of a gate's parts, where nothing else has the gate's name."""
        for node in self.graph.nodes:
            parts = {source for source in node.inputs if isinstance(source, str)}
            for gate in self.cell.gates:
                whole = node.operation == "add" and parts == {f"x:{gate}", f"u:{gate}"}
                if whole and node.id not in self.symbols and gate not in self.symbols.values():
                    self._name(node.id, gate, "sum")

    def _name_shared(self) -> None:
        """Name what several equations compute, if it is more than an operation."""
        users: dict[str, set[str]] = {}
        for node in reversed(self.graph.nodes):  # what is computed last, first
            own = {node.id} if node.id in self.results else users.get(node.id, set())
            simple = len([*self._cone(node)]) < _WORTH_A_NAME
            if node.operation not in _LEAVES and len(own) > 1 and not simple:
                self._name(node.id, "s", "value")
                own = {node.id}
            for source in node.inputs:
                if isinstance(source, str):
                    users.setdefault(source, set()).update(own)

    def _cone(self, node: StepNode) -> Iterator[StepNode]:
        """Yield a node and what it is computed from, up to what has a symbol."""
        yield node
        for source in node.inputs:
            if isinstance(source, str) and source not in self.symbols:
                yield from self._cone(self.nodes[source])

    def _sources(self, node: StepNode) -> set[str]:
        """Return what has a symbol and a node is computed from."""
        return {
            source
            for inner in self._cone(node)
            for source in inner.inputs
            if isinstance(source, str) and source in self.symbols
        }

    def _gates(self, node: StepNode) -> list[str]:
        """Return the gates whose pre-activations a node is computed from."""
        terms = {
            source.partition(":")[2]
            for source in self._sources(node)
            if self.nodes[source].operation in ("input", "recurrent", "product")
        }
        return [gate for gate in self.cell.gates if gate in terms]

    # ---- equations ----

    def _equation(self, node: StepNode) -> Equation:
        formula = f"{self.symbols[node.id]} = {self._text(node, self.symbols.get)}"
        kind = self.results[node.id]
        share_kept = added = None
        if kind in ("state", "output") and node.operation == "add" and len(node.inputs) == 2:
            share_kept, added = self._kept_and_added(node)
        return Equation(
            node.id,
            self.symbols[node.id],
            kind,
            formula,
            self._terms(node),
            self._kept_by(node.id) if kind == "keep" else None,
            share_kept,
            added,
        )

    def _text(self, node: StepNode, symbol_of: _SymbolOf) -> str:
        def text_of(id: str) -> tuple[str, StepNode | None]:
            symbol = symbol_of(id)
            return ("", self.nodes[id]) if symbol is None else (symbol, None)

        return written(node, text_of)

    def _terms(self, node: StepNode) -> tuple[str, ...]:
        heights = self._heights(node)

        def number_of(step: int) -> _SymbolOf:
            def number(id: str) -> str | None:
                known = id in self.symbols or 0 < heights.get(id, 0) <= step
                return f"{{{id}}}" if known else None

            return number

        texts = [self._text(node, number_of(step)) for step in range(max(1, heights[node.id]))]
        texts = [*dict.fromkeys(texts), f"{{{node.id}}}"]
        if len(texts) > _MOST_TERMS:
            texts = [texts[0], *texts[1 - _MOST_TERMS :]]
        return tuple(texts)

    def _heights(self, node: StepNode) -> dict[str, int]:
        """Return how many operations each value of an equation is away from its inputs.

        What is done with a number that is written in the equation counts with the next.
        """
        heights: dict[str, int] = {}

        def height(each: StepNode) -> int:
            sources = [source for source in each.inputs if isinstance(source, str)]
            inner = [self.nodes[source] for source in sources if source not in self.symbols]
            deepest = max(map(height, inner), default=0)
            with_a_number = each.operation in _ARITHMETIC and len(sources) < 2
            heights[each.id] = deepest + (not with_a_number)
            return heights[each.id]

        height(node)
        return heights

    def _kept_and_added(self, node: StepNode) -> tuple[str | None, str | None]:
        """Return the part of a sum that comes from the old state, and the other one."""
        parts = [source for source in node.inputs if isinstance(source, str)]
        old = f"before:{node.name}"
        from_old = [
            part
            for part in parts
            if part == old or (part not in self.symbols and old in self._sources(self.nodes[part]))
        ]
        if len(parts) != 2 or len(from_old) != 1:
            return None, None
        (added,) = (part for part in parts if part not in from_old)
        return from_old[0], added

    def _kept_by(self, gate: str) -> str:
        """Return the state that a gate keeps."""
        for node in self.graph.nodes:
            if node.operation == "mul" and gate in node.inputs:
                for source in node.inputs:
                    if isinstance(source, str) and source.startswith("before:"):
                        return source.partition(":")[2]
        return self.cell.carrier


def _symbol(name: str, time: str = "") -> str:
    """Return a name as a symbol: what follows _ is written below the line."""
    base, _, below = name.partition("_")
    if not base:
        base, below = name, ""
    parts = [part for part in (below.replace("_", " "), time) if part]
    return f"{base}_{{{', '.join(parts)}}}" if parts else base


def _symbol_of_leaf(id: str) -> str:
    kind, _, name = id.partition(":")
    if kind == "before":
        return _symbol(name, "t−1")
    if kind == "given":
        return _symbol(name) if name == RAW_INPUT else _symbol(name, "t")
    return _symbol(name) if kind == "vector" else f"{kind}_{{{name.replace('_', ' ')}}}"
