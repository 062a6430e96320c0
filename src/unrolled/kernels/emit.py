"""From a traced cell to one C file that can be read: its equations, between the runtime's parts.

What is written here is one step of one cell on a vector of units, forward and backward. The matrix
products, the loop over time and the threads are in `runtime/`, the same for every cell.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import torch
from torch import fx

from unrolled.kernels.trace import PASS_THROUGH, Traced, UntraceableError, resolve

__all__ = ["Emitted", "emit"]

_ATEN = torch.ops.aten

_COSTLY = {
    _ATEN.sigmoid.default: "vsigmoid({})",
    _ATEN.tanh.default: "vtanh({})",
    _ATEN.exp.default: "vexp({})",
    _ATEN.expm1.default: "vexpm1({})",
    _ATEN.log.default: "vlog({})",
    _ATEN.log1p.default: "vlog1p({})",
    _ATEN.sqrt.default: "vsqrt({})",
    _ATEN.rsqrt.default: "(1.0f / vsqrt({}))",
    _ATEN.reciprocal.default: "(1.0f / {})",
    _ATEN.sin.default: "vsin({})",
    _ATEN.cos.default: "vcos({})",
    _ATEN.erf.default: "verf({})",
    _ATEN.div.Tensor: "({} / {})",
    _ATEN.div.Scalar: "({} / {})",
}
_CHEAP = {
    _ATEN.mul.Tensor: "({} * {})",
    _ATEN.mul.Scalar: "({} * {})",
    _ATEN.neg.default: "(-{})",
    _ATEN.abs.default: "vabs({})",
    _ATEN.sign.default: "vsign({})",
    _ATEN.relu.default: "vmax({}, splat(0.0f))",
    _ATEN.maximum.default: "vmax({}, {})",
    _ATEN.minimum.default: "vmin({}, {})",
    _ATEN.where.self: "select({}, {}, {})",
    _ATEN.hardtanh.default: "vmin(vmax({}, {}), {})",
}
_MASKS = {
    _ATEN.gt.Tensor: "({} > {})",
    _ATEN.gt.Scalar: "({} > {})",
    _ATEN.ge.Tensor: "({} >= {})",
    _ATEN.ge.Scalar: "({} >= {})",
    _ATEN.lt.Tensor: "({} < {})",
    _ATEN.lt.Scalar: "({} < {})",
    _ATEN.le.Tensor: "({} <= {})",
    _ATEN.le.Scalar: "({} <= {})",
    _ATEN.eq.Tensor: "({} == {})",
    _ATEN.eq.Scalar: "({} == {})",
    _ATEN.ne.Tensor: "({} != {})",
    _ATEN.ne.Scalar: "({} != {})",
    _ATEN.logical_and.default: "({} & {})",
    _ATEN.logical_or.default: "({} | {})",
    _ATEN.logical_not.default: "(~{})",
    _ATEN.bitwise_and.Tensor: "({} & {})",
    _ATEN.bitwise_or.Tensor: "({} | {})",
    _ATEN.bitwise_not.default: "(~{})",
}
_TAKE_MASKS = {target for target in _MASKS if "logical" in str(target) or "bitwise" in str(target)}
_TAKE_MASKS.add(_ATEN.where.self)
_ADDITIONS = (_ATEN.add.Tensor, _ATEN.add.Scalar, _ATEN.sub.Tensor, _ATEN.sub.Scalar)
_CONSTANTS = (_ATEN.scalar_tensor.default, _ATEN.full.default, _ATEN.full_like.default)
_POWERS = (_ATEN.pow.Tensor_Scalar, _ATEN.pow.Tensor_Tensor)


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
    """What each node is called in C: f_t for the equations' f, c_prev for the state before."""

    def __init__(self, traced: Traced) -> None:
        self._names: dict[fx.Node, str] = {}
        for name, node in zip(traced.cell.states, traced.states_in, strict=True):
            self._names[node] = f"{name}_prev"
        for name, node in zip(traced.cell.parameters, traced.parameters, strict=True):
            self._names[node] = f"{name}_w"
        for column in traced.columns:
            part = "" if column.input and column.recurrent else ("x_", "u_")[column.recurrent]
            self._names[column.node] = f"a_{part}{column.gate}"
        for name, node in traced.named.items():
            self._names.setdefault(node, f"{name}_t")
        for node in (*traced.forward, *traced.backward, *traced.state_gradients_out):
            prefix = "v_" if node.graph is traced.states_in[0].graph else "d_"
            self._names.setdefault(node, f"{prefix}{node.name}")
        self._saved = traced.saved

    def __getitem__(self, node: fx.Node) -> str:
        node = resolve(node)
        name = self._names.get(resolve(self._saved.get(node, node)))
        if name is None:
            raise UntraceableError(f"no kernel has {node.name}, a tensor from outside the cell")
        return name


def _expression(node: fx.Node, names: _Names) -> str:
    """Return the C expression of one operation."""
    target: Any = node.target
    arguments: list[Any] = list(node.args)

    def value(argument: Any) -> str:
        if not isinstance(argument, fx.Node):
            return f"splat({_number(argument)})"
        if _is_mask(argument) and target not in _TAKE_MASKS:
            return f"select({names[argument]}, splat(1.0f), splat(0.0f))"
        return names[argument]

    if target in _CONSTANTS:
        constant = arguments[0] if target is _ATEN.scalar_tensor.default else arguments[1]
        return value(constant)
    if target is _ATEN._to_copy.default and node.kwargs.get("dtype") is torch.float32:
        return value(arguments[0])
    if target in _ADDITIONS:
        sign = "+" if "add" in str(target) else "-"
        factor = node.kwargs.get("alpha", 1)
        right = value(arguments[1])
        right = right if factor == 1 else f"({value(factor)} * {right})"
        return f"({value(arguments[0])} {sign} {right})"
    if target is _ATEN.rsub.Scalar:
        return f"({value(arguments[1])} - {value(arguments[0])})"
    if target is _ATEN.clamp.default:
        return _clamp(value, *arguments)
    if target is _ATEN.elu.default:
        return _elu(value, *arguments)
    if target is _ATEN.gelu.default and not node.kwargs:
        x = value(arguments[0])
        return f"(splat(0.5f) * {x} * (splat(1.0f) + verf(splat(0.70710678f) * {x})))"
    if target in _POWERS:
        return _power(value, *arguments)
    form = _COSTLY.get(target) or _CHEAP.get(target) or _MASKS.get(target)
    if form is None:
        raise UntraceableError(f"no kernel has the operation {target}")
    text: str = form.format(*(value(argument) for argument in arguments))
    return text


def _number(value: float) -> str:
    """Return a float literal of C."""
    text = repr(float(value))
    special = {"inf": "INFINITY", "-inf": "(-INFINITY)", "nan": "NAN"}
    return special.get(text, f"{text}f")


def _clamp(value: Callable[[Any], str], x: Any, low: Any = None, high: Any = None) -> str:
    text = value(x)
    if low is not None:
        text = f"vmax({text}, {value(low)})"
    return text if high is None else f"vmin({text}, {value(high)})"


def _elu(
    value: Callable[[Any], str],
    x: Any,
    alpha: float = 1,
    scale: float = 1,
    input_scale: float = 1,
) -> str:
    below = f"({value(alpha * scale)} * vexpm1({value(x)} * {value(input_scale)}))"
    return f"select({value(x)} > splat(0.0f), {value(x)} * {value(scale)}, {below})"


def _power(value: Callable[[Any], str], base: Any, exponent: Any) -> str:
    x = value(base)
    if isinstance(exponent, fx.Node) or float(exponent) not in (2.0, 3.0, 0.5, 1.0, -1.0):
        return f"vpow({x}, {value(exponent)})"
    forms = {2.0: "({0} * {0})", 3.0: "({0} * {0} * {0})", 0.5: "vsqrt({0})", 1.0: "{0}"}
    return forms.get(float(exponent), "(1.0f / {0})").format(x)


def _is_mask(node: fx.Node) -> bool:
    return resolve(node).target in _MASKS


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
        if node in columns or node.target in _COSTLY or node.target in _POWERS:
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
        kind = "vi" if _is_mask(node) else "vf"
        lines.append(f"    const {kind} {names[node]} = {_expression(node, names)};")
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
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"]).replace(
        "*//", "* //"
    )


def _runtime(name: str) -> str:
    return files("unrolled.kernels").joinpath("runtime", name).read_text(encoding="utf-8")
