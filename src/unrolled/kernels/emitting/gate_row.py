"""Which values of a step are kept for the backward pass, and where; which are computed again.

The values of one step of one row lie in its gate row: slots, vectors of H. First come the columns,
then the gradients of the weight vectors and of the step's inputs, then the vectors that products
are applied to; what is kept of the step lies among them, where the gradients will not be written
before it is read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from torch import fx

from unrolled.kernels.capturing import CapturedStep, EquationsError
from unrolled.kernels.emitting.expressions import is_costly

__all__ = ["GateRow", "gate_row_of", "reached"]


@dataclass(frozen=True)
class GateRow:
    """Which values of a step lie where in its gate row, in vectors of H.

    Args:
        saved: What the backward pass reads, and its slot.
        carried: What `step_forward` has of `step_apply`, and its slot.
        again: What the backward pass computes again, in order.
        late: The values that need an applied product.
        first_vector: The slot of the first vector that a product is applied to, backward.
        slots: How many there are.
    """

    saved: dict[fx.Node, int]
    carried: dict[fx.Node, int]
    again: list[fx.Node]
    late: set[fx.Node]
    first_vector: int
    slots: int


def gate_row_of(step: CapturedStep) -> GateRow:
    """Place the values of a step.

    The states are kept anyway, and the step's inputs are the caller's. Of the rest, what is costly
    to compute, and the columns, get a slot; what follows from those by cheap operations is computed
    again.

    Raises:
        EquationsError: A product is applied to what depends on another applied product.
    """
    late = _late_values(step)
    saved, again = _stored(step, [*step.saved.values(), *step.applied], set())
    carried: list[fx.Node] = []
    if step.applied:
        results = [*step.states_out, *step.named.values(), *saved]
        carried, _ = _stored(step, results, late | set(step.states_out))
    taken = {n for n, column in enumerate(step.columns) if column.applied}
    free = (slot for slot in count() if slot not in taken)
    slot_of = {node: next(free) for node in dict.fromkeys([*carried, *saved])}
    first_vector = len(step.columns) + len(step.parameters) + len(step.step_inputs)
    return GateRow(
        saved={node: slot_of[node] for node in saved},
        carried={node: slot_of[node] for node in carried},
        again=again,
        late=late,
        first_vector=first_vector,
        slots=max([first_vector + len(step.applied), *(slot + 1 for slot in slot_of.values())]),
    )


def _late_values(step: CapturedStep) -> set[fx.Node]:
    """Return the values that need an applied product."""
    late = {column.node for column in step.columns if column.applied}
    for node in step.forward:
        if late.intersection(node.all_input_nodes):
            late.add(node)
    if late.intersection(step.applied):
        raise EquationsError(
            f"cell {step.cell.name}: applies a product to what another product gave"
        )
    return late


def _stored(
    step: CapturedStep, wanted: Iterable[fx.Node], later: set[fx.Node]
) -> tuple[list[fx.Node], list[fx.Node]]:
    """Return which values must be kept so that `wanted` can be had, and which are computed again.

    Those of `later` are not known yet: they are computed from what is kept, whatever they cost.
    """
    given = {*step.states_in, *step.step_inputs, *step.parameters}
    at_hand = (given | {*step.states_out}) - later
    columns = {column.node for column in step.columns}
    stored: list[fx.Node] = []
    again: list[fx.Node] = []
    visited: set[fx.Node] = set()

    def need(node: fx.Node) -> None:
        if node in visited or node in at_hand:
            return
        visited.add(node)
        if node not in later and (node in columns or is_costly(node)):
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
