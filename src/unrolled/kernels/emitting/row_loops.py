"""A function over one row whose values need sums over its units: which loop computes what.

A sum over units is known only after a loop over all of them. So such a function is a sequence of
loops. A value's level says how many must be over before it can be computed; between two loops stand
the numbers that are the same for all units. A value that several loops need is kept in memory if it
is costly, else computed again in each.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import torch
from torch import fx

from unrolled.kernels.capturing import RUNNING_SUMS, is_over_units
from unrolled.kernels.emitting.expressions import (
    as_floats,
    is_costly,
    is_mask,
    require_floats,
)
from unrolled.kernels.emitting.gate_row import numbers_of_rows
from unrolled.kernels.emitting.multiply_adds import fused_expression, fused_sums
from unrolled.kernels.emitting.names import NodeNames

__all__ = ["RowLoops", "Words"]

_ATEN = torch.ops.aten


@dataclass(frozen=True)
class Words:
    """How loops over a row are written.

    Args:
        loop: How one over all units begins.
        load: What reads a unit of a vector, {}.
        store: The statement that writes {1} to a unit of a vector, {0}.
        size: H.
        slot: The vector of a slot of the row.
        temporary: A vector besides.
        number: The statement that keeps a number of the row, {1}, as the one with number {0}.
        begin: The statement that begins a reduction, `over`, with its number at first.
        reduced: Of each reduction its number at first, how it takes in a unit, and what it gives.
    """

    loop: tuple[str, ...]
    load: str
    store: str
    size: str
    slot: str
    temporary: str
    number: str
    begin: str
    reduced: Mapping[str, tuple[str, str, str]]


_VECTORS = Words(
    loop=("    for (long unit = 0; unit < H; unit += W) {", "        const long n = H - unit;"),
    load="load({} + unit, n)",
    store="store({0} + unit, n, {1});",
    size="H",
    slot="row + {} * H",
    temporary="temporary + {} * H",
    number="row[NUMBERS_AT(H) + {0}] = {1}[0];",
    begin="vf {over} = splat({first});",
    reduced={
        "sum": ("0.0f", "{over} += first({value}, n, 0.0f);", "total({over})"),
        "amax": (
            "-INFINITY",
            "{over} = vmax({over}, first({value}, n, -INFINITY));",
            "greatest({over})",
        ),
        "amin": (
            "INFINITY",
            "{over} = vmin({over}, first({value}, n, INFINITY));",
            "least({over})",
        ),
    },
)


@dataclass
class RowLoops:
    """The loops of one function.

    Args:
        names: What values are called.
        order: The nodes that may be computed, in order.
        loads: What is read for each unit, and the C that reads it.
        numbers: What is known and the same for all units, and the C that reads it.
        keep: Values of units that are written to the row when they are known, and their slot.
        keep_numbers: The same of numbers, and which of the row's they are.
        guards: For values that must not be computed without a gradient, which bits tell.
        same: What stands in a gradient's graph for a value of the step, and that value.
        words: How they are written.
        barred: Products that no sum becomes one with; None where compilers decide on that.
        recorded: More of them in the last of the loops.
    """

    names: NodeNames
    order: Sequence[fx.Node]
    loads: Mapping[fx.Node, str]
    numbers: Mapping[fx.Node, str]
    keep: Mapping[fx.Node, int] = field(default_factory=dict)
    keep_numbers: Mapping[fx.Node, int] = field(default_factory=dict)
    guards: Mapping[fx.Node, int] = field(default_factory=dict)
    same: Mapping[fx.Node, fx.Node] = field(default_factory=dict)
    words: Words = _VECTORS
    barred: Set[fx.Node] | None = None
    recorded: Set[fx.Node] = frozenset()

    def __post_init__(self) -> None:
        self._temporary: dict[fx.Node, int] = {}
        self._fused: dict[fx.Node, fx.Node] = {}

    @property
    def num_temporary(self) -> int:
        """How many vectors of H the function needs besides."""
        return len(self._temporary)

    def write(
        self,
        results: Sequence[tuple[str, fx.Node | None]],
        records: Sequence[tuple[str, fx.Node]] = (),
    ) -> list[str]:
        """Return the statements that compute all, and write it in the last of the loops.

        Args:
            results: Statements, with the value's place as {}, and values; None is zero.
            records: The same, for where something is recorded.
        """
        known = {*self.loads, *self.numbers}
        results = [(text, node and self.same.get(node, node)) for text, node in results]
        nodes = [node for _, node in results if node is not None]
        of_rows = numbers_of_rows(self.order, self.loads, self._sources) | set(self.numbers)
        of_records = self._reached((node for _, node in records), known)
        needed = [n for n in of_records if n in of_rows or is_over_units(n)]
        kept = [*self.keep, *self.keep_numbers]
        wanted = self._reached([*nodes, *needed, *kept], known)
        order = [node for node in self.order if node in wanted]
        levels = self._levels(order, of_rows)
        last = max([0, *levels.values()])
        # what each loop is for
        targets: list[list[fx.Node]] = [[] for _ in range(last + 1)]
        for node in order:
            if self._has_loop(node, of_rows):
                targets[levels[node] - 1].append(node)
        read = {source for node in wanted | of_records for source in self._sources(node)}
        read |= {*nodes, *(node for _, node in records)}
        text = [
            f"    const vf {self.names[n]} = {load};"
            for n, load in self.numbers.items()
            if n in read
        ]
        stored = dict(self.loads)
        for level in range(last + 1):
            between = [
                node
                for node in order
                if node in of_rows and levels[node] == level and not self._has_loop(node, of_rows)
            ]
            used = {s for node in order if node not in between for s in self._sources(node)}
            self._fuse(between, {*used, *nodes, *self.keep_numbers, *self.recorded})
            text += map(self._statement, between)
            sources = [self._source(node) for node in targets[level]]
            ends = level == last
            if ends:
                sources += [*nodes, *(n for n in self.keep if n not in stored)]
            later = [self._source(n) for each in targets[level + 1 :] for n in each]
            later += [] if ends else [*nodes, *(node for _, node in records)]
            computed, store = self._computed(order, of_rows, stored, sources, later)
            read = {source for node in computed for source in self._sources(node)}
            read |= set(sources)
            self._fuse(computed, {*sources, *store, *(self.recorded if ends else ())})
            body = [self._load(node, load) for node, load in stored.items() if node in read]
            body += [f"    {self._statement(node)}" for node in computed]
            for node, place in store.items():
                body.append(f"        {self.words.store.format(place, self.names[node])}")
            begin: list[str] = []
            after: list[str] = []
            for node in targets[level]:
                parts = self._parts(node)
                for where, lines in zip((begin, body, after), parts, strict=True):
                    where += lines
            if ends:
                there = {*of_rows, *computed, *read}
                body += self._recorded(records, there, stored)
                for statement, value in results:
                    number = "splat(0.0f)" if value is None else as_floats(value, self.names)
                    body.append(f"        {statement.format(number)}")
            text += begin
            if body:
                text += [*self.words.loop, *body, "    }"]
            text += after
            stored |= {n: self.words.load.format(place) for n, place in store.items()}
            stored |= {
                n: self.words.load.format(self._place(n))
                for n in targets[level]
                if n.target in RUNNING_SUMS
            }
        text += [
            f"    {self.words.number.format(place, self.names[n])}"
            for n, place in self.keep_numbers.items()
        ]
        return text

    # ---- What is computed from what --------------------------------------------------------------

    def _sources(self, node: fx.Node) -> list[fx.Node]:
        return [self.same.get(source, source) for source in node.all_input_nodes]

    def _source(self, node: fx.Node) -> fx.Node:
        """Return what a node over units is of."""
        return self._sources(node)[0]

    def _reached(self, results: Iterable[fx.Node], stop: set[fx.Node]) -> set[fx.Node]:
        """Return the nodes that `results` are computed from, up to and without `stop`."""
        nodes: set[fx.Node] = set()
        todo = list(results)
        while todo:
            node = todo.pop()
            if node not in nodes and node not in stop:
                nodes.add(node)
                todo.extend(self._sources(node))
        return nodes

    # ---- What is computed where ------------------------------------------------------------------

    def _levels(self, order: Iterable[fx.Node], of_rows: set[fx.Node]) -> dict[fx.Node, int]:
        levels: dict[fx.Node, int] = {}
        for node in order:
            level = max([0, *(levels.get(source, 0) for source in self._sources(node))])
            levels[node] = level + self._has_loop(node, of_rows)
        return levels

    def _has_loop(self, node: fx.Node, of_rows: set[fx.Node]) -> bool:
        """Whether a loop must be over for `node`; the sum of one number is that times H."""
        if node.target in RUNNING_SUMS:
            return True
        return is_over_units(node) and self._source(node) not in of_rows

    def _computed(
        self,
        order: Sequence[fx.Node],
        of_rows: set[fx.Node],
        stored: Mapping[fx.Node, str],
        sources: Sequence[fx.Node],
        later: Sequence[fx.Node],
    ) -> tuple[list[fx.Node], dict[fx.Node, str]]:
        """Return what a loop computes, and what of it is written where, for a later one."""
        stop = {*stored, *of_rows}
        here = self._reached(sources, stop)
        costly = {node for node in here if is_costly(node) or node in self.keep}
        running = {node for node in order if node.target in RUNNING_SUMS}
        again = self._reached(later, stop | costly | running)
        read = {source for node in again for source in self._sources(node)} | set(later)
        store = {
            node: self._place(node)
            for node in order
            if node in here and (node in self.keep or (node in costly and node in read))
        }
        return [node for node in order if node in here], store

    def _place(self, node: fx.Node) -> str:
        """Return where a value of units is kept."""
        if node in self.keep:
            return self.words.slot.format(self.keep[node])
        if node not in self._temporary:
            self._temporary[node] = len(self._temporary)
        return self.words.temporary.format(self._temporary[node])

    def _fuse(self, nodes: Sequence[fx.Node], used: Set[fx.Node]) -> None:
        """Have sums be one with products among `nodes`, but for products that are `used` besides.

        They are computed in a piece of C without a branch: further than that no compiler sees.
        """
        if self.barred is not None:
            self._fused = fused_sums(nodes, self.barred | used)

    # ---- Statements ------------------------------------------------------------------------------

    def _load(self, node: fx.Node, load: str) -> str:
        return f"        const vf {self.names[node]} = {load};"

    def _statement(self, node: fx.Node) -> str:
        kind = "vi" if is_mask(node) else "vf"
        return f"    const {kind} {self.names[node]} = {self._value(node)};"

    def _value(self, node: fx.Node) -> str:
        if is_over_units(node):  # of what is one number
            require_floats(node)
            value = as_floats(self._source(node), self.names)
            if _kind(node) == "sum":
                value = f"({value} * (float){self.words.size})"
        else:
            value = fused_expression(node, self.names, self._fused)
        return self._guarded(node, value)

    def _guarded(self, node: fx.Node, value: str) -> str:
        if node in self.guards and not is_mask(node):
            return f"present & {self.guards[node]} ? {value} : splat(0.0f)"
        return value

    def _parts(self, node: fx.Node) -> tuple[list[str], list[str], list[str]]:
        """Return what stands before, in and after the loop of a sum over units."""
        source, name = self._source(node), self.names[node]
        require_floats(node)
        value = as_floats(source, self.names)
        if node.target in RUNNING_SUMS:
            place = self._place(node)
            direction = "up" if node.target is _ATEN.cumsum.default else "down"
            inner = self.words.store.format(place, self._guarded(node, value))
            return (
                [],
                [f"        {inner}"],
                [f"    running_{direction}({place}, {self.words.size});"],
            )
        over = f"over_{name}_"
        first, take, end = self.words.reduced[_kind(node)]
        return (
            [f"    {self.words.begin.format(over=over, first=first)}"],
            [f"        {take.format(over=over, value=value)}"],
            [f"    const vf {name} = {self._guarded(node, end.format(over=over))};"],
        )

    def _recorded(
        self,
        records: Sequence[tuple[str, fx.Node]],
        there: set[fx.Node],
        stored: Mapping[fx.Node, str],
    ) -> list[str]:
        """Return what the last loop records, before it writes where states are read."""
        if not records:
            return []
        inner = self._reached((node for _, node in records), there | set(stored))
        new = [node for node in self.order if node in inner]
        needed = {s for node in new for s in self._sources(node)} | {n for _, n in records}
        loads = [node for node in stored if node in needed and node not in there]
        lines = [self._load(node, stored[node]) for node in loads]
        lines += [f"    {self._statement(node)}" for node in new]
        lines += [f"        {t.format(as_floats(n, self.names))}" for t, n in records]
        return ["        if (record) {", *(f"    {line}" for line in lines), "        }"]


def _kind(node: fx.Node) -> str:
    name: str = node.target.overloadpacket.__name__  # type: ignore[union-attr]  # an operation
    return name
