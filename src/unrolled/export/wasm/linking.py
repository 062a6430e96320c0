"""From the calls that a model is made of in C to numbers that a module runs, and the memory of it.

The same calls in the same order as in the C of `unrolled.export.c`: what a module computes is what
that computes. A part that calls another one is replaced by that one's calls, so that none is left
which is not a function of the module.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import OptionError, field
from unrolled.export.c.interface import Pass, Program
from unrolled.export.c.source import Array, Source
from unrolled.export.wasm.operations import LOOP, OPERATION, SET, SUPPORT, Kind, Value, operation
from unrolled.kernels import PlainTrace

__all__ = ["Linked", "link"]

_PANELS = (32, 16, 4, 1)  # columns that lie together in what scaled_product reads
_ORDERS = ("ahead", "back", "first", "last", "once")
_ROWS = ("in", "out", "trace", "a", "b", "memory", "keys", "looks")
_FLOAT = re.compile(r"([\d.e+-]+)f")
_LINE = re.compile(r" *(\w+)\((.*)\);")
_BEGIN = re.compile(r" *for \(int32_t (\w+) = 0; \1 < (\w+); \1\+\+\) \{")
_MOST_TERMS = 3  # of loops' variables in an argument


@dataclass(frozen=True)
class Linked:
    """A model as a module runs it.

    Args:
        image: Its constants, its operations, and what module.c calls a Model.
        layout: Where what is in its memory, in bytes: what JavaScript is told.
        matrices: Where in the image the numbers of each matrix are, by its name, and the widths of
            the panels that they lie in: none of one that lies as it is in C.
    """

    image: bytes
    layout: dict[str, Any]
    matrices: dict[str, tuple[int, tuple[int, ...]]]


def link(
    program: Program, traces: Mapping[str, PlainTrace], functions: Mapping[str, str]
) -> Linked:
    """Return a program for a module.

    Args:
        program: The model in C.
        traces: What traces each of its steps, by the name of the step's functions.
        functions: What the module's functions take, by name, in the module's order.
    """
    assert program.source is not None
    linker = _Linker(program, program.source, traces, functions)
    of_step, of_word = (
        [linker.run(each) for each in passes] for passes in (program.passes, program.word_passes)
    )
    return linker.linked(of_step, of_word)


class _Linker:
    def __init__(
        self,
        program: Program,
        source: Source,
        traces: Mapping[str, PlainTrace],
        functions: Mapping[str, str],
    ) -> None:
        self._program, self._source = program, source
        self._traces = traces
        self._numbers = {name: number for number, name in enumerate(functions)}
        self._operations: list[list[int]] = []
        self._records: list[dict[str, Any]] = []
        self._num_traced = 0
        self._constants = bytearray()
        self._num_variables = 0
        self._loops: dict[str, int] = {}
        self._reached: list[dict[Value, int]] = [{}]  # of each loop around, which variable is what
        place = self._place_constants()
        self._memory: dict[str, int] = {}
        sizes = {"state": source.num_state, "places": max(1, source.num_places)}
        for name, count in (
            *sizes.items(),
            ("work", source.num_work),
            ("between", program.between),
            ("room", 0 if program.grid is None else program.grid.room),
        ):
            self._memory[name] = place
            place += _aligned(4 * count)
        self._end = place

    def _place_constants(self) -> int:
        """Place constants, those of int8 once more as floats; return where memory goes on."""
        grid = () if self._program.grid is None else self._program.grid.lines
        lines = (line for body in (*self._source.bodies.values(), grid) for line in body)
        found = (re.match(r"(?:product|convolve)\(&(\w+)", line) for line in lines)
        multiplied = {match[1] for match in found if match}
        self._places: dict[str, int] = {}
        for name, numbers in self._source.doubles.items():
            self._places[name] = self._constant(numbers)
        for name, array in self._source.arrays.items():
            matrix = self._source.matrices.get(name.removesuffix("_numbers"))
            if matrix is not None and matrix.name in multiplied:
                numbers = _packed(array.numbers.reshape(matrix.depth, matrix.columns))
                array = Array(numbers, array.stored)
            self._places[name] = self._constant(array.numbers)
        self._matrices: dict[str, tuple[int, tuple[int, ...]]] = {
            name: (self._places[f"{name}_numbers"], _PANELS if name in multiplied else ())
            for name in self._source.matrices
        }
        place = len(self._constants)
        for name, array in self._source.arrays.items():
            if array.stored == "int8":
                count, stored = array.numbers.numel(), self._places[name]
                places = (Value(Kind.PLACE, stored), Value(Kind.PLACE, place))
                self._add("widen", [Value(Kind.NUMBER, count), *places])
                self._places[name] = place
                place += _aligned(4 * count)
        self._num_setup = len(self._operations)
        return place

    def _constant(self, numbers: Tensor) -> int:
        place = _aligned(len(self._constants))
        self._constants += bytes(place - len(self._constants))
        self._constants += np.ascontiguousarray(numbers.numpy()).tobytes()
        self._constants += bytes(_aligned(len(self._constants)) - len(self._constants))
        return place

    def linked(self, of_step: list[list[int]], of_word: list[list[int]]) -> Linked:
        """Return the program, of which all passes were added: those of `run`, and of a word."""
        program, memory = self._program, self._memory
        operations = _words(word for each in self._operations for word in each)
        seed = self._end
        variables = seed + 16
        start = variables + _aligned(4 * self._num_variables)
        wide = max([0, *(each.out_size for each in program.passes if each.writes in ("a", "b"))])
        size = 8 if program.doubles else 4
        read, said = size * program.input_size, size * program.output_size
        inputs = program.input_size
        if (grid := program.grid) is not None:  # its bytes, a share of them in the row of a place
            read = inputs = -(-3 * grid.side**2 // grid.num_places)
        floats = (self._num_traced, wide, wide, *program.places)
        rows = [read, said, *(4 * each for each in floats)]
        header = start + len(operations)
        word_header = header + 4 * (len(rows) + 6) + len(of_step) * 32
        size = _aligned(word_header + 4 * (len(rows) + 6) + len(of_word) * 32)
        words: list[int] = []
        for passes in (of_step, of_word):
            for each in passes:
                each[0] += start
            words += [size, *rows, int(program.is_pooled)]
            words += [start, self._num_setup, variables, len(passes)]
            words += [word for each in passes for word in each]
        layout = {
            "tokens": program.num_tokens,
            "inputs": inputs,
            "outputs": program.output_size,
            "doubles": bool(program.doubles),
            "pooled": program.is_pooled,
            "steps": program.steps,
            "constants": len(self._constants),
            "state": [memory["state"], memory["work"] - memory["state"]],
            "seed": seed,
            "operations": start,
            "header": header,
            "reads": _reads(program),
            "side": None if grid is None else grid.side,
            "grid": None if grid is None else grid.num_places,
            "writes": word_header if of_word else None,
            "places": program.places[2],
            "size": size,
            "traced": self._num_traced,
            "records": self._records,
        }
        return Linked(bytes(self._constants) + operations + _words(words), layout, self._matrices)

    def run(self, each: Pass) -> list[int]:
        """Add a pass and return what module.c calls one, its operations counted from the first."""
        first = len(self._operations)
        size = 8 if self._program.doubles else 4
        bound = {"in": Value(Kind.IN, 0, size), "out": Value(Kind.OUT, 0, size)}
        bound["room"] = Value(Kind.PLACE, self._memory["room"], 4)
        for name, count in self._program.doubles.items():
            bound[name] = bound["in"]
            bound["in"] = bound["in"].moved(count)
        self._calls(list(each.lines), bound, each.order == "back")
        reads, writes = (_ROWS.index(rows) if rows else 0 for rows in (each.reads, each.writes))
        sizes = [size * count for count in (each.in_size, each.out_size, each.out_at)]
        order, count = _ORDERS.index(each.order), len(self._operations) - first
        return [4 * OPERATION * first, count, order, reads, writes, *sizes]

    def _calls(self, lines: list[str], bound: dict[str, Value], back: bool) -> None:
        """Add calls, and loops of calls, one line of C each."""
        while lines:
            line = lines.pop(0)
            if (begin := _BEGIN.fullmatch(line)) is None:
                self._call(line, bound, back)
                continue
            held = _until_the_end(lines)
            del lines[: len(held) + 1]
            variable, place = self._variable(), len(self._operations)
            self._operations.append([])
            around = self._loops
            self._loops = {**around, begin[1]: variable}
            self._reached.append({})
            self._calls(held, bound, back)
            self._reached.pop()
            self._loops = around
            count = self._value(begin[2], bound)
            length = len(self._operations) - place - 1
            values = [Value(Kind.NUMBER, variable), count, Value(Kind.NUMBER, length)]
            self._operations[place] = operation(LOOP, values)

    def _call(self, line: str, bound: dict[str, Value], back: bool) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            raise _no_module(line)
        name, texts = match[1], match[2].split(", ")
        if name in self._source.bodies:
            pairs = zip(("in", "out"), texts[1:], strict=True)
            inner = {key: self._value(text, bound) for key, text in pairs}
            self._calls(list(self._source.bodies[name]), inner, back)
            return
        values = [value for text in texts for value in self._values(text, bound)]
        function, _, which = name.rpartition("_")
        if function in self._traces and which.startswith(("units", "apply")):
            self._trace(function, which, values, back)
        self._add(f"scaled_{name}" if f"scaled_{name}" in SUPPORT else name, values)

    def _trace(self, function: str, which: str, values: Sequence[Any], back: bool) -> None:
        """Add what writes down the named values before a call changes what they are made of."""
        if self._program.doubles or self._program.word_passes:
            return  # which run a layer in more than one place, or at other times than are read
        trace, units = self._traces[function], values[0].number
        phase = len(trace.phases) - 1 if which == "units" else int(which[5:] or 1) - 1
        if phase == 0:
            self._records.append({"function": function, "reverse": back, "units": units, "at": {}})
        places: dict[str, int] = self._records[-1]["at"]
        for number, name in enumerate(trace.phases[phase]):
            places[name] = self._num_traced + number * units
        more = "" if which == "units" else f"_{which}"
        inputs = values if which == "units" else values[:-1]
        arguments = [*inputs, Value(Kind.TRACE, 4 * self._num_traced)]
        if trace.phases[phase]:
            self._add(f"{function}_trace{more}", arguments)
        self._num_traced += units * trace.num_vectors[phase]

    def _add(self, name: str, values: Sequence[Value]) -> None:
        if name not in self._numbers:
            raise _no_module(name)
        self._operations.append(operation(self._numbers[name], [*map(self._reach, values)]))

    def _variable(self) -> int:
        self._num_variables += 1
        return self._num_variables - 1

    def _reach(self, value: Value) -> Value:
        """Return a value without terms: where there are any, a variable that is set to it."""
        if not value.terms:
            return value
        if value not in self._reached[-1]:
            assert len(value.terms) <= _MOST_TERMS
            self._reached[-1][value] = variable = self._variable()
            terms = [
                each
                for loop, times in value.terms
                for each in (Value(Kind.VARIABLE, loop), Value(Kind.NUMBER, times))
            ]
            first = [Value(Kind.NUMBER, variable), Value(value.kind, value.number)]
            self._operations.append(operation(SET, [*first, *terms]))
        return Value(Kind.VARIABLE, self._reached[-1][value])

    # ---- Arguments -------------------------------------------------------------------------------

    def _values(self, text: str, bound: dict[str, Value]) -> list[Value]:
        if not text.startswith("&") or text.startswith("&m->"):
            return [self._value(text, bound)]
        matrix = self._source.matrices[text[1:]]
        numbers = self._places[f"{matrix.name}_numbers"]
        scales = Value(Kind.NUMBER, 0)
        if matrix.is_scaled:
            scales = Value(Kind.PLACE, self._places[f"{matrix.name}_scales"])
        sizes = (Value(Kind.NUMBER, matrix.depth), Value(Kind.NUMBER, matrix.columns))
        return [Value(Kind.PLACE, numbers), scales, *sizes]

    def _value(self, text: str, bound: dict[str, Value]) -> Value:
        if match := re.fullmatch(r"&m->places\[(\d+)\]", text):
            return Value(Kind.PLACE, self._memory["places"] + 4 * int(match[1]))
        if match := _FLOAT.fullmatch(text):
            return Value.of_float(float(match[1]))
        if text == "m->token":
            return Value(Kind.TOKEN, 0)
        if text == "steps":
            return Value(Kind.STEPS, 0)
        base, count, terms = Value(Kind.NUMBER, 0), 0, []
        for term in text.split(" + "):
            name, _, times = term.partition(" * ")
            if name.isdecimal():
                count += int(name)
            elif name in self._loops:
                terms.append((self._loops[name], int(times or 1)))
            elif name in bound:
                base = bound[name]
            elif name.startswith("m->"):
                base = Value(Kind.PLACE, self._memory[name[3:]], 4)
            else:
                size = 8 if name in self._source.doubles else 4
                base = Value(Kind.PLACE, self._places[name], size)
        return base.moved(count, terms)


def _reads(program: Program) -> str:
    """Return what JavaScript calls an array of what is read."""
    if program.grid is not None:
        return "Uint8Array"
    if program.num_tokens is not None:
        return "Int32Array"
    return "Float64Array" if program.doubles else "Float32Array"


def _until_the_end(lines: Sequence[str]) -> list[str]:
    """Return the lines before the brace that ends a loop which was begun."""
    depth = 1
    for number, line in enumerate(lines):
        depth += line.endswith("{") - (line.strip() == "}")
        if depth == 0:
            return [*lines[:number]]
    raise AssertionError("a loop without an end")


def _no_module(what: str) -> OptionError:
    message = f"there is no module for this model, which computes {what}"
    return OptionError(message, f"export it with {field('c')} or {field('onnx')}")


def _packed(numbers: Tensor) -> Tensor:
    """Return a matrix, (depth, columns), panel after panel."""
    panels, first = [], 0
    for width in _PANELS:
        while first + width <= numbers.shape[1]:
            panels.append(numbers[:, first : first + width].reshape(-1))
            first += width
    return torch.cat(panels) if panels else numbers.reshape(-1)


def _words(words: Iterable[int]) -> bytes:
    return np.array([*words], np.int64).astype("<u4").tobytes()


def _aligned(place: int) -> int:
    return -(-place // 16) * 16
