"""Which values of a step are kept for the backward pass, and where; which are computed again.

The values of one step of one row lie in its gate row: slots, vectors of H. First come the columns,
then the gradients of the weight vectors and of the step's inputs, then the vectors that products
are applied to; what is kept of the step lies among them, where the gradients will not be written
before it is read.

Where a step has sums over units, it reads a row in several loops: what is kept lies behind the
columns, which are whole before the first loop. Numbers of a row, such as a mean, lie at its end.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from itertools import count

from torch import fx

from unrolled.kernels.capturing import RUNNING_SUMS, CapturedStep, is_over_units
from unrolled.kernels.emitting.expressions import is_costly

__all__ = ["GateRow", "gate_row_of", "numbers_of_rows", "reached"]


@dataclass(frozen=True)
class GateRow:
    """Which values of a step lie where in its gate row, in vectors of H.

    Args:
        saved: What the backward pass reads, and its slot.
        carried: What phases of the step have of those before them, and its slot.
        again: What the backward pass computes again, in order.
        phases: The phase of the step in which each value is first known.
        first_vector: The slot of the first vector that a product is applied to, backward.
        slots: How many there are.
        numbers: What is the same for all units of a row and is kept: its place behind the slots.
    """

    saved: dict[fx.Node, int]
    carried: dict[fx.Node, int]
    again: list[fx.Node]
    phases: dict[fx.Node, int]
    first_vector: int
    slots: int
    numbers: dict[fx.Node, int] = field(default_factory=dict)


def numbers_of_rows(
    nodes: Iterable[fx.Node],
    units: Iterable[fx.Node],
    sources_of: Callable[[fx.Node], list[fx.Node]] = lambda node: node.all_input_nodes,
) -> set[fx.Node]:
    """Return which of `nodes`, in order, are the same for all units of a row; `units` are not."""
    varying = set(units)
    numbers: set[fx.Node] = set()
    for node in nodes:
        if node in varying:
            continue
        pointwise = not is_over_units(node)
        if node.target in RUNNING_SUMS or (pointwise and varying.intersection(sources_of(node))):
            varying.add(node)
        else:
            numbers.add(node)
    return numbers


def gate_row_of(step: CapturedStep) -> GateRow:
    """Place the values of a step.

    The states are kept anyway, and the step's inputs are the caller's. Of the rest, what is costly
    to compute, and the columns, get a slot; what follows from those by cheap operations is computed
    again.
    """
    phases = step.phases
    at_hand = {*step.states_in, *step.states_out, *step.step_inputs, *step.parameters}
    saved, again = _stored(step, [*step.saved.values(), *step.applied], at_hand)
    carried = _carried(step, phases, saved)
    if step.reduces:
        return _row_of_loops(step, saved, carried, again)
    first_vector = len(step.columns) + len(step.parameters) + len(step.step_inputs)
    # where the gradients of the products' columns go, and those of the vectors of later products,
    # before all that is saved has been read
    taken = {n for n, column in enumerate(step.columns) if column.applied}
    later = (n for n, node in enumerate(step.applied) if phases.get(node, 0))
    taken |= {first_vector + n for n in later}
    free = (slot for slot in count() if slot not in taken)
    slot_of = {node: next(free) for node in dict.fromkeys([*carried, *saved])}
    return GateRow(
        saved={node: slot_of[node] for node in saved},
        carried={node: slot_of[node] for node in carried},
        again=again,
        phases=phases,
        first_vector=first_vector,
        slots=max([first_vector + len(step.applied), *(slot + 1 for slot in slot_of.values())]),
    )


def _carried(
    step: CapturedStep, phases: dict[fx.Node, int], saved: Sequence[fx.Node]
) -> list[fx.Node]:
    """Return what phases of a step must be given of those before them, the last phase's first."""
    carried: list[fx.Node] = []
    at_hand = {*step.states_in, *step.step_inputs, *step.parameters}
    last = max(phases.values(), default=0)
    for phase in range(last, 0, -1):
        if phase == last:
            wanted = [*step.states_out, *step.named.values(), *saved]
        else:
            wanted = [node for node in (*step.applied, *carried) if phases.get(node, 0) == phase]
        unknown = {node for node, first in phases.items() if first >= phase}
        more, _ = _stored(step, wanted, at_hand, unknown)
        carried += [node for node in more if node not in carried]
    return carried


def _row_of_loops(
    step: CapturedStep, saved: list[fx.Node], carried: list[fx.Node], again: list[fx.Node]
) -> GateRow:
    """Place the values of a step with sums over units.

    A column stays where it is, unless the gradient of its product comes there before it is read.
    Behind all that the backward pass writes at last lie the gradients of what products were
    applied to.
    """
    columns = {c.node: n for n, c in enumerate(step.columns) if not c.applied}
    of_rows = numbers_of_rows(step.forward, step.inputs.values())
    numbers: dict[fx.Node, int] = {}
    slot_of: dict[fx.Node, int] = {}
    free = count(len(step.columns))
    for node in dict.fromkeys([*carried, *saved]):
        if node in of_rows:
            numbers[node] = len(numbers)
        elif node in columns:
            slot_of[node] = columns[node]
        else:
            slot_of[node] = next(free)
    first_vector = len(step.columns) + len(step.parameters) + len(step.step_inputs)
    slots = max([first_vector + len(step.applied), *(slot + 1 for slot in slot_of.values())])
    return GateRow(
        saved={node: slot_of[node] for node in saved if node in slot_of},
        carried={node: slot_of[node] for node in carried if node in slot_of},
        again=again,
        phases=step.phases,
        first_vector=first_vector,
        slots=slots + len(step.applied),
        numbers=numbers,
    )


def _stored(
    step: CapturedStep,
    wanted: Iterable[fx.Node],
    at_hand: set[fx.Node],
    unknown: Set[fx.Node] = frozenset(),
) -> tuple[list[fx.Node], list[fx.Node]]:
    """Return which values must be kept so that `wanted` can be had, and which are computed again.

    Those `at_hand` need no keeping. Those that are `unknown` yet are computed from what is kept,
    whatever they cost.
    """
    columns = {column.node for column in step.columns}
    stored: list[fx.Node] = []
    again: list[fx.Node] = []
    visited: set[fx.Node] = set()

    def need(node: fx.Node) -> None:
        if node in visited or node in at_hand:
            return
        visited.add(node)
        if node not in unknown and (node in columns or is_costly(node)):
            stored.append(node)
            return
        if node in columns:  # the applied product itself
            return
        for argument in node.all_input_nodes:
            need(argument)
        again.append(node)

    for node in wanted:
        need(node)
    return stored, again


def reached(results: Iterable[fx.Node | None], stop: set[fx.Node]) -> set[fx.Node]:
    """Return the nodes that `results` are computed from, up to and without `stop`."""
    nodes: set[fx.Node] = set()
    todo = [node for node in results if node is not None]
    while todo:
        node = todo.pop()
        if node not in nodes and node not in stop:
            nodes.add(node)
            todo.extend(node.all_input_nodes)
    return nodes
