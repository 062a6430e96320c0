"""One step of a cell in plain C, for files that need no kernel: the same expressions, unit by unit.

Not for products, loops over time or gradients: products are the caller's, who calls `NAME_units`
once they are done, and between them `NAME_apply` where the equations compute what they multiply.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx

from unrolled.cells import Cell
from unrolled.kernels.capturing import CapturedStep, capture
from unrolled.kernels.emitting.expressions import as_floats, expression, is_mask, operand
from unrolled.kernels.emitting.gate_row import gate_row_of, reached
from unrolled.kernels.emitting.headers import header_text
from unrolled.kernels.emitting.names import NodeNames
from unrolled.kernels.emitting.step_functions import without_unused

__all__ = ["PlainStep", "only_needed", "plain_functions", "plain_step"]

_MATHEMATICS = re.compile(r"\bv(\w+)\(")
_ATEN = torch.ops.aten
_PRODUCTS = {_ATEN.mul.Tensor, _ATEN.mul.Scalar}
_DIFFERENCES = {_ATEN.sub.Tensor, _ATEN.sub.Scalar}
_SUMS = {_ATEN.add.Tensor, _ATEN.add.Scalar, *_DIFFERENCES}
_OWN = {"exp", "sigmoid", "tanh", "min", "max", "abs", "sign"}
_DEFINED = re.compile(r"^(?:INL|static) .*?(\w+)\(|^#define (\w+)", re.MULTILINE)
_ROUNDING = {"round": "rintf"}  # what C calls otherwise


@dataclass(frozen=True)
class PlainStep:
    """One step of a cell in plain C.

    Args:
        text: Its functions.
        function: How their names begin.
        input_gates: Of which gates, by their numbers, rows of the input weights make the columns
            that `x` begins with.
        recurrent_gates: The same of the recurrent weights, for `u`.
        applied_gates: The same of those that multiply what `NAME_apply` computes.
        recurrent_at: The column that `u` is of, the first one.
        applied_at: The same of the applied ones.
        num_columns: How many columns there are, all of which have a bias.
        num_slots: How many of the size of a column `x` must have room for.
        reads_h: Whether the equations read h itself, and not only its products.
        needs_libm: Whether it calls functions of C's library.
    """

    text: str
    function: str
    input_gates: tuple[int, ...]
    recurrent_gates: tuple[int, ...]
    applied_gates: tuple[int, ...]
    recurrent_at: int
    applied_at: int
    num_columns: int
    num_slots: int
    reads_h: bool
    needs_libm: bool


def plain_functions(text: str) -> str:
    """Return what a text of C needs of plain.h, and of our own exp, sigmoid and tanh."""
    vector = header_text("vector")
    parts = [
        Path(__file__).with_name("plain.h").read_text(encoding="utf-8"),
        _between(vector, "/* x + ROUND(bias)", "/* 2^k where"),
        _between(vector, "/* e^x = 2^k p(r)", "/* ---- Rare functions"),
    ]
    for name in sorted(set(_MATHEMATICS.findall(text)) - _OWN):
        scalar = _ROUNDING.get(name, f"{name}f")
        two = re.search(rf"VMAP2\(v{name},", vector)
        given, passed = ("vf x, vf y", "x, y") if two else ("vf x", "x")
        parts.append(f"INL vf v{name}({given}) {{ return {scalar}({passed}); }}")
    return only_needed("\n\n".join(parts), text)


def only_needed(library: str, text: str) -> str:
    """Return those paragraphs of C that `text` needs, or one that it needs, in order.

    A paragraph that defines neither functions nor macros by names is always needed.
    """
    paragraphs = [each.strip("\n") for each in re.split(r"\n{2,}", library) if each.strip()]
    defined = [
        {function or macro for function, macro in _DEFINED.findall(each)} for each in paragraphs
    ]
    needed = [not names for names in defined]
    words = _words(text)
    for each, is_needed in zip(paragraphs, needed, strict=True):
        words |= _words(each) if is_needed else set()
    found = True
    while found:
        found = False
        for number, names in enumerate(defined):
            if not needed[number] and names & words:
                needed[number] = found = True
                words |= _words(paragraphs[number])
    kept = (each for each, is_needed in zip(paragraphs, needed, strict=True) if is_needed)
    return "\n\n".join(kept) + "\n"


def _words(text: str) -> set[str]:
    """Return the words of C, without those of comments."""
    return set(re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)))


def _between(text: str, begin: str, end: str) -> str:
    start, stop = text.index(begin), text.index(end)
    assert start < stop
    return text[start:stop]


def plain_step(cell: Cell, function: str) -> PlainStep:
    """Return the step of a cell as C functions whose names begin with `function`.

    Each takes `units`, how many there are, first. `NAME_units` changes the states in place.

    Raises:
        EquationsError: No C can do what the equations hold, which is named.
    """
    return _Writer(capture(cell), function).step()


class _Writer:
    def __init__(self, step: CapturedStep, function: str) -> None:
        self._step, self._function = step, function
        self._names, self._row = NodeNames(step), gate_row_of(step)
        self._fused = _fused(step, {*self._row.saved, *self._row.carried})

    def step(self) -> PlainStep:
        step, cell = self._step, self._step.cell
        functions = [self._apply()] if step.applied else []
        text = "\n".join([*functions, self._units()])
        direct = [(n, c) for n, c in enumerate(step.columns) if c.recurrent and not c.applied]
        applied = [(n, c) for n, c in enumerate(step.columns) if c.applied]
        return PlainStep(
            text,
            self._function,
            tuple(cell.gates.index(c.gate) for c in step.columns if c.input),
            tuple(cell.recurrent.index(c.gate) for _, c in direct),
            tuple(cell.recurrent.index(c.gate) for _, c in applied),
            direct[0][0] if direct else 0,
            applied[0][0] if applied else 0,
            len(step.columns),
            self._row.slots if applied else sum(c.input for c in step.columns),
            bool(step.states_in[0].users),
            bool(set(_MATHEMATICS.findall(text)) - _OWN) or "INFINITY" in text or "NAN" in text,
        )

    def _apply(self) -> str:
        """Return what computes the vectors that products are applied to, and what follows needs."""
        step, names, row = self._step, self._names, self._row
        carried = {n: slot for n, slot in row.carried.items() if n not in row.late}
        known = {column.node for column in step.columns if not column.applied}
        wanted = reached([*step.applied, *carried], known)
        lines = [*self._columns(applied=False), *self._given(wanted)]
        lines += self._statements({*known, *step.states_in, *step.parameters}, wanted)
        for index, node in enumerate(step.applied):
            lines.append(f"v[{index} * units + n] = {names[node]};")
        lines += [f"x[{slot} * units + n] = {names[node]};" for node, slot in carried.items()]
        return self._text("apply", "float *restrict x, ", ", float *restrict v", lines, False)

    def _units(self) -> str:
        step, names, row = self._step, self._names, self._row
        halved = bool(step.applied)
        known = {column.node for column in step.columns if column.applied == halved}
        known |= set(row.carried) if halved else set()
        wanted = reached(step.states_out, known)
        lines = self._columns(applied=halved)
        carried = row.carried.items() if halved else ()
        lines += [f"const vf {names[node]} = x[{slot} * units + n];" for node, slot in carried]
        lines += self._given(wanted)
        lines += self._statements({*known, *step.states_in, *step.parameters}, wanted)
        for index, node in enumerate(step.states_out):
            lines.append(f"state[{index} * units + n] = {as_floats(node, names)};")
        return self._text("units", "const float *restrict x, ", "", lines, True)

    def _columns(self, *, applied: bool) -> list[str]:
        lines, product = [], 0
        for index, column in enumerate(self._step.columns):
            if column.applied != applied:
                continue
            terms = [f"x[{index} * units + n]"] if column.input else []
            terms.append(f"bias[{index} * units + n]")
            if column.recurrent:
                terms.append(f"u[{product} * units + n]")
                product += 1
            lines.append(f"const vf {self._names[column.node]} = {' + '.join(terms)};")
        return lines

    def _given(self, wanted: set[fx.Node]) -> list[str]:
        arrays = (("state", self._step.states_in), ("vectors", self._step.parameters))
        return [
            f"const vf {self._names[node]} = {array}[{index} * units + n];"
            for array, nodes in arrays
            for index, node in enumerate(nodes)
            if node in wanted
        ]

    def _statements(self, known: set[fx.Node], wanted: set[fx.Node]) -> list[str]:
        names = self._names
        return [
            f"const {'vi' if is_mask(node) else 'vf'} {names[node]} = {self._expression(node)};"
            for node in self._step.forward
            if node in wanted and node not in known
        ]

    def _expression(self, node: fx.Node) -> str:
        names, product = self._names, self._fused.get(node)
        if product is None:
            return expression(node, names)
        left, right = node.args
        a, b = _factors(product, names)
        minus = node.target in _DIFFERENCES
        if left is product:
            other = operand(right, names)
            return f"MULTIPLY_ADD({a}, {b}, {f'-{other}' if minus else other})"
        return f"MULTIPLY_ADD({f'-{a}' if minus else a}, {b}, {operand(left, names)})"

    def _text(self, name: str, x: str, more: str, lines: list[str], changes: bool) -> str:
        lines = without_unused(lines)
        body = "\n".join(f"    {line}" for line in lines)
        state = "float *restrict state" if changes else "const float *restrict state"
        unused = [
            each
            for each in ("x", "bias", "u", "vectors", "state")
            if not re.search(rf"\b{each}\[", body)
        ]
        quiet = "".join(f"  (void){each};\n" for each in unused)
        arguments = f"{x}const float *restrict u, const float *restrict bias,"
        return (
            f"static void {self._function}_{name}(int32_t units, {arguments}\n"
            f"    const float *restrict vectors, {state}{more}) {{\n"
            f"{quiet}  for (int32_t n = 0; n < units; n++) {{\n{body}\n  }}\n}}\n"
        )


def _fused(step: CapturedStep, stored: set[fx.Node]) -> dict[fx.Node, fx.Node]:
    """Return the sums that are one with a product, as gcc makes them of a kernel.

    A product is, in order, of which nothing but sums are made that are not one with another.

    Args:
        step: The step.
        stored: What a kernel writes down, beside states and what has a name.
    """
    stored = stored | set(step.states_out) | set(step.applied) | set(step.named.values())
    fused: dict[fx.Node, fx.Node] = {}
    for node in step.forward:
        if not _is_product(node) or node in stored:
            continue
        uses = [each for each in node.users if each in step.forward]
        if uses and all(_is_sum(each, node) and each not in fused for each in uses):
            fused |= dict.fromkeys(uses, node)
    return fused


def _is_product(node: fx.Node) -> bool:
    power = node.target is _ATEN.pow.Tensor_Scalar and node.args[1] in (2, 3)
    return power or (node.target in _PRODUCTS and not is_mask(node))


def _factors(product: fx.Node, names: NodeNames) -> tuple[str, str]:
    left, right = product.args
    a = operand(left, names)
    if product.target in _PRODUCTS:
        return a, operand(right, names)
    return (a if right == 2 else f"({a} * {a})"), a


def _is_sum(node: fx.Node, product: fx.Node) -> bool:
    """Whether `node` is a product and something else, added or subtracted."""
    if node.target not in _SUMS or node.kwargs or len(node.args) != 2 or is_mask(node):
        return False
    return node.args.count(product) == 1
