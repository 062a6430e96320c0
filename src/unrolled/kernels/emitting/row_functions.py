"""The C functions of one step of one cell with sums over units, on one row, forward and backward.

They stand in the place of those of `step_functions`, and do the same in loops over all units.
headers/row_steps.h declares them and explains their arguments.
"""

from collections.abc import Sequence

from torch import fx

from unrolled.kernels.capturing import CapturedStep, EquationsError
from unrolled.kernels.emitting.absence import guards
from unrolled.kernels.emitting.gate_row import GateRow, reached
from unrolled.kernels.emitting.names import NodeNames
from unrolled.kernels.emitting.row_loops import RowLoops
from unrolled.kernels.emitting.step_functions import function_text

__all__ = ["row_functions"]


def row_functions(
    step: CapturedStep, names: NodeNames, row: GateRow, *, backward: bool = True
) -> tuple[list[str], int]:
    """Return the functions that headers/row_steps.h declares, in C; without `backward` half.

    With them, how many vectors of H they need beside the row.

    Raises:
        EquationsError: The equations use an operation that no kernel has, which is named.
    """
    writer = _Writer(step, names, row)
    functions = [writer.apply] if step.applied else []
    functions.append(writer.forward)
    if backward:
        functions += [writer.unapply] if step.applied else []
        functions.append(writer.backward)
    return [write() for write in functions], writer.num_temporary


class _Writer:
    """Writes the functions of one step."""

    def __init__(self, step: CapturedStep, names: NodeNames, row: GateRow) -> None:
        self._step, self._names, self._row = step, names, row
        self._guards = guards(step)
        self.num_temporary = 0

    # ---- Forward ---------------------------------------------------------------------------------

    def apply(self) -> str:
        """Return `row_apply`."""
        step, row = self._step, self._row
        loads = self._columns(applied=False) | self._given("before")
        kept = {**row.carried, **row.saved}
        keep = {n: slot for n, slot in kept.items() if n not in row.late}
        numbers = {n: place for n, place in row.numbers.items() if n not in row.late}
        results: list[tuple[str, fx.Node | None]] = [
            (f"store(vectors + {index} * H + unit, n, {{}});", node)
            for index, node in enumerate(step.applied)
        ]
        return self._function("row_apply", loads, {}, keep, numbers, results)

    def forward(self) -> str:
        """Return `row_forward`."""
        step, row = self._step, self._row
        halved = bool(step.applied)
        loads = self._columns(applied=halved)
        if halved:
            loads |= self._slots(row.carried)
        loads |= self._given("before")
        early = {n: place for n, place in row.numbers.items() if halved and n not in row.late}
        keep = {n: slot for n, slot in row.saved.items() if not halved or n in row.late}
        numbers = {n: place for n, place in row.numbers.items() if n not in early}
        results: list[tuple[str, fx.Node | None]] = [
            (f"store(after[{index}] + unit, n, {{}});", node)
            for index, node in enumerate(step.states_out)
        ]
        records = [
            (f"store(record + {index} * H + unit, n, {{}});", node)
            for index, node in enumerate(step.named.values())
        ]
        return self._function("row_forward", loads, early, keep, numbers, results, records)

    def _function(
        self,
        name: str,
        loads: dict[fx.Node, str],
        early: dict[fx.Node, int],
        keep: dict[fx.Node, int],
        numbers: dict[fx.Node, int],
        results: list[tuple[str, fx.Node | None]],
        records: Sequence[tuple[str, fx.Node]] = (),
    ) -> str:
        """Return a function of the forward pass.

        early: Numbers that the first half left. keep, numbers: What this one is to leave.
        """
        elsewhere = [
            (f"store(row + {slot} * H + unit, n, {{}});", node)
            for node, slot in keep.items()
            if node in loads and loads[node] != self._slots(keep)[node]
        ]
        loops = RowLoops(
            self._names,
            self._step.forward,
            loads,
            self._numbers(early),
            {n: slot for n, slot in keep.items() if n not in loads},
            numbers,
        )
        return self._text(name, loops, [*results, *elsewhere], records)

    # ---- Backward --------------------------------------------------------------------------------

    def unapply(self) -> str:
        """Return `row_unapply`."""
        step = self._step
        columns = zip(step.columns, step.column_gradients, strict=True)
        results = [
            (f"store(row + {index} * H + unit, n, {{}});", gradient)
            for index, (column, gradient) in enumerate(columns)
            if column.applied
        ]
        if reached((gradient for _, gradient in results), set()) & set(step.applied_gradients):
            raise EquationsError(
                f"cell {step.cell.name}: applies a product to what another product gave"
            )
        return self._gradients("row_unapply", results)

    def backward(self) -> str:
        """Return `row_backward`."""
        step = self._step
        slots: list[tuple[int, fx.Node | None]] = [
            *((n, g) for n, g in enumerate(step.column_gradients) if not step.columns[n].applied),
            *enumerate(step.parameter_gradients, start=len(step.columns)),
            *enumerate(step.applied, start=self._row.first_vector),
        ]
        results = [(f"store(row + {slot} * H + unit, n, {{}});", node) for slot, node in slots]
        results += [
            (f"store(d_states[{index}] + unit, n, {{}});", node)
            for index, node in enumerate(step.state_gradients_in)
        ]
        return self._gradients("row_backward", results)

    def _gradients(self, name: str, results: list[tuple[str, fx.Node | None]]) -> str:
        step, row = self._step, self._row
        loads = {
            node: f"load(d_states[{index}] + unit, n)"
            for index, node in enumerate(step.state_gradients_out)
        }
        received = row.slots - len(step.applied)
        loads |= self._slots({n: received + i for i, n in enumerate(step.applied_gradients)})
        for index, node in enumerate(step.states_out):
            loads.setdefault(node, f"load(after[{index}] + unit, n)")
        loads |= self._given("before") | self._slots(row.saved)
        loops = RowLoops(
            self._names,
            [*row.again, *step.backward],
            loads,
            self._numbers(row.numbers),
            guards=self._guards,
            same=step.saved,
        )
        return self._text(name, loops, results)

    def _text(
        self,
        name: str,
        loops: RowLoops,
        results: Sequence[tuple[str, fx.Node | None]],
        records: Sequence[tuple[str, fx.Node]] = (),
    ) -> str:
        lines = loops.write(results, records)
        self.num_temporary = max(self.num_temporary, loops.num_temporary)
        return function_text(name, lines, header="row_steps")

    # ---- What is read ----------------------------------------------------------------------------

    def _columns(self, *, applied: bool) -> dict[fx.Node, str]:
        columns = enumerate(self._step.columns)
        return self._slots({c.node: index for index, c in columns if c.applied == applied})

    def _given(self, array: str) -> dict[fx.Node, str]:
        """Return the states before the step, and the weight vectors."""
        states = enumerate(self._step.states_in)
        parameters = enumerate(self._step.parameters)
        return {
            **{node: f"load({array}[{index}] + unit, n)" for index, node in states},
            **{node: f"load(call->parameters[{index}] + unit, n)" for index, node in parameters},
        }

    def _slots(self, slots: dict[fx.Node, int]) -> dict[fx.Node, str]:
        return {node: f"load(row + {slot} * H + unit, n)" for node, slot in slots.items()}

    def _numbers(self, numbers: dict[fx.Node, int]) -> dict[fx.Node, str]:
        return {n: f"splat(row[NUMBERS_AT(H) + {place}])" for n, place in numbers.items()}
