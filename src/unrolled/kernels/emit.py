"""From a traced cell to one C file that can be read: its equations, between the runtime's parts.

What is written here is one step of one cell on a vector of units, forward and backward. The matrix
products, the loop over time and the threads are in `runtime/`, the same for every cell.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import count

from torch import fx

from unrolled.kernels.expressions import expression, is_costly, is_mask
from unrolled.kernels.trace import PASS_THROUGH, Traced, resolve

__all__ = ["Emitted", "emit"]


# Of the names that a node could have, those that C or the runtime has.
_TAKEN = {"d_h", "d_states", "size_t", "wchar_t", "float_t", "double_t", "off_t", "ptrdiff_t"}
_TAKEN |= {f"{kind}{size}_t" for kind in ("int", "uint") for size in (8, 16, 32, 64, "ptr", "max")}


@dataclass(frozen=True)
class Emitted:
    """A kernel's source, and what its caller must know of it.

    Args:
        source: The C file.
        slots: How many vectors of H a row of the gate buffer has.
    """

    source: str
    slots: int


def emit(traced: Traced) -> Emitted:
    """Return the kernel of a traced cell.

    Raises:
        UntraceableError: the equations use an operation that no kernel has; it is named.
    """
    names = _Names(traced)
    saved, again = _partition(traced)
    num_states, num_parameters = len(traced.states_in), len(traced.parameters)
    num_columns = len(traced.columns)
    slots = max(num_columns + num_parameters, len(saved))
    direct = traced.state_gradients_in[0] is not None
    defines = {
        "INPUT_COLUMNS": sum(column.input for column in traced.columns),
        "FIRST_RECURRENT": next(
            (n for n, column in enumerate(traced.columns) if column.recurrent), num_columns
        ),
        "RECURRENT_COLUMNS": sum(column.recurrent for column in traced.columns),
        "COLUMNS": num_columns,
        "STATES": num_states,
        "DIRECT": int(direct),
    }
    parts = [
        _comment(traced, saved, names),
        *(f"#define {name} {value}" for name, value in defines.items()),
        "",
        _runtime("vector.h"),
        _runtime("tile.h"),
        _runtime("call.h"),
        _forward(traced, names, saved),
        _backward(traced, names, saved, again),
        _runtime("sequence.h"),
        _runtime("gradient.h"),
    ]
    return Emitted("\n".join(parts), slots)


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
        for node in (*traced.forward, *traced.backward, *traced.state_gradients_out):
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
        node = resolve(node)
        return self._names[resolve(self._saved.get(node, node))]


def _partition(traced: Traced) -> tuple[list[fx.Node], list[fx.Node]]:
    """Return which forward values get a slot, and which the backward step computes again.

    The states are kept anyway. Of the rest, what is costly to compute, and the columns, get a
    slot; what follows from those by cheap operations is computed again.
    """
    kept = {*traced.states_in, *traced.states_out, *traced.parameters}
    columns = {column.node for column in traced.columns}
    saved: list[fx.Node] = []
    again: list[fx.Node] = []
    seen: set[fx.Node] = set()

    def need(node: fx.Node) -> None:
        node = resolve(node)
        if node in seen or node in kept:
            return
        seen.add(node)
        if node in columns or is_costly(node):
            saved.append(node)
            return
        for argument in node.all_input_nodes:
            need(argument)
        again.append(node)

    for node in traced.saved.values():
        need(node)
    return saved, again


def _statements(
    nodes: Iterable[fx.Node], names: _Names, known: set[fx.Node], wanted: set[fx.Node]
) -> list[str]:
    """Return a declaration for each of `nodes` that is wanted and not known yet."""
    lines = []
    for node in nodes:
        if node in known or node not in wanted or node.target in PASS_THROUGH:
            continue
        known.add(node)
        kind = "vi" if is_mask(node) else "vf"
        lines.append(f"    const {kind} {names[node]} = {expression(node, names)};")
    return lines


def _needed(results: Iterable[fx.Node | None], stop: set[fx.Node]) -> set[fx.Node]:
    """Return the nodes that `results` are computed from, up to and without `stop`."""
    found: set[fx.Node] = set()
    todo = [resolve(node) for node in results if node is not None]
    while todo:
        node = todo.pop()
        if node not in found and node not in stop:
            found.add(node)
            todo.extend(resolve(argument) for argument in node.all_input_nodes)
    return found


def _forward(traced: Traced, names: _Names, saved: Sequence[fx.Node]) -> str:
    lines = [
        "/* One step of W units of one row, from `unit` on; n: how many of them there are. x: the",
        "   row's gate buffer at these units, its first columns hold the input's part; u: the",
        "   recurrent products; before, after: the rows of the states. */",
        "INL void step_forward(const Call *call, float *x, const vf *u,",
        "                      const float *const *before, float *const *after, long unit, long n,",
        "                      const int train) {",
        "    const long H = call->hidden_size;",
    ]
    products = 0
    for index, column in enumerate(traced.columns):
        terms = []
        if column.input:
            terms.append(f"load(x + {index} * H, n)")
        terms.append(f"load(call->bias + {index} * H + unit, n)")
        if column.recurrent:
            terms.append(f"u[{products}]")
            products += 1
        lines.append(f"    const vf {names[column.node]} = {' + '.join(terms)};")
    if not products:
        lines.append("    (void)u;")
    known = {column.node for column in traced.columns}
    results = [*traced.states_out, *saved]
    wanted = _needed(results, known)
    lines += _load_states(traced, names, wanted | set(results), "before")
    lines += _load_parameters(traced, names, wanted)
    known |= {*traced.states_in, *traced.parameters}
    lines += _statements(traced.forward, names, known, wanted)
    for index, node in enumerate(traced.states_out):
        lines.append(f"    store(after[{index}] + unit, n, {names[node]});")
    if saved:
        lines.append("    if (train) {")
        for slot, node in enumerate(saved):
            lines.append(f"        store(x + {slot} * H, n, {names[node]});")
        lines.append("    }")
    return "\n".join([*lines, "}", ""])


def _load_states(traced: Traced, names: _Names, wanted: set[fx.Node], array: str) -> list[str]:
    return [
        f"    const vf {names[node]} = load({array}[{index}] + unit, n);"
        for index, node in enumerate(traced.states_in)
        if node in wanted
    ]


def _load_parameters(traced: Traced, names: _Names, wanted: set[fx.Node]) -> list[str]:
    return [
        f"    const vf {names[node]} = load(call->parameters + {index} * H + unit, n);"
        for index, node in enumerate(traced.parameters)
        if node in wanted
    ]


def _backward(
    traced: Traced, names: _Names, saved: Sequence[fx.Node], again: Sequence[fx.Node]
) -> str:
    lines = [
        "/* The gradient of one step of W units of one row. x: the slots that step_forward left,",
        "   overwritten by the gradients by the columns and the parameters; d_h: the gradient by",
        "   the output; before, after: the states; d_states: the gradients by the states, those",
        "   after the step when it is called, those before it (but for what goes through the",
        "   gates) when it returns. */",
        "INL void step_backward(const Call *call, float *x, vf d_h, const float *const *before,",
        "                       const float *const *after, float *const *d_states, long unit,",
        "                       long n) {",
        "    const long H = call->hidden_size;",
    ]
    results = [
        *traced.column_gradients,
        *traced.parameter_gradients,
        *traced.state_gradients_in,
    ]
    forward_values = {resolve(node) for node in traced.saved.values()}
    wanted = _needed(results, set()) | forward_values
    wanted |= _needed(again, set(saved))
    first, *others = traced.state_gradients_out
    lines.append(f"    const vf {names[first]} = d_h;")
    for index, node in enumerate(others, start=1):
        lines.append(f"    const vf {names[node]} = load(d_states[{index}] + unit, n);")
    known = {*traced.state_gradients_out}
    lines += _load_states(traced, names, wanted, "before")
    known |= set(traced.states_in)
    for index, node in enumerate(traced.states_out):
        if node in forward_values and node not in known:
            lines.append(f"    const vf {names[node]} = load(after[{index}] + unit, n);")
            known.add(node)
    lines += _load_parameters(traced, names, wanted)
    known |= set(traced.parameters)
    for slot, node in enumerate(saved):
        lines.append(f"    const vf {names[node]} = load(x + {slot} * H, n);")
        known.add(node)
    lines += _statements(again, names, known, wanted)
    lines += _statements(traced.backward, names, known, wanted)

    def gradient(node: fx.Node | None) -> str:
        return "splat(0.0f)" if node is None else names[node]

    columns_and_parameters = [*traced.column_gradients, *traced.parameter_gradients]
    for slot, result in enumerate(columns_and_parameters):
        lines.append(f"    store(x + {slot} * H, n, {gradient(result)});")
    for index, result in enumerate(traced.state_gradients_in):
        if index or result is not None:
            lines.append(f"    store(d_states[{index}] + unit, n, {gradient(result)});")
    return "\n".join([*lines, "}", ""])


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
