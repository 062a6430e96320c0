"""One step of a cell in plain C, for files that need no kernel: the same expressions, unit by unit.

Not for products, loops over time or gradients: products are the caller's, who calls `NAME_units`
once they are done. Where the equations compute what is multiplied, `NAME_apply` comes before, then
`NAME_apply2` and so on where that needs what products gave.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import fx

from unrolled.cells import Cell
from unrolled.kernels.capturing import CapturedStep, capture
from unrolled.kernels.emitting.gate_row import gate_row_of
from unrolled.kernels.emitting.headers import header_text
from unrolled.kernels.emitting.names import NodeNames
from unrolled.kernels.emitting.row_loops import RowLoops, Words
from unrolled.kernels.emitting.step_functions import without_unused

__all__ = [
    "PlainStep",
    "PlainTrace",
    "calls_library",
    "only_needed",
    "plain_functions",
    "plain_step",
    "plain_trace",
]

_MATHEMATICS = re.compile(r"\bv(\w+)\(")
_OWN = {"exp", "sigmoid", "tanh", "min", "max", "abs", "sign"}
_DEFINED = re.compile(r"^(?:INL|static) .*?(\w+)\(|^#define (\w+)", re.MULTILINE)
_ROUNDING = {"round": "rintf"}  # what C calls otherwise
_ARGUMENTS = ("x", "u", "bias", "vectors", "state")  # of every function
_WORDS = Words(
    loop=("    for (int32_t n = 0; n < units; n++) {",),
    load="({})[n]",
    store="({0})[n] = {1};",
    size="units",
    slot="x + {} * units",
    temporary="x + {} * units",
    number="x[{0} * units] = {1};",
    begin="Lanes {over} = lanes({first});",
    reduced={
        "sum": ("0.0f", "LANE({over}, n) += {value};", "lanes_total({over})"),
        "amax": (
            "-INFINITY",
            "LANE({over}, n) = vmax(LANE({over}, n), {value});",
            "lanes_greatest({over})",
        ),
        "amin": (
            "INFINITY",
            "LANE({over}, n) = vmin(LANE({over}, n), {value});",
            "lanes_least({over})",
        ),
    },
)


@dataclass(frozen=True)
class PlainStep:
    """One step of a cell in plain C.

    Args:
        text: Its functions. Of what else the equations read of a step, `given` has those inputs
            that a layer's caller gives, one after the other, `raw` is x_t.
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
        needs_libm: Whether it needs C's library, its functions or its infinity.
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
        num_vectors: How many vectors each writes, at least those: others are its own.
    """

    text: str
    phases: tuple[tuple[str, ...], ...]
    num_vectors: tuple[int, ...]


def calls_library(text: str) -> bool:
    """Return whether a text of C calls functions of C's library, beside constants of it."""
    return bool(set(_MATHEMATICS.findall(text)) - _OWN)


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


def plain_trace(cell: Cell, function: str) -> PlainTrace:
    """Return what traces the step that `plain_step` writes under the same name.

    Raises:
        EquationsError: No C can do what the equations hold, which is named.
    """
    return _Writer(capture(cell), function).trace()


class _Writer:
    def __init__(self, step: CapturedStep, function: str) -> None:
        self._step, self._function = step, function
        self._names, self._row = NodeNames(step), gate_row_of(step)
        self._last = max(self._row.phases.values(), default=0)  # phase of the step
        slots = sum(column.input for column in step.columns)
        self._first_number = self._row.slots if self._last else slots
        self._first_temporary = self._first_number + (len(self._row.numbers) if self._last else 0)
        self._num_temporary = 0

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
            self._first_temporary + self._num_temporary,
            bool(step.states_in[0].users),
            calls_library(text) or "INFINITY" in text or "NAN" in text,
            cell,
        )

    def _apply(self, phase: int) -> str:
        """Return what computes the vectors of a phase that products are applied to.

        And what later phases need of it.
        """
        results = [
            (f"v[{index} * units + n] = {{}};", node)
            for index, node in enumerate(self._step.applied)
            if self._phase(node) == phase
        ]
        return self._written(f"apply{phase + 1 if phase else ''}", phase, results)

    def trace(self) -> PlainTrace:
        """Return what writes down the named values, phase by phase."""
        texts, phases, num_vectors = [], [], []
        for phase in range(self._last + 1):
            named = {n: v for n, v in self._step.named.items() if self._phase(v) == phase}
            results = [
                (f"v[{index} * units + n] = {{}};", v) for index, v in enumerate(named.values())
            ]
            more = "" if phase == self._last else f"_apply{phase + 1 if phase else ''}"
            loops = self._loops(phase, f"v + ({len(named)} + {{}}) * units")
            lines = without_unused(loops.write(results)) if results else []
            texts.append(self._text(f"trace{more}", lines, changes_x=False))
            phases.append(tuple(named))
            num_vectors.append(len(named) + loops.num_temporary)
        return PlainTrace("\n".join(texts), tuple(phases), tuple(num_vectors))

    def _units(self) -> str:
        results = [
            (f"state[{index} * units + n] = {{}};", node)
            for index, node in enumerate(self._step.states_out)
        ]
        return self._written("units", self._last, results)

    def _written(self, name: str, phase: int, results: list[tuple[str, fx.Node]]) -> str:
        """Return the function of a phase, which leaves what later ones need in x."""
        row, is_last = self._row, phase == self._last
        carried = {n: slot for n, slot in row.carried.items() if self._phase(n) == phase}
        loads = self._loads(phase)
        results = results + [
            (f"x[{slot} * units + n] = {{}};", n) for n, slot in carried.items() if n in loads
        ]
        kept = {n: slot for n, slot in carried.items() if n not in loads}
        numbers = self._numbers.items()
        kept_numbers = {n: slot for n, slot in numbers if self._phase(n) == phase}
        loops = self._loops(phase, f"x + ({self._first_temporary} + {{}}) * units")
        loops.keep, loops.keep_numbers = kept, {} if is_last else kept_numbers
        lines = without_unused(loops.write(results))
        self._num_temporary = max(self._num_temporary, loops.num_temporary)
        return self._text(name, lines, changes_x=not is_last or bool(loops.num_temporary))

    @property
    def _numbers(self) -> dict[fx.Node, int]:
        return {n: self._first_number + k for n, k in self._row.numbers.items()}

    def _loads(self, phase: int) -> dict[fx.Node, str]:
        return self._columns(phase) | self._given() | self._carried(phase)

    def _loops(self, phase: int, temporary: str) -> RowLoops:
        step, row = self._step, self._row
        known = {n: slot for n, slot in self._numbers.items() if self._phase(n) < phase}
        return RowLoops(
            self._names,
            step.forward,
            self._loads(phase),
            {n: f"x[{slot} * units]" for n, slot in known.items()},
            words=replace(_WORDS, temporary=temporary),
            # of what a kernel writes down more is made than sums
            barred={*row.saved, *row.carried, *row.numbers, *step.states_out, *step.applied},
            recorded={*step.named.values()} if phase == self._last else set(),
        )

    def _phase(self, node: fx.Node) -> int:
        return self._row.phases.get(node, 0)

    def _columns(self, phase: int) -> dict[fx.Node, str]:
        loads, product = {}, 0
        for index, column in enumerate(self._step.columns):
            if column.phase != phase:
                continue
            terms = [f"x[{index} * units + n]"] if column.input else []
            terms.append(f"bias[{index} * units + n]")
            if column.recurrent:
                terms.append(f"u[{product} * units + n]")
                product += 1
            loads[column.node] = " + ".join(terms)
        return loads

    def _carried(self, phase: int) -> dict[fx.Node, str]:
        """Return what phases before this one left."""
        carried = self._row.carried.items()
        return {n: f"x[{slot} * units + n]" for n, slot in carried if self._phase(n) < phase}

    def _given(self) -> dict[fx.Node, str]:
        step, num = self._step, len(self._step.cell.inputs)
        arrays = {
            "state": step.states_in,
            "vectors": step.parameters,
            "given": step.step_inputs[:num],
            "raw": step.step_inputs[num:],
        }
        return {
            node: f"{array}[{index} * units + n]"
            for array, nodes in arrays.items()
            for index, node in enumerate(nodes)
        }

    def _text(self, name: str, lines: list[str], *, changes_x: bool) -> str:
        # kernels indent by four spaces, plain C by two
        body = "\n".join(re.sub(r"^( +)\1", r"\1", line) for line in lines)
        changed = {"state"} if name == "units" else {"v"}
        changed |= {"x"} if changes_x else set()
        names = [*_ARGUMENTS]
        names += ["given", "raw"] if self._step.step_inputs else []
        names += [] if name == "units" else ["v"]
        arguments = [
            f"{'' if each in changed else 'const '}float *restrict {each}" for each in names
        ]
        unused = [each for each in names if not re.search(rf"\b{each}\b", body)]
        quiet = "".join(f"  (void){each};\n" for each in unused)
        some, others = ", ".join(arguments[:3]), ", ".join(arguments[3:])
        head = f"static void {self._function}_{name}(int32_t units, {some},\n    {others}) {{"
        return f"{head}\n{quiet}{body}\n}}\n"
