"""One step of a cell in plain C, for files that need no kernel: the same expressions, unit by unit.

Not for products, loops over time or gradients: products are the caller's, who calls `NAME_units`
once they are done. Where the equations compute what is multiplied, `NAME_apply` comes before, then
`NAME_apply2` and so on where that needs what products gave.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import fx

from unrolled.cells import Cell
from unrolled.kernels.capturing import CapturedStep, EquationsError, capture
from unrolled.kernels.emitting.expressions import as_floats, expression, is_mask, operand
from unrolled.kernels.emitting.gate_row import gate_row_of, reached
from unrolled.kernels.emitting.headers import header_text
from unrolled.kernels.emitting.names import NodeNames
from unrolled.kernels.emitting.step_functions import without_unused

__all__ = ["PlainStep", "PlainTrace", "only_needed", "plain_functions", "plain_step", "plain_trace"]

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
        applied_gates: The same of those that multiply what `NAME_apply` computes, then of those of
            `NAME_apply2`, and so on.
        recurrent_at: The column that `u` is of, the first one.
        applied_at: The same of the applied ones.
        num_columns: How many columns there are, all of which have a bias.
        num_slots: How many of the size of a column `x` must have room for.
        reads_h: Whether the equations read h itself, and not only its products.
        needs_libm: Whether it calls functions of C's library.
        cell: Whose step it is.
    """

    text: str
    function: str
    input_gates: tuple[int, ...]
    recurrent_gates: tuple[int, ...]
    applied_gates: tuple[tuple[int, ...], ...]
    recurrent_at: int
    applied_at: int
    num_columns: int
    num_slots: int
    reads_h: bool
    needs_libm: bool
    cell: Cell = field(compare=False)


@dataclass(frozen=True)
class PlainTrace:
    """What writes down the named values of a step, and changes nothing.

    Args:
        text: A function for each call of the step: NAME_trace before NAME_units, `NAME_trace_apply`
            before `NAME_apply`, and so on. Each has that one's arguments, and then where to write.
        phases: The names of what each writes, one vector after the other, in order of the calls.
    """

    text: str
    phases: tuple[tuple[str, ...], ...]


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
    if cell.step_inputs:
        names = ", ".join(cell.step_inputs)
        problem = f"reads {names} at every step beside its gates, which plain C does not yet"
        raise EquationsError(f"cell {cell.name}: {problem}")
    step = capture(cell)
    if step.reduces:
        problem = "sums over the units of a row have kernels, but no plain C yet"
        raise EquationsError(f"cell {cell.name}: {problem}")
    return _Writer(step, function).step()


def plain_trace(cell: Cell, function: str) -> PlainTrace:
    """Return what traces the step that `plain_step` writes under the same name.

    Values that are not numbers of each unit are left out.

    Raises:
        EquationsError: No C can do what the equations hold, which is named.
    """
    plain_step(cell, function)  # for what it refuses
    return _Writer(capture(cell), function).trace()


class _Writer:
    def __init__(self, step: CapturedStep, function: str) -> None:
        self._step, self._function = step, function
        self._names, self._row = NodeNames(step), gate_row_of(step)
        self._fused = _fused(step, {*self._row.saved, *self._row.carried})
        self._last = max(self._row.phases.values(), default=0)  # phase of the step

    def step(self) -> PlainStep:
        step, cell = self._step, self._step.cell
        text = "\n".join([*map(self._apply, range(self._last)), self._units()])
        direct = [(n, c) for n, c in enumerate(step.columns) if c.recurrent and not c.applied]
        applied = [(n, c) for n, c in enumerate(step.columns) if c.applied]
        return PlainStep(
            text,
            self._function,
            tuple(cell.feedforward.index(c.gate) for c in step.columns if c.input),
            tuple(cell.recurrent.index(c.gate) for _, c in direct),
            tuple(
                tuple(cell.recurrent.index(c.gate) for _, c in applied if c.phase == phase + 1)
                for phase in range(self._last)
            ),
            direct[0][0] if direct else 0,
            applied[0][0] if applied else 0,
            len(step.columns),
            self._row.slots if applied else sum(c.input for c in step.columns),
            bool(step.states_in[0].users),
            bool(set(_MATHEMATICS.findall(text)) - _OWN) or "INFINITY" in text or "NAN" in text,
            cell,
        )

    def _apply(self, phase: int) -> str:
        """Return what computes the vectors of a phase that products are applied to.

        And what later phases need of it.
        """
        step, names = self._step, self._names
        vectors = [(n, node) for n, node in enumerate(step.applied) if self._phase(node) == phase]
        carried = {n: slot for n, slot in self._row.carried.items() if self._phase(n) == phase}
        lines = self._known_at(phase, [*(node for _, node in vectors), *carried])
        lines += [f"v[{index} * units + n] = {names[node]};" for index, node in vectors]
        lines += [f"x[{slot} * units + n] = {names[node]};" for node, slot in carried.items()]
        name = f"apply{phase + 1}" if phase else "apply"
        return self._text(name, "float *restrict x, ", ", float *restrict v", lines, False)

    def trace(self) -> PlainTrace:
        """Return what writes down the named values, phase by phase."""
        texts, phases = [], []
        for phase in range(self._last + 1):
            named = {n: v for n, v in self._step.named.items() if self._phase(v) == phase}
            lines = self._known_at(phase, list(named.values()))
            for index, node in enumerate(named.values()):
                lines.append(f"v[{index} * units + n] = {as_floats(node, self._names)};")
            more = "" if phase == self._last else f"_apply{phase + 1 if phase else ''}"
            x, v = "const float *restrict x, ", ", float *restrict v"
            texts.append(self._text(f"trace{more}", x, v, lines, False))
            phases.append(tuple(named))
        return PlainTrace("\n".join(texts), tuple(phases))

    def _units(self) -> str:
        step, names = self._step, self._names
        lines = self._known_at(self._last, step.states_out)
        for index, node in enumerate(step.states_out):
            lines.append(f"state[{index} * units + n] = {as_floats(node, names)};")
        return self._text("units", "const float *restrict x, ", "", lines, True)

    def _known_at(self, phase: int, results: Sequence[fx.Node]) -> list[str]:
        """Return the statements of a phase up to `results`."""
        step, names = self._step, self._names
        carried = {n: slot for n, slot in self._row.carried.items() if self._phase(n) < phase}
        known = {c.node for c in step.columns if c.phase == phase} | carried.keys()
        wanted = reached(results, known)
        lines = self._columns(phase)
        lines += [
            f"const vf {names[node]} = x[{slot} * units + n];" for node, slot in carried.items()
        ]
        lines += self._given(wanted)
        return lines + self._statements({*known, *step.states_in, *step.parameters}, wanted)

    def _phase(self, node: fx.Node) -> int:
        return self._row.phases.get(node, 0)

    def _columns(self, phase: int) -> list[str]:
        lines, product = [], 0
        for index, column in enumerate(self._step.columns):
            if column.phase != phase:
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
