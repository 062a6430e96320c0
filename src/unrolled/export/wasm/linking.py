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
from unrolled.kernels import PlainStep, PlainTrace

__all__ = ["OPERATION", "SUPPORT", "Linked", "function_kinds", "link"]

SUPPORT = {
    "scaled_product": "Mff",
    "scaled_lookup": "Mif",
    "scaled_embed": "Mif",
    "widen": "iff",
    "copy": "iff",
    "zero": "if",
    "one_at": "iif",
    "add": "iff",
    "relu": "if",
    "tanh_of": "if",
    "sigmoid_of": "if",
    "window": "iiiffpf",
    "mean_of": "iffff",
    "most_of": "ifff",
    "attention_of": "iffffff",
    "press": "iiiff",
}
"""What functions of support.h and module.c take: M a matrix, i a number, f floats, p an integer."""

OPERATION = 12
"""Words of an operation: which function, the kinds of its arguments, 4 bits each, in two words, and
nine arguments."""

_PANELS = (32, 16, 4, 1)  # columns that lie together in what scaled_product reads
_ARGUMENTS = 9
_NUMBER, _PLACE, _IN, _OUT, _TOKEN, _TRACE, _STEPS = range(7)
_ORDERS = ("ahead", "back", "first", "last", "once")
_ROWS = ("in", "out", "trace", "a", "b")
_LINE = re.compile(r"(\w+)\((.*)\);")


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


def function_kinds(step: PlainStep, trace: PlainTrace) -> dict[str, str]:
    """Return what the functions of a cell take, by name."""
    texts = re.findall(r"^static void (\w+)\(([^)]*)\)", f"{step.text}\n{trace.text}", re.MULTILINE)
    return {
        name: "".join("f" if "*" in each else "i" for each in arguments.split(","))
        for name, arguments in texts
    }


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
    passes = [linker.run(each) for each in program.passes]
    return linker.linked(passes)


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
        place = self._place_constants()
        self._memory: dict[str, int] = {}
        sizes = {"state": source.num_state, "places": max(1, source.num_places)}
        for name, count in (
            *sizes.items(),
            ("work", source.num_work),
            ("between", program.between),
        ):
            self._memory[name] = place
            place += _aligned(4 * count)
        self._end = place

    def _place_constants(self) -> int:
        """Place constants, those of int8 once more as floats; return where memory goes on."""
        lines = (line for body in self._source.bodies.values() for line in body)
        multiplied = {match[1] for line in lines if (match := re.match(r"product\(&(\w+)", line))}
        self._places = {}
        for name, array in self._source.arrays.items():
            matrix = self._source.matrices.get(name.removesuffix("_numbers"))
            if matrix is not None and matrix.name in multiplied:
                numbers = _packed(array.numbers.reshape(matrix.depth, matrix.columns))
                array = Array(numbers, array.stored)
            self._places[name] = self._constant(array)
        self._matrices: dict[str, tuple[int, tuple[int, ...]]] = {
            name: (self._places[f"{name}_numbers"], _PANELS if name in multiplied else ())
            for name in self._source.matrices
        }
        place = len(self._constants)
        for name, array in self._source.arrays.items():
            if array.stored == "int8":
                count, stored = array.numbers.numel(), self._places[name]
                self._add("widen", [(_NUMBER, count), (_PLACE, stored), (_PLACE, place)])
                self._places[name] = place
                place += _aligned(4 * count)
        self._num_setup = len(self._operations)
        return place

    def _constant(self, array: Array) -> int:
        place = _aligned(len(self._constants))
        self._constants += bytes(place - len(self._constants))
        self._constants += np.ascontiguousarray(array.numbers.numpy()).tobytes()
        self._constants += bytes(_aligned(len(self._constants)) - len(self._constants))
        return place

    def linked(self, passes: list[list[int]]) -> Linked:
        """Return the program, of which all passes were added."""
        program, memory = self._program, self._memory
        operations = _words(word for each in self._operations for word in each)
        seed = self._end
        start = seed + 16
        wide = max([0, *(each.out_size for each in program.passes if each.writes in ("a", "b"))])
        rows = [program.input_size, program.output_size, self._num_traced, wide, wide]
        header = start + len(operations)
        size = _aligned(header + 4 * (len(rows) + 5) + len(passes) * 32)
        for each in passes:
            each[0] += start
        words = [size, *(4 * each for each in rows), int(program.is_pooled)]
        words += [start, self._num_setup, len(passes)]
        words += [word for each in passes for word in each]
        layout = {
            "tokens": program.num_tokens,
            "inputs": program.input_size,
            "outputs": program.output_size,
            "pooled": program.is_pooled,
            "steps": program.steps,
            "constants": len(self._constants),
            "state": [memory["state"], memory["work"] - memory["state"]],
            "seed": seed,
            "operations": start,
            "header": header,
            "size": size,
            "traced": self._num_traced,
            "records": self._records,
        }
        return Linked(bytes(self._constants) + operations + _words(words), layout, self._matrices)

    def run(self, each: Pass) -> list[int]:
        """Add a pass and return what module.c calls one, its operations counted from the first."""
        first = len(self._operations)
        for line in each.lines:
            self._call(line, {"in": (_IN, 0), "out": (_OUT, 0)}, each.order == "back")
        reads, writes = (_ROWS.index(rows) if rows else 0 for rows in (each.reads, each.writes))
        sizes = [4 * each.in_size, 4 * each.out_size, 4 * each.out_at]
        order, count = _ORDERS.index(each.order), len(self._operations) - first
        return [4 * OPERATION * first, count, order, reads, writes, *sizes]

    def _call(self, line: str, bound: dict[str, tuple[int, int]], back: bool) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            raise _no_module(line)
        name, texts = match[1], match[2].split(", ")
        if name in self._source.bodies:
            inner = {
                key: self._value(text, bound)
                for key, text in zip(("in", "out"), texts[1:], strict=True)
            }
            for each in self._source.bodies[name]:
                self._call(each, inner, back)
            return
        values = [value for text in texts for value in self._values(text, bound)]
        function, _, which = name.rpartition("_")
        if function in self._traces and which.startswith(("units", "apply")):
            self._trace(function, which, values, back)
        self._add(f"scaled_{name}" if f"scaled_{name}" in SUPPORT else name, values)

    def _trace(self, function: str, which: str, values: Sequence[Any], back: bool) -> None:
        """Add what writes down the named values before a call changes what they are made of."""
        trace, units = self._traces[function], values[0][1]
        phase = len(trace.phases) - 1 if which == "units" else int(which[5:] or 1) - 1
        if phase == 0:
            self._records.append({"function": function, "reverse": back, "units": units, "at": {}})
        places: dict[str, int] = self._records[-1]["at"]
        for number, name in enumerate(trace.phases[phase]):
            places[name] = self._num_traced + number * units
        more = "" if which == "units" else f"_{which}"
        inputs = values if which == "units" else values[:-1]
        arguments = [*inputs, (_TRACE, 4 * self._num_traced)]
        if trace.phases[phase]:
            self._add(f"{function}_trace{more}", arguments)
        self._num_traced += units * trace.num_vectors[phase]

    def _add(self, name: str, values: Sequence[tuple[int, int]]) -> None:
        if name not in self._numbers:
            raise _no_module(name)
        assert len(values) <= _ARGUMENTS, name
        kinds = sum(kind << 4 * place for place, (kind, _) in enumerate(values))
        numbers = [number for _, number in values]
        padding = [0] * (_ARGUMENTS - len(numbers))
        words = [self._numbers[name], kinds & 0xFFFFFFFF, kinds >> 32]
        self._operations.append([*words, *numbers, *padding])

    # ---- Arguments -------------------------------------------------------------------------------

    def _values(self, text: str, bound: dict[str, tuple[int, int]]) -> list[tuple[int, int]]:
        if not text.startswith("&") or text.startswith("&m->"):
            return [self._value(text, bound)]
        matrix = self._source.matrices[text[1:]]
        numbers = self._places[f"{matrix.name}_numbers"]
        scales = (_NUMBER, 0)
        if matrix.is_scaled:
            scales = (_PLACE, self._places[f"{matrix.name}_scales"])
        return [(_PLACE, numbers), scales, (_NUMBER, matrix.depth), (_NUMBER, matrix.columns)]

    def _value(self, text: str, bound: dict[str, tuple[int, int]]) -> tuple[int, int]:
        if match := re.fullmatch(r"&m->places\[(\d+)\]", text):
            return _PLACE, self._memory["places"] + 4 * int(match[1])
        if text == "m->token":
            return _TOKEN, 0
        if text == "steps":
            return _STEPS, 0
        first, *more = text.split(" + ")
        added = sum(map(int, more))
        if first.isdecimal():
            return _NUMBER, int(first) + added
        if first in bound:
            kind, number = bound[first]
            return kind, number + 4 * added
        if first.startswith("m->"):
            return _PLACE, self._memory[first[3:]] + 4 * added
        return _PLACE, self._places[first] + 4 * added


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
