"""The C functions of one step of one cell, on a vector of units, forward and backward.

Where a product is applied to a vector of the equations' own (GRU with reset before), a step has two
phases: the vector must be whole before the product can begin. `step_apply` computes it, and
`step_forward` the rest; backward, `step_unapply` comes before `step_backward`. Where a product is
applied to what such a product gave, there are more, `step_between` and `step_unbetween`.
headers/steps.h declares them and explains their arguments.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from torch import fx

from unrolled.kernels.capturing import CapturedStep
from unrolled.kernels.emitting.absence import guards
from unrolled.kernels.emitting.expressions import as_floats, expression, is_mask
from unrolled.kernels.emitting.gate_row import GateRow, reached
from unrolled.kernels.emitting.headers import header_text
from unrolled.kernels.emitting.names import NodeNames

__all__ = [
    "by_phase",
    "function_text",
    "functions_of",
    "states_read",
    "step_functions",
    "without_unused",
]


def step_functions(
    step: CapturedStep, names: NodeNames, row: GateRow, *, backward: bool = True
) -> list[str]:
    """Return the functions that headers/steps.h declares, in C; without `backward` half of them.

    Raises:
        EquationsError: The equations use an operation that no kernel has, which is named.
    """
    writer = _Writer(step, names, row)
    return [getattr(writer, name)() for name in functions_of(writer.last, backward=backward)]


def functions_of(last: int, *, backward: bool) -> list[str]:
    """Return which functions a step has whose last phase is `last`, in their order."""
    functions = ["apply"] if last else []
    functions += ["between"] if last > 1 else []
    functions.append("forward")
    if backward:
        functions += ["unapply"] if last else []
        functions += ["unbetween"] if last > 1 else []
        functions.append("backward")
    return functions


def states_read(step: CapturedStep) -> list[bool]:
    """Return for each state whether every step reads it, other than to hand it on."""
    handed_on = {step.states_in[place] for place in step.former[:-1]}
    own = [n for place, n in enumerate(step.states_out) if place not in step.former[1:]]
    read = {source for node in step.forward for source in node.all_input_nodes}
    read |= {*own, *step.applied, *step.saved.values(), *(set(step.states_in) - handed_on)}
    return [node in read for node in step.states_in]


class _Writer:
    """Writes the functions of one step."""

    def __init__(self, step: CapturedStep, names: NodeNames, row: GateRow) -> None:
        self._step, self._names, self._row = step, names, row
        self._guards = guards(step)
        self.last = max(row.phases.values(), default=0)  # phase of the step
        self._before = (*step.states_in, *step.step_inputs)  # as `before` has them
        self._given = {*self._before, *step.parameters}

    # ---- Forward ---------------------------------------------------------------------------------

    def apply(self) -> str:
        """Return `step_apply`."""
        return function_text("step_apply", self._vectors(0))

    def between(self) -> str:
        """Return `step_between`."""
        return function_text("step_between", by_phase(self.last, self._vectors))

    def _vectors(self, phase: int) -> list[str]:
        """Return a phase of a step but the last: up to the vectors that the next one reads."""
        step, row, names = self._step, self._row, self._names
        stored = {n: s for n, s in {**row.carried, **row.saved}.items() if self._phase(n) == phase}
        vectors = [node for node in step.applied if self._phase(node) == phase]
        columns, carried = self._columns(phase), self._carried(phase)
        wanted = reached([*vectors, *stored], columns | carried.keys())
        lines = self._load_columns(phase)
        lines += self._load_slots(carried, set(carried))
        lines += self._load_given(wanted)
        known = {*columns, *carried, *self._given}
        lines += self._statements(step.forward, known, wanted)
        for index, node in enumerate(step.applied):
            if self._phase(node) == phase:
                lines.append(f"    store(v + {index} * H, n, {names[node]});")
        return lines + [f"    store(x + {s} * H, n, {names[node]});" for node, s in stored.items()]

    def _phase(self, node: fx.Node) -> int:
        return self._row.phases.get(node, 0)

    def _columns(self, phase: int) -> set[fx.Node]:
        return {column.node for column in self._step.columns if column.phase == phase}

    def _carried(self, phase: int) -> dict[fx.Node, int]:
        return {n: slot for n, slot in self._row.carried.items() if self._phase(n) < phase}

    def forward(self) -> str:
        """Return `step_forward`."""
        step, row, names = self._step, self._row, self._names
        carried = self._carried(self.last)
        known = {*self._columns(self.last), *carried}
        saved = {n: s for n, s in row.saved.items() if self._phase(n) == self.last}
        former = dict.fromkeys(step.former[1:])
        own = [(place, n) for place, n in enumerate(step.states_out) if place not in former]
        wanted = reached([*(node for _, node in own), *saved], known)
        recorded = reached(step.named.values(), known | wanted)
        lines = self._load_columns(self.last)
        lines += self._load_slots(carried, set(carried))
        seldom = {step.states_in[place] for place in step.former} - wanted
        lines += self._load_given((wanted | recorded) - seldom)
        known = {*known, *self._given}
        lines += self._statements(step.forward, known, wanted)
        for index, node in own:
            lines.append(f"    store(after[{index}] + unit, n, {names[node]});")
        if saved:
            lines.append("    if (call->train) {")
            for node, slot in saved.items():
                lines.append(f"        store(x + {slot} * H, n, {names[node]});")
            lines.append("    }")
        lines.append("    if (record) {")
        lines += _indented(self._load_given(recorded & seldom))
        lines += _indented(self._statements(step.forward, known, recorded))
        for index, node in enumerate(step.named.values()):
            value = as_floats(node, names)
            lines.append(f"        store(record + {index} * H + unit, n, {value});")
        lines.append("    }")
        if former:  # last, for a stream's are where they were read
            lines.append(f"    if (after[{step.former[1]}]) {{")
            handed_on = {step.states_out[place] for place in former} & seldom
            lines += _indented(self._load_given(handed_on))
            for place in former:
                value = names[step.states_out[place]]
                lines.append(f"        store(after[{place}] + unit, n, {value});")
            lines.append("    }")
        return function_text("step_forward", lines)

    # ---- Backward --------------------------------------------------------------------------------

    def unapply(self) -> str:
        """Return `step_unapply`."""
        lines = self._products_gradients(self.last)
        return function_text("step_unapply", [*lines, "    store(d_states[0] + unit, n, d_h);"])

    def unbetween(self) -> str:
        """Return `step_unbetween`."""

        def lines(phase: int) -> list[str]:
            # earlier phases need them, too
            kept = [
                f"    store(x + {slot} * H, n, {self._names[node]});"
                for node, slot in self._vector_gradients(phase)
            ]
            d_h = "    const vf d_h = load(d_states[0] + unit, n);"
            return [d_h, *self._products_gradients(phase), *kept]

        return function_text("step_unbetween", by_phase(self.last, lines))

    def _products_gradients(self, phase: int) -> list[str]:
        """Return the statements that leave the gradients of a phase's applied products."""
        step = self._step
        gradients = {
            index: gradient
            for index, (column, gradient) in enumerate(
                zip(step.columns, step.column_gradients, strict=True)
            )
            if column.phase == phase
        }
        return [
            *self._gradients(list(gradients.values()), phase),
            *(
                f"    store(x + {index} * H, n, {self._gradient(gradient)});"
                for index, gradient in gradients.items()
            ),
        ]

    def _vector_gradients(self, phase: int) -> list[tuple[fx.Node, int]]:
        """Return the gradients of what a phase applies products to, each with its slot."""
        pairs = zip(self._step.applied_gradients, self._step.applied, strict=True)
        return [
            (gradient, slot)
            for slot, (gradient, vector) in enumerate(pairs, start=self._row.first_vector)
            if self._phase(vector) == phase
        ]

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
        lines = self._gradients(results, 0)
        for slot, gradient in slots:
            lines.append(f"    store(x + {slot} * H, n, {self._gradient(gradient)});")
        for slot, node in enumerate(step.applied, start=self._row.first_vector):
            lines.append(f"    store(x + {slot} * H, n, {names[node]});")
        for index, gradient in enumerate(step.state_gradients_in):
            if index or gradient is not None or step.applied:
                value = self._gradient(gradient)
                lines.append(f"    store(d_states[{index}] + unit, n, {value});")
        return function_text("step_backward", lines)

    def _gradients(self, results: Sequence[fx.Node | None], phase: int) -> list[str]:
        """Return the statements that compute `results`, gradients of a step, in a phase of it."""
        step, row, names = self._step, self._row, self._names
        wanted = self._wanted_backward(results)
        first, *others = step.state_gradients_out
        lines = [f"    const vf {names[first]} = d_h;"] if first in wanted else []
        for index, node in enumerate(others, start=1):
            if node in wanted:
                lines.append(f"    const vf {names[node]} = load(d_states[{index}] + unit, n);")
        # all of its own: a phase between keeps them, else what nothing reads is left out
        made = self._vector_gradients(phase) if phase < self.last else []
        for index, (node, _) in enumerate(made):
            lines.append(f"    const vf {names[node]} = d_v[{index}];")
        for later in range(phase + 1, self.last):
            lines += self._load_slots(dict(self._vector_gradients(later)), wanted)
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

    def _load_columns(self, phase: int) -> list[str]:
        lines, products = [], count()
        for index, column in enumerate(self._step.columns):
            if column.phase != phase:
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


def by_phase(last: int, lines_of: Callable[[int], list[str]]) -> list[str]:
    """Return the statements of a function for each phase between the first and the last one."""
    lines = []
    for phase in range(1, last):
        body = _indented(without_unused(lines_of(phase)))
        lines += [f"    if (phase == {phase}) {{", *body, "    }"]
    return lines


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def function_text(name: str, lines: Iterable[str], header: str = "steps") -> str:
    """Return a function with the comment and the arguments that a header declares."""
    pattern = rf"(/\*(?:(?!\*/).)*\*/)\nvoid ({name}\([^;]*);"
    declaration = re.search(pattern, header_text(header), re.DOTALL)
    assert declaration is not None, name
    comment, signature = declaration.groups()
    signature = signature.replace("\n", "\n    ")
    text = [comment, f"INL void {signature} {{", "    const long H = H_OF(call);"]
    text += without_unused(list(lines))
    return "\n".join([*text, "}", ""])


def without_unused(lines: list[str]) -> list[str]:
    """Return statements without the declarations of what none of them reads."""
    read: set[str] = set()
    kept = []
    for line in reversed(lines):
        declared = re.match(r" *const \w+ (\w+) = ", line)
        if declared is None or declared[1] in read:
            kept.append(line)
            read.update(re.findall(r"\w+", line[declared.end() if declared else 0 :]))
    return kept[::-1]
