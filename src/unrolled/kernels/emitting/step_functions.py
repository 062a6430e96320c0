"""The C functions of one step of one cell, on a vector of units, forward and backward.

Where a product is applied to a vector of the equations' own (GRU with reset before), a step has two
halves: the vector must be whole before the product can begin. `step_apply` computes it, and
`step_forward` the rest; backward, `step_unapply` comes before `step_backward`. headers/steps.h
declares them and explains their arguments.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import count

from torch import fx

from unrolled.kernels.capturing import CapturedStep, EquationsError
from unrolled.kernels.emitting.absence import guards
from unrolled.kernels.emitting.expressions import as_floats, expression, is_mask
from unrolled.kernels.emitting.gate_row import GateRow, reached
from unrolled.kernels.emitting.headers import header_text
from unrolled.kernels.emitting.names import NodeNames

__all__ = ["step_functions"]


def step_functions(
    step: CapturedStep, names: NodeNames, row: GateRow, *, backward: bool = True
) -> list[str]:
    """Return the functions that headers/steps.h declares, in C; without `backward` half of them.

    Raises:
        EquationsError: The equations use an operation that no kernel has, which is named.
    """
    writer = _Writer(step, names, row)
    functions = [writer.apply] if step.applied else []
    functions.append(writer.forward)
    if backward:
        functions += [writer.unapply] if step.applied else []
        functions.append(writer.backward)
    return [write() for write in functions]


class _Writer:
    """Writes the functions of one step."""

    def __init__(self, step: CapturedStep, names: NodeNames, row: GateRow) -> None:
        self._step, self._names, self._row = step, names, row
        self._guards = guards(step)
        self._before = (*step.states_in, *step.step_inputs)  # as `before` has them
        self._given = {*self._before, *step.parameters}

    # ---- Forward ---------------------------------------------------------------------------------

    def apply(self) -> str:
        """Return `step_apply`."""
        step, row, names = self._step, self._row, self._names
        stored = {n: s for n, s in {**row.carried, **row.saved}.items() if n not in row.late}
        columns = {column.node for column in step.columns if not column.applied}
        wanted = reached([*step.applied, *stored], columns)
        lines = self._load_columns(applied=False)
        lines += self._load_given(wanted)
        known = {*columns, *self._given}
        lines += self._statements(step.forward, known, wanted)
        for index, node in enumerate(step.applied):
            lines.append(f"    store(v + {index} * H, n, {names[node]});")
        lines += [f"    store(x + {slot} * H, n, {names[node]});" for node, slot in stored.items()]
        return _function("step_apply", lines)

    def forward(self) -> str:
        """Return `step_forward`."""
        step, row, names = self._step, self._row, self._names
        halved = bool(step.applied)
        columns = {column.node for column in step.columns if column.applied == halved}
        known = {*columns, *row.carried} if halved else columns
        saved = {n: s for n, s in row.saved.items() if not halved or n in row.late}
        wanted = reached([*step.states_out, *saved], known)
        recorded = reached(step.named.values(), known | wanted)
        lines = self._load_columns(applied=halved)
        lines += self._load_slots(row.carried, set(row.carried))
        lines += self._load_given(wanted | recorded)
        known = {*known, *self._given}
        lines += self._statements(step.forward, known, wanted)
        for index, node in enumerate(step.states_out):
            lines.append(f"    store(after[{index}] + unit, n, {names[node]});")
        if saved:
            lines.append("    if (call->train) {")
            for node, slot in saved.items():
                lines.append(f"        store(x + {slot} * H, n, {names[node]});")
            lines.append("    }")
        lines.append("    if (record) {")
        lines += [f"    {line}" for line in self._statements(step.forward, known, recorded)]
        for index, node in enumerate(step.named.values()):
            value = as_floats(node, names)
            lines.append(f"        store(record + {index} * H + unit, n, {value});")
        lines.append("    }")
        return _function("step_forward", lines)

    # ---- Backward --------------------------------------------------------------------------------

    def unapply(self) -> str:
        """Return `step_unapply`."""
        columns = zip(self._step.columns, self._step.column_gradients, strict=True)
        gradients = {
            index: gradient for index, (column, gradient) in enumerate(columns) if column.applied
        }
        lines = self._gradients(list(gradients.values()), finish=False)
        for index, gradient in gradients.items():
            lines.append(f"    store(x + {index} * H, n, {self._gradient(gradient)});")
        lines.append("    store(d_states[0] + unit, n, d_h);")
        return _function("step_unapply", lines)

    def backward(self) -> str:
        """Return `step_backward`."""
        step, names = self._step, self._names
        slots = [
            *((n, g) for n, g in enumerate(step.column_gradients) if not step.columns[n].applied),
            *enumerate(
                (*step.parameter_gradients, *step.step_input_gradients), start=len(step.columns)
            ),
        ]
        results = [*(gradient for _, gradient in slots), *step.state_gradients_in, *step.applied]
        lines = self._gradients(results, finish=True)
        for slot, gradient in slots:
            lines.append(f"    store(x + {slot} * H, n, {self._gradient(gradient)});")
        for slot, node in enumerate(step.applied, start=self._row.first_vector):
            lines.append(f"    store(x + {slot} * H, n, {names[node]});")
        for index, gradient in enumerate(step.state_gradients_in):
            if index or gradient is not None or step.applied:
                value = self._gradient(gradient)
                lines.append(f"    store(d_states[{index}] + unit, n, {value});")
        return _function("step_backward", lines)

    def _gradients(self, results: Sequence[fx.Node | None], finish: bool) -> list[str]:
        """Return the statements that compute `results`, gradients of a step.

        finish: Emit the half after the applied products, which is all where there are none; else
            the half before them.
        """
        step, row, names = self._step, self._row, self._names
        wanted = self._wanted_backward(results)
        if not finish and wanted & set(step.applied_gradients):
            raise EquationsError(
                f"cell {step.cell.name}: applies a product to what another product gave"
            )
        first, *others = step.state_gradients_out
        lines = [f"    const vf {names[first]} = d_h;"] if first in wanted else []
        for index, node in enumerate(others, start=1):
            if node in wanted:
                lines.append(f"    const vf {names[node]} = load(d_states[{index}] + unit, n);")
        for index, node in enumerate(step.applied_gradients):
            if node in wanted:
                lines.append(f"    const vf {names[node]} = d_v[{index}];")
        lines += self._load_given(wanted)
        known = {*step.state_gradients_out, *step.applied_gradients, *self._given}
        for index, node in enumerate(step.states_out):
            if node in wanted and node not in known:
                lines.append(f"    const vf {names[node]} = load(after[{index}] + unit, n);")
                known.add(node)
        lines += self._load_slots(row.saved, wanted)
        known |= {*row.saved}
        lines += self._statements(row.again, known, wanted)
        return lines + self._statements(step.backward, known, wanted)

    def _wanted_backward(self, results: Sequence[fx.Node | None]) -> set[fx.Node]:
        """Return what `results` need: of the gradient's graph, and of the step's."""
        step, row = self._step, self._row
        wanted = reached(results, set())
        wanted |= {step.saved[node] for node in wanted if node in step.saved}
        again = reached([node for node in row.again if node in wanted], set(row.saved))
        return wanted | again | {argument for node in again for argument in node.all_input_nodes}

    def _gradient(self, node: fx.Node | None) -> str:
        """Return the C expression of a gradient; None is zero."""
        return "splat(0.0f)" if node is None else as_floats(node, self._names)

    # ---- Declarations ----------------------------------------------------------------------------

    def _statements(
        self, nodes: Iterable[fx.Node], known: set[fx.Node], wanted: set[fx.Node]
    ) -> list[str]:
        """Return a declaration for each of `nodes` that is wanted and not known yet; now it is."""
        lines = []
        for node in nodes:
            if node in known or node not in wanted:
                continue
            known.add(node)
            kind, name = "vi" if is_mask(node) else "vf", self._names[node]
            value = expression(node, self._names)
            if node in self._guards and not is_mask(node):
                value = f"present & {self._guards[node]} ? {value} : splat(0.0f)"
            lines.append(f"    const {kind} {name} = {value};")
        return lines

    def _load_columns(self, *, applied: bool) -> list[str]:
        lines, products = [], count()
        for index, column in enumerate(self._step.columns):
            if column.applied != applied:
                continue
            terms = [f"load(x + {index} * H, n)"] if column.input else []
            terms.append(f"load(bias + {index} * H + unit, n)")
            if column.recurrent:
                terms.append(f"u[{next(products)}]")
            lines.append(f"    const vf {self._names[column.node]} = {' + '.join(terms)};")
        return lines

    def _load_given(self, wanted: set[fx.Node]) -> list[str]:
        """Return declarations of the states before the step, its inputs and the weight vectors."""
        arrays = {"before": self._before, "call->parameters": self._step.parameters}
        return [
            f"    const vf {self._names[node]} = load({array}[{index}] + unit, n);"
            for array, nodes in arrays.items()
            for index, node in enumerate(nodes)
            if node in wanted
        ]

    def _load_slots(self, slots: dict[fx.Node, int], wanted: set[fx.Node]) -> list[str]:
        return [
            f"    const vf {self._names[node]} = load(x + {slot} * H, n);"
            for node, slot in slots.items()
            if node in wanted
        ]


def _function(name: str, lines: Iterable[str]) -> str:
    """Return a function with the comment and the arguments that headers/steps.h declares."""
    pattern = rf"(/\*(?:(?!\*/).)*\*/)\nvoid ({name}\([^;]*);"
    declaration = re.search(pattern, header_text("steps"), re.DOTALL)
    assert declaration is not None, name
    comment, signature = declaration.groups()
    signature = signature.replace("\n", "\n    ")
    text = [comment, f"INL void {signature} {{", "    const long H = H_OF(call);"]
    text += _without_unused(list(lines))
    return "\n".join([*text, "}", ""])


def _without_unused(lines: list[str]) -> list[str]:
    """Return statements without the declarations of what none of them reads."""
    read: set[str] = set()
    kept = []
    for line in reversed(lines):
        declared = re.match(r" *const \w+ (\w+) = ", line)
        if declared is None or declared[1] in read:
            kept.append(line)
            read.update(re.findall(r"\w+", line[declared.end() if declared else 0 :]))
    return kept[::-1]
