"""From a traced cell to one C file that can be read: its equations, between the runtime's parts.

What is written here is one step of one cell on a vector of units, forward and backward. The matrix
products, the loop over time and the threads are in `runtime/`, the same for every cell.

Where a product is applied to a vector of the equations' own (GRU with reset before), a step has two
halves: the vector must be whole before the product can begin. `step_apply` computes it, and
`step_forward` the rest; backward, `step_unapply` comes before `step_backward`.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import count

from torch import fx

from unrolled.kernels.expressions import expression, is_costly, is_mask
from unrolled.kernels.native import MOST_PARAMETERS, MOST_STATES
from unrolled.kernels.trace import Traced, UntraceableError

__all__ = ["emit"]


# Of the names that a node could have, those that C or the runtime has.
_TAKEN = {"d_h", "d_v", "d_states", "size_t", "wchar_t", "float_t", "double_t", "off_t"}
_TAKEN |= {f"{kind}{size}_t" for kind in ("int", "uint") for size in (8, 16, 32, 64, "ptr", "max")}
_TAKEN |= {"ptrdiff_t"}


def emit(traced: Traced) -> str:
    """Return the C file of a traced cell's kernel.

    Raises:
        UntraceableError: the equations use an operation that no kernel has, which is named, or
            more states or weight vectors than a kernel has room for.
    """
    cell = traced.cell
    if len(cell.states) > MOST_STATES or len(cell.parameters) > MOST_PARAMETERS:
        raise UntraceableError(
            f"cell {cell.name}: a kernel has at most {MOST_STATES} states "
            f"and {MOST_PARAMETERS} weight vectors"
        )
    names = _Names(traced)
    plan = _plan(traced)
    parts = [
        _comment(traced, list(plan.saved), names),
        *_defines(traced, plan),
        "",
        *(_runtime(name) for name in ("vector.h", "tile.h", "call.h")),
        *([_apply(traced, names, plan)] if traced.applied else []),
        _forward(traced, names, plan),
        *([_unapply(traced, names, plan)] if traced.applied else []),
        _backward(traced, names, plan),
        *(_runtime(f"{name}.h") for name in ("pack", "forward", "backward", "gradient", "entry")),
    ]
    return "\n".join(parts)


def _defines(traced: Traced, plan: "_Plan") -> list[str]:
    cell, columns = traced.cell, traced.columns
    recurrent = [n for n, c in enumerate(columns) if c.recurrent and not c.applied]
    applied = [n for n, c in enumerate(columns) if c.applied]
    direct = bool(applied) or traced.state_gradients_in[0] is not None
    numbers = {
        "COLUMNS": len(columns),
        "INPUT_COLUMNS": sum(column.input for column in columns),
        "FIRST_RECURRENT": recurrent[0] if recurrent else 0,
        "RECURRENT_COLUMNS": len(recurrent),
        "FIRST_APPLIED": applied[0] if applied else 0,
        "APPLIED_COLUMNS": len(applied),
        "FIRST_VECTOR": plan.first_vector,
        "STATES": len(cell.states),
        "PARAMETERS": len(cell.parameters),
        "RECORDS": len(traced.named),
        "DIRECT": int(direct),
        "MOST_STATES": MOST_STATES,
        "MOST_PARAMETERS": MOST_PARAMETERS,
    }
    blocks = {
        "INPUT": [cell.gates.index(c.gate) for c in columns if c.input],
        "RECURRENT": [cell.recurrent.index(columns[n].gate) for n in recurrent],
        "APPLIED": [cell.recurrent.index(columns[n].gate) for n in applied],
    }
    description = {
        "slots": plan.slots,
        "scratch_slots": plan.slots if applied else numbers["INPUT_COLUMNS"],
        "records": list(traced.named),
    }
    quoted = json.dumps(json.dumps(description))
    return [
        *(f"#define {name} {number}" for name, number in numbers.items()),
        "",
        "#include <stdint.h>",
        "",
        *(
            f"static const int64_t {name}_BLOCKS[] = {{{', '.join(map(str, rows or [0]))}}};"
            for name, rows in blocks.items()
        ),
        "",
        "/* For the caller: vectors of H in a row of gates, kept or not, and what is recorded. */",
        f"const char unrolled_description[] = {quoted};",
    ]


class _Names:
    """What each node is called in C: f_t for the equations' f, c_prev for the state before.

    No two nodes have one name, and none has one of `_TAKEN`.
    """

    def __init__(self, traced: Traced) -> None:
        self._names: dict[fx.Node, str] = {}
        self._taken = set(_TAKEN)
        for name, node in zip(traced.cell.states, traced.states_in, strict=True):
            self._add(node, f"{name}_prev")
        for name, node in zip(traced.cell.parameters, traced.parameters, strict=True):
            self._add(node, f"{name}_w")
        for column in traced.columns:
            part = "" if column.input and column.recurrent else ("x_", "u_")[column.recurrent]
            self._add(column.node, f"a_{part}{column.gate}")
        for name, node in traced.named.items():
            self._add(node, f"{name}_t")
        given = (*traced.state_gradients_out, *traced.applied_gradients)
        for node in (*traced.forward, *traced.backward, *given):
            prefix = "v_" if node.graph is traced.states_in[0].graph else "d_"
            self._add(node, f"{prefix}{node.name}")
        self._saved = traced.saved

    def _add(self, node: fx.Node, name: str) -> None:
        """Give `node` a name like `name`, unless it has one."""
        if node not in self._names:
            plain = re.sub(r"\W", "_", name, flags=re.ASCII)
            plain = plain if plain[0].isalpha() else f"v_{plain}"
            tries = (f"{plain}{number or ''}" for number in count())
            self._names[node] = next(name for name in tries if name not in self._taken)
            self._taken.add(self._names[node])

    def __getitem__(self, node: fx.Node) -> str:
        return self._names[self._saved.get(node, node)]


@dataclass(frozen=True)
class _Plan:
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


def _plan(traced: Traced) -> _Plan:
    """Place the values of a step.

    The states are kept anyway. Of the rest, what is costly to compute, and the columns, get a
    slot; what follows from those by cheap operations is computed again.
    """
    late = {column.node for column in traced.columns if column.applied}
    for node in traced.forward:
        if late.intersection(node.all_input_nodes):
            late.add(node)
    if late.intersection(traced.applied):
        raise UntraceableError(
            f"cell {traced.cell.name}: applies a product to what another product gave"
        )
    saved, again = _stored(traced, [*traced.saved.values(), *traced.applied], set())
    carried: list[fx.Node] = []
    if traced.applied:
        results = [*traced.states_out, *traced.named.values(), *saved]
        carried, _ = _stored(traced, results, late | set(traced.states_out))
    taken = {n for n, column in enumerate(traced.columns) if column.applied}
    free = (slot for slot in count() if slot not in taken)
    slot_of = {node: next(free) for node in dict.fromkeys([*carried, *saved])}
    first_vector = len(traced.columns) + len(traced.parameters)
    slots = max([first_vector + len(traced.applied), *(slot + 1 for slot in slot_of.values())])
    return _Plan(
        {node: slot_of[node] for node in saved},
        {node: slot_of[node] for node in carried},
        again,
        late,
        first_vector,
        slots,
    )


def _stored(
    traced: Traced, wanted: Iterable[fx.Node], later: set[fx.Node]
) -> tuple[list[fx.Node], list[fx.Node]]:
    """Return which values must be kept so that `wanted` can be had, and which are computed again.

    Those of `later` are not known yet: they are computed from what is kept, whatever they cost.
    """
    kept = {*traced.states_in, *traced.states_out, *traced.parameters} - later
    columns = {column.node for column in traced.columns}
    stored: list[fx.Node] = []
    again: list[fx.Node] = []
    seen: set[fx.Node] = set()

    def need(node: fx.Node) -> None:
        if node in seen or node in kept:
            return
        seen.add(node)
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


def _statements(
    nodes: Iterable[fx.Node], names: "_Names", known: set[fx.Node], wanted: set[fx.Node]
) -> list[str]:
    """Return a declaration for each of `nodes` that is wanted and not known yet."""
    lines = []
    for node in nodes:
        if node in known or node not in wanted:
            continue
        known.add(node)
        kind = "vi" if is_mask(node) else "vf"
        lines.append(f"    const {kind} {names[node]} = {expression(node, names)};")
    return lines


def _reached(results: Iterable[fx.Node | None], stop: set[fx.Node]) -> set[fx.Node]:
    """Return the nodes that `results` are computed from, up to and without `stop`."""
    found: set[fx.Node] = set()
    todo = [node for node in results if node is not None]
    while todo:
        node = todo.pop()
        if node not in found and node not in stop:
            found.add(node)
            todo.extend(node.all_input_nodes)
    return found


def _value(node: fx.Node | None, names: "_Names") -> str:
    """Return the C expression of a value as floats; None is zero."""
    if node is None:
        return "splat(0.0f)"
    mask = is_mask(node)
    return f"select({names[node]}, splat(1.0f), splat(0.0f))" if mask else names[node]


def _load_columns(traced: Traced, names: "_Names", applied: bool) -> list[str]:
    lines, products = [], count()
    for index, column in enumerate(traced.columns):
        if column.applied != applied:
            continue
        terms = [f"load(x + {index} * H, n)"] if column.input else []
        terms.append(f"load(bias + {index} * H + unit, n)")
        if column.recurrent:
            terms.append(f"u[{next(products)}]")
        lines.append(f"    const vf {names[column.node]} = {' + '.join(terms)};")
    return lines


def _load_states(
    nodes: Sequence[fx.Node], names: "_Names", wanted: set[fx.Node], array: str
) -> list[str]:
    return [
        f"    const vf {names[node]} = load({array}[{index}] + unit, n);"
        for index, node in enumerate(nodes)
        if node in wanted
    ]


def _load_parameters(traced: Traced, names: "_Names", wanted: set[fx.Node]) -> list[str]:
    return [
        f"    const vf {names[node]} = load(call->parameters[{index}] + unit, n);"
        for index, node in enumerate(traced.parameters)
        if node in wanted
    ]


def _load_slots(slots: dict[fx.Node, int], names: "_Names", wanted: set[fx.Node]) -> list[str]:
    return [
        f"    const vf {names[node]} = load(x + {slot} * H, n);"
        for node, slot in slots.items()
        if node in wanted
    ]


def _function(comment: str, signature: str, lines: Iterable[str]) -> str:
    text = ["/* " + comment + " */", signature + " {", "    const long H = H_OF(call);", *lines]
    return "\n".join([*text, "}", ""])


def _apply(traced: Traced, names: "_Names", plan: _Plan) -> str:
    stored = {n: s for n, s in {**plan.carried, **plan.saved}.items() if n not in plan.late}
    columns = {column.node for column in traced.columns if not column.applied}
    wanted = _reached([*traced.applied, *stored], columns)
    lines = _load_columns(traced, names, applied=False)
    lines += _load_states(traced.states_in, names, wanted, "before")
    lines += _load_parameters(traced, names, wanted)
    known = {*columns, *traced.states_in, *traced.parameters}
    lines += _statements(traced.forward, names, known, wanted)
    for index, node in enumerate(traced.applied):
        lines.append(f"    store(v + {index} * H, n, {names[node]});")
    lines += [f"    store(x + {slot} * H, n, {names[node]});" for node, slot in stored.items()]
    return _function(
        "The first half of a step of W units of one row, as step_forward. v: the vectors that\n"
        "   products are applied to.",
        "INL void step_apply(const Call *call, const float *bias, float *x, const vf *u,\n"
        "                    const float *const *before, float *v, long unit, long n)",
        lines,
    )


def _forward(traced: Traced, names: "_Names", plan: _Plan) -> str:
    halved = bool(traced.applied)
    columns = {column.node for column in traced.columns if column.applied == halved}
    known = {*columns, *plan.carried} if halved else columns
    saved = {n: s for n, s in plan.saved.items() if not halved or n in plan.late}
    wanted = _reached([*traced.states_out, *saved], known)
    recorded = _reached(traced.named.values(), known | wanted)
    lines = _load_columns(traced, names, applied=halved)
    lines += _load_slots(plan.carried, names, set(plan.carried))
    lines += _load_states(traced.states_in, names, wanted | recorded, "before")
    lines += _load_parameters(traced, names, wanted | recorded)
    known = {*known, *traced.states_in, *traced.parameters}
    lines += _statements(traced.forward, names, known, wanted)
    for index, node in enumerate(traced.states_out):
        lines.append(f"    store(after[{index}] + unit, n, {names[node]});")
    if saved:
        lines.append("    if (call->train) {")
        for node, slot in saved.items():
            lines.append(f"        store(x + {slot} * H, n, {names[node]});")
        lines.append("    }")
    lines.append("    if (record) {")
    lines += [f"    {line}" for line in _statements(traced.forward, names, known, recorded)]
    for index, node in enumerate(traced.named.values()):
        lines.append(f"        store(record + {index} * H + unit, n, {_value(node, names)});")
    lines.append("    }")
    return _function(
        "One step of W units of one row, from `unit` on; n: how many of them there are. x: the\n"
        "   row's gate buffer at these units, its first columns hold the input's part; u: the\n"
        "   recurrent products; before, after: the rows of the states; record: the row of named\n"
        "   values, or NULL.",
        "INL void step_forward(const Call *call, const float *bias, float *x, const vf *u,\n"
        "                      const float *const *before, float *const *after, float *record,\n"
        "                      long unit, long n)",
        lines,
    )


def _unapply(traced: Traced, names: "_Names", plan: _Plan) -> str:
    gradients = {
        index: gradient
        for index, (column, gradient) in enumerate(
            zip(traced.columns, traced.column_gradients, strict=True)
        )
        if column.applied
    }
    lines = _gradients(traced, names, plan, list(gradients.values()), finish=False)
    for index, gradient in gradients.items():
        lines.append(f"    store(x + {index} * H, n, {_value(gradient, names)});")
    lines.append("    store(d_states[0] + unit, n, d_h);")
    return _function(
        "The first half of the gradient of a step, as step_backward: by the applied products.\n"
        "   Leaves the gradient by the output in d_states[0].",
        "INL void step_unapply(const Call *call, float *x, vf d_h, const float *const *before,\n"
        "                      const float *const *after, float *const *d_states, long unit,\n"
        "                      long n)",
        lines,
    )


def _backward(traced: Traced, names: "_Names", plan: _Plan) -> str:
    slots = [
        *((n, g) for n, g in enumerate(traced.column_gradients) if not traced.columns[n].applied),
        *enumerate(traced.parameter_gradients, start=len(traced.columns)),
    ]
    results = [*(gradient for _, gradient in slots), *traced.state_gradients_in, *traced.applied]
    lines = _gradients(traced, names, plan, results, finish=True)
    for slot, gradient in slots:
        lines.append(f"    store(x + {slot} * H, n, {_value(gradient, names)});")
    for slot, node in enumerate(traced.applied, start=plan.first_vector):
        lines.append(f"    store(x + {slot} * H, n, {names[node]});")
    for index, gradient in enumerate(traced.state_gradients_in):
        if index or gradient is not None or traced.applied:
            lines.append(f"    store(d_states[{index}] + unit, n, {_value(gradient, names)});")
    return _function(
        "The gradient of one step of W units of one row. x: the slots that the step left,\n"
        "   overwritten by the gradients by the columns and the weight vectors; d_h: the gradient\n"
        "   by the output, d_v by what products were applied to; before, after: the states;\n"
        "   d_states: the gradients by the states, those after the step when it is called, those\n"
        "   before it (but for what goes through the gates) when it returns.",
        "INL void step_backward(const Call *call, float *x, vf d_h, const vf *d_v,\n"
        "                       const float *const *before, const float *const *after,\n"
        "                       float *const *d_states, long unit, long n)",
        lines,
    )


def _gradients(
    traced: Traced,
    names: "_Names",
    plan: _Plan,
    results: Sequence[fx.Node | None],
    finish: bool,
) -> list[str]:
    """Return the statements that compute gradients; the last half of them, or not."""
    wanted = _reached(results, set())
    wanted |= {traced.saved[node] for node in wanted if node in traced.saved}
    again = _reached([node for node in plan.again if node in wanted], set(plan.saved))
    wanted |= again | {argument for node in again for argument in node.all_input_nodes}
    if not finish and wanted & set(traced.applied_gradients):
        raise UntraceableError(
            f"cell {traced.cell.name}: applies a product to what another product gave"
        )
    first, *others = traced.state_gradients_out
    lines = [f"    const vf {names[first]} = d_h;"] if first in wanted else []
    for index, node in enumerate(others, start=1):
        if node in wanted:
            lines.append(f"    const vf {names[node]} = load(d_states[{index}] + unit, n);")
    for index, node in enumerate(traced.applied_gradients):
        if node in wanted:
            lines.append(f"    const vf {names[node]} = d_v[{index}];")
    known = {*traced.state_gradients_out, *traced.applied_gradients}
    lines += _load_states(traced.states_in, names, wanted, "before")
    known |= set(traced.states_in)
    for index, node in enumerate(traced.states_out):
        if node in wanted and node not in known:
            lines.append(f"    const vf {names[node]} = load(after[{index}] + unit, n);")
            known.add(node)
    lines += _load_parameters(traced, names, wanted)
    lines += _load_slots(plan.saved, names, wanted)
    known |= {*traced.parameters, *plan.saved}
    lines += _statements(plan.again, names, known, wanted)
    lines += _statements(traced.backward, names, known, wanted)
    return lines


def _comment(traced: Traced, saved: Sequence[fx.Node], names: _Names) -> str:
    cell = traced.cell
    equations = (cell.equations.__doc__ or "").strip().splitlines()
    kinds = {(True, False): "x", (True, True): "x + u", (False, True): "u"}
    columns = ", ".join(
        f"{column.gate} ({kinds[column.input, column.recurrent]})" for column in traced.columns
    )
    lines = [
        f"Kernel of the cell {cell.name}, written by unrolled.kernels.emit.",
        *(f"  {line.strip()}".rstrip() for line in equations),
        f"States: {', '.join(cell.states)}. Columns: {columns}.",
        f"Kept for the backward pass: {', '.join(names[node] for node in saved) or 'nothing'}.",
    ]
    text = "\n".join(f" * {line}".rstrip() for line in lines)
    text = text.replace("*/", "* /").encode(errors="replace").decode()  # what C and a file can hold
    return f"/*\n{text}\n */"


def _runtime(name: str) -> str:
    return files("unrolled.kernels").joinpath("runtime", name).read_text(encoding="utf-8")
