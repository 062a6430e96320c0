"""The C functions of one step of one cell with sums over units, on one row, forward and backward.

They stand in the place of those of `step_functions`, and do the same in loops over all units.
headers/row_steps.h declares them and explains their arguments.
"""

from collections.abc import Iterable, Mapping, Sequence

from torch import fx

from unrolled.kernels.capturing import CapturedStep
from unrolled.kernels.emitting.absence import guards
from unrolled.kernels.emitting.gate_row import GateRow
from unrolled.kernels.emitting.names import NodeNames
from unrolled.kernels.emitting.row_loops import RowLoops
from unrolled.kernels.emitting.step_functions import by_phase, function_text, functions_of

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
    functions = functions_of(writer.last, backward=backward)
    return [getattr(writer, name)() for name in functions], writer.num_temporary


class _Writer:
    """Writes the functions of one step."""

    def __init__(self, step: CapturedStep, names: NodeNames, row: GateRow) -> None:
        self._step, self._names, self._row = step, names, row
        self._guards = guards(step)
        self.last = max(row.phases.values(), default=0)  # phase of the step
        self.num_temporary = 0

    # ---- Forward ---------------------------------------------------------------------------------

    def apply(self) -> str:
        """Return `row_apply`."""
        return _function("row_apply", self._vectors(0))

    def between(self) -> str:
        """Return `row_between`."""
        return _function("row_between", by_phase(self.last, self._vectors))

    def _vectors(self, phase: int) -> list[str]:
        """Return a phase of a step but the last: up to the vectors that the next one reads."""
        results: list[tuple[str, fx.Node | None]] = [
            (f"store(vectors + {index} * H + unit, n, {{}});", node)
            for index, node in enumerate(self._step.applied)
            if self._phase(node) == phase
        ]
        return self._lines(phase, {**self._row.carried, **self._row.saved}, results)

    def forward(self) -> str:
        """Return `row_forward`."""
        step = self._step
        results: list[tuple[str, fx.Node | None]] = [
            (f"store(after[{index}] + unit, n, {{}});", node)
            for index, node in enumerate(step.states_out)
        ]
        records = [
            (f"store(record + {index} * H + unit, n, {{}});", node)
            for index, node in enumerate(step.named.values())
        ]
        return _function("row_forward", self._lines(self.last, self._row.saved, results, records))

    def _lines(
        self,
        phase: int,
        kept: Mapping[fx.Node, int],
        results: list[tuple[str, fx.Node | None]],
        records: Sequence[tuple[str, fx.Node]] = (),
    ) -> list[str]:
        """Return the statements of a phase, which leaves what is `kept` of its own in the row."""
        row = self._row
        columns = enumerate(self._step.columns)
        loads = self._slots({c.node: index for index, c in columns if c.phase == phase})
        loads |= self._slots({n: s for n, s in row.carried.items() if self._phase(n) < phase})
        loads |= self._given()
        keep = {n: slot for n, slot in kept.items() if self._phase(n) == phase}
        elsewhere = [
            (f"store(row + {slot} * H + unit, n, {{}});", node)
            for node, slot in keep.items()
            if node in loads and loads[node] != self._slots(keep)[node]
        ]
        numbers = row.numbers.items()
        loops = RowLoops(
            self._names,
            self._step.forward,
            loads,
            self._numbers({n: place for n, place in numbers if self._phase(n) < phase}),
            {n: slot for n, slot in keep.items() if n not in loads},
            {n: place for n, place in numbers if self._phase(n) == phase},
        )
        return self._written(loops, [*results, *elsewhere], records)

    def _phase(self, node: fx.Node) -> int:
        return self._row.phases.get(node, 0)

    # ---- Backward --------------------------------------------------------------------------------

    def unapply(self) -> str:
        """Return `row_unapply`."""
        return _function("row_unapply", self._products_gradients(self.last))

    def unbetween(self) -> str:
        """Return `row_unbetween`."""
        return _function("row_unbetween", by_phase(self.last, self._products_gradients))

    def _products_gradients(self, phase: int) -> list[str]:
        """Return the statements that leave the gradients of a phase's applied products."""
        columns = zip(self._step.columns, self._step.column_gradients, strict=True)
        return self._gradients(
            [
                (f"store(row + {index} * H + unit, n, {{}});", gradient)
                for index, (column, gradient) in enumerate(columns)
                if column.phase == phase
            ]
        )

    def backward(self) -> str:
        """Return `row_backward`."""
        step = self._step
        slots: list[tuple[int, fx.Node | None]] = [
            *((n, g) for n, g in enumerate(step.column_gradients) if not step.columns[n].applied),
            *enumerate(
                (*step.parameter_gradients, *step.step_input_gradients), start=len(step.columns)
            ),
            *enumerate(step.applied, start=self._row.first_vector),
        ]
        results = [(f"store(row + {slot} * H + unit, n, {{}});", node) for slot, node in slots]
        results += [
            (f"store(d_states[{index}] + unit, n, {{}});", node)
            for index, node in enumerate(step.state_gradients_in)
        ]
        return _function("row_backward", self._gradients(results))

    def _gradients(self, results: list[tuple[str, fx.Node | None]]) -> list[str]:
        step, row = self._step, self._row
        loads = {
            node: f"load(d_states[{index}] + unit, n)"
            for index, node in enumerate(step.state_gradients_out)
        }
        received = row.slots - len(step.applied)
        loads |= self._slots({n: received + i for i, n in enumerate(step.applied_gradients)})
        for index, node in enumerate(step.states_out):
            loads.setdefault(node, f"load(after[{index}] + unit, n)")
        loads |= self._given() | self._slots(row.saved)
        loops = RowLoops(
            self._names,
            [*row.again, *step.backward],
            loads,
            self._numbers(row.numbers),
            guards=self._guards,
            same=step.saved,
        )
        return self._written(loops, results)

    def _written(
        self,
        loops: RowLoops,
        results: Sequence[tuple[str, fx.Node | None]],
        records: Sequence[tuple[str, fx.Node]] = (),
    ) -> list[str]:
        lines = loops.write(results, records)
        self.num_temporary = max(self.num_temporary, loops.num_temporary)
        return lines

    # ---- What is read ----------------------------------------------------------------------------

    def _given(self) -> dict[fx.Node, str]:
        """Return the states before the step, its inputs, and the weight vectors."""
        states = enumerate((*self._step.states_in, *self._step.step_inputs))
        parameters = enumerate(self._step.parameters)
        return {
            **{node: f"load(before[{index}] + unit, n)" for index, node in states},
            **{node: f"load(call->parameters[{index}] + unit, n)" for index, node in parameters},
        }

    def _slots(self, slots: dict[fx.Node, int]) -> dict[fx.Node, str]:
        return {node: f"load(row + {slot} * H + unit, n)" for node, slot in slots.items()}

    def _numbers(self, numbers: dict[fx.Node, int]) -> dict[fx.Node, str]:
        return {n: f"splat(row[NUMBERS_AT(H) + {place}])" for n, place in numbers.items()}


def _function(name: str, lines: Iterable[str]) -> str:
    return function_text(name, lines, header="row_steps")
