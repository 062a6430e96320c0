"""What a C file is made of: weights as constants, functions, and the memory of an instance.

Not here: what is computed (`parts.py`), and in which order (`program.py`).
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from unrolled.errors import OptionError
from unrolled.kernels import PlainStep, WeightFormat, only_needed, plain_functions

__all__ = ["Array", "Matrix", "Source", "as_stored", "check_numbers", "support_text"]

_ON_A_LINE = 8
_BITS = {"f32": 32, "bf16": 16, "int8": 8}
_TYPES = {"f32": "float", "bf16": "uint16_t", "int8": "int8_t"}


def _definition(kind: str, name: str, texts: Iterable[str]) -> str:
    words = list(texts)
    lines = [", ".join(words[n : n + _ON_A_LINE]) for n in range(0, len(words), _ON_A_LINE)]
    content = ",\n  ".join(lines)
    return f"static const {kind} {name}[{len(words)}] = {{\n  {content}}};\n"


@dataclass(frozen=True, eq=False)
class Array:
    """Constants: numbers as they are stored, in one dimension."""

    numbers: Tensor
    stored: WeightFormat

    def text(self, name: str) -> str:
        """Return its definition."""
        return _definition(_TYPES[self.stored], name, _texts(self.numbers, self.stored))


@dataclass(frozen=True)
class Matrix:
    """A matrix of the array NAME_numbers, (depth, columns), and maybe of NAME_scales."""

    name: str
    is_scaled: bool
    depth: int
    columns: int

    @property
    def text(self) -> str:
        """Its definition."""
        scales = f"{self.name}_scales, " if self.is_scaled else ""
        fields = f"{self.name}_numbers, {scales}{self.depth}, {self.columns}"
        return f"static const Matrix {self.name} = {{{fields}}};\n"


class Source:
    """A C file while it is written.

    Args:
        weights: How matrices are stored: "f32", "bf16", or "int8" with a scale for each row.

    Attributes:
        functions: Its functions, in order.
        resets: Statements that begin a sequence, beside zeros.
        num_state: Floats that go from step to step.
        num_work: Floats that a step needs for itself.
        num_places: Places in rings.
        num_weights: Numbers in matrices.
        num_bytes: Bytes of all constants.
        bodies: The statements of each part's function, by its name: calls, one on each.
        arrays: Constants by name, with how they are stored.
        matrices: Matrices by name.
        doubles: Constants of double by name.
        steps: The steps of cells, by the names of their functions.
        needs_libm: Whether something calls functions of C's library.
    """

    def __init__(self, weights: WeightFormat) -> None:
        self.weights = weights
        self.functions: list[str] = []
        self.resets: list[str] = []
        self.num_state = self.num_work = self.num_places = 0
        self.num_weights = self.num_bytes = 0
        self.bodies: dict[str, tuple[str, ...]] = {}
        self.arrays: dict[str, Array] = {}
        self.matrices: dict[str, Matrix] = {}
        self.doubles: dict[str, Tensor] = {}
        self.steps: dict[str, PlainStep] = {}
        self.needs_libm = False

    # ---- Memory of an instance -------------------------------------------------------------------

    def state(self, count: int) -> str:
        """Return where `count` more floats are that go from step to step, zeros at first."""
        self.num_state += count
        return f"m->state + {self.num_state - count}"

    def work(self, count: int) -> str:
        """Return where `count` floats are that every part may use while it runs."""
        self.num_work = max(self.num_work, count)
        return "m->work"

    def place(self) -> str:
        """Return where a number is that says how far a ring is, 0 at first."""
        self.num_places += 1
        return f"m->places[{self.num_places - 1}]"

    # ---- Constants -------------------------------------------------------------------------------

    def matrix(self, name: str, weight: Tensor, *, is_table: bool = False) -> str:
        """Add a matrix and return its address.

        Args:
            name: Of it.
            weight: (columns, depth), each row with its scale; of a table (depth, columns).
            is_table: Whether its rows are looked up, and never multiplied.

        Raises:
            OptionError: More numbers than the C can count, or one that is not finite.
        """
        if weight.numel() >= 2**31:
            what = f"export: a matrix of the model has {weight.numel():,} numbers"
            raise OptionError(f"{what}, and C here counts to 2,147,483,647", "make it smaller")
        numbers, scales = _stored(weight, self.weights)
        laid = numbers if is_table else numbers.T
        depth, columns = laid.shape
        self.arrays[f"{name}_numbers"] = Array(laid.reshape(-1), self.weights)
        self.num_bytes += laid.numel() * _BITS[self.weights] // 8
        if scales is not None:
            self.vector(f"{name}_scales", scales)
        self.num_weights += laid.numel()
        self.matrices[name] = Matrix(name, scales is not None, depth, columns)
        return f"&{name}"

    def vector(self, name: str, vector: Tensor) -> str:
        """Add floats and return their name."""
        self.num_bytes += 4 * vector.numel()
        self.arrays[name] = Array(_narrowed(vector, "f32").reshape(-1), "f32")
        return name

    def _constants(self) -> str:
        texts = [each.text(name) for name, each in self.arrays.items()]
        matrices = [each.text for each in self.matrices.values()]
        doubles = [
            _definition("double", name, map(repr, each.tolist()))
            for name, each in self.doubles.items()
        ]
        return "\n".join([*texts, *doubles, *matrices])

    # ---- Functions -------------------------------------------------------------------------------

    def step(self, name: str, make: Callable[[str], PlainStep]) -> PlainStep:
        """Add the functions of a cell's step, once, and return it.

        Args:
            name: How their names begin; a number comes after it where another cell has the name.
            make: Writes the step under a name.
        """
        for number in count():
            step = make(f"{name}{number or ''}")
            if self.steps.setdefault(step.function, step) == step:
                break
        return step

    def vector_of_doubles(self, name: str, vector: Tensor) -> str:
        """Add doubles and return their name."""
        self.num_bytes += 8 * vector.numel()
        self.doubles[name] = vector.double()
        return name

    def text(self, head: str, include: str) -> str:
        """Return the file.

        Args:
            head: Its first comment.
            include: The name of its header.
        """
        steps = [step.text for step in self.steps.values()]
        functions = "\n".join([*steps, *self.functions])
        support = only_needed(support_text(self.weights), functions)
        plain = plain_functions(f"{support}\n{functions}")
        needs_libm = self.needs_libm or any(step.needs_libm for step in self.steps.values())
        library = "#include <math.h>\n" if needs_libm else ""
        parts = [head, f'#include "{include}"\n{library}', _braced(plain), _braced(support)]
        return "\n".join([*parts, self._constants(), _braced(functions)])


def _braced(text: str) -> str:
    """Return C in which what a loop or a condition holds is in braces, as MISRA C 15.6 wants it."""
    return "\n".join(_braced_line(line) for line in text.splitlines()) + "\n"


def _braced_line(line: str) -> str:
    match = re.match(r"( *)(for|if) \(", line)
    content = line.rstrip(" \\")
    if match is None or not content.endswith(";"):
        return line
    depth = 1
    for place in range(match.end(), len(content)):
        depth += {"(": 1, ")": -1}.get(content[place], 0)
        if depth == 0:
            break
    else:  # what is in its parentheses ends on a further line
        return line
    before, held = content[: place + 1], content[place + 2 :]
    if line.endswith("\\"):  # of a macro
        return f"{before} {{ {held} }} \\"
    indent = match[1]
    return f"{before} {{\n{_braced_line(f'{indent}  {held}')}\n{indent}}}"


@cache
def support_text(weights: WeightFormat) -> str:
    """Return support.h, with what it says of weights stored so alone, and forecast.h."""
    bits = _BITS[weights]
    files = (Path(__file__).with_name(name) for name in ("support.h", "forecast.h"))
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    lines, is_open, is_taken, was_taken = [], False, True, False
    for line in text.splitlines():
        if condition := re.fullmatch(r"#(?:el)?if WEIGHT_BITS == (\d+)", line):
            is_open, is_taken = True, int(condition[1]) == bits
            was_taken = is_taken or (was_taken and line.startswith("#elif"))
        elif is_open and line == "#else":
            is_taken = not was_taken
        elif is_open and line == "#endif":
            is_open, is_taken = False, True
        elif is_taken:
            lines.append(line)
    return "\n".join(lines)


# ---- Numbers -------------------------------------------------------------------------------------


def as_stored(weight: Tensor, weights: WeightFormat) -> Tensor:
    """Return a matrix as floats, as it is where it is stored so: rows with a scale each."""
    numbers, scales = _stored(weight, weights)
    if weights == "bf16":
        return numbers.view(torch.bfloat16).to(weight.dtype)
    return numbers if scales is None else (numbers * scales[:, None]).to(weight.dtype)


def _stored(weight: Tensor, weights: WeightFormat) -> tuple[Tensor, Tensor | None]:
    """Return the numbers of a matrix, (rows, columns), and the scale of each row, if it has one.

    Both are made as a stream of such weights makes them (kernels/emitting/headers/words.h).
    """
    weight = _narrowed(weight, weights).contiguous()
    if weights == "bf16":
        return weight.view(torch.int16), None
    if weights == "f32":
        return weight, None
    most = weight.abs().amax(1)
    some = most > 2.0**-100
    inverse = torch.where(some, 127.0 / most, 0.0)
    scales = torch.where(some, most * (1.0 / 127.0), 0.0)
    return (weight * inverse[:, None]).round().to(torch.int8), scales


def _narrowed(numbers: Tensor, weights: WeightFormat) -> Tensor:
    """Return numbers as bfloat16 or float32.

    Raises:
        OptionError: One is not finite, at the latest when it is.
    """
    numbers = numbers.detach()
    narrow = numbers.bfloat16() if weights == "bf16" else numbers.float()
    if not bool(narrow.isfinite().all()):
        number = float(numbers[~narrow.isfinite()][0])
        kind = "bf16" if weights == "bf16" else "float32"
        message = (
            f"export: the model computes with a weight of {number:.9g}, which no {kind} can be"
        )
        raise OptionError(message, "train again, or start from an earlier checkpoint")
    return narrow


def _texts(numbers: Tensor, weights: WeightFormat) -> Iterable[str]:
    if weights == "int8":
        return map(str, numbers.tolist())
    if weights == "bf16":
        return (f"0x{number & 0xFFFF:04x}" for number in numbers.tolist())
    return (_float(number) for number in numbers.tolist())


def _float(number: float) -> str:
    text = f"{number:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def check_numbers(name: str, tensor: Tensor) -> None:
    """Raise `OptionError` for weights that no constant of C can be."""
    if tensor.dtype not in (torch.float32, torch.float64) or tensor.device.type != "cpu":
        has = f"{str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
        message = f"export: {name} must be of float32 or float64 on the CPU, got {has}"
        raise OptionError(message, "export a copy: copy.deepcopy(layer).float()")
    if not bool(tensor.isfinite().all()):
        what = "NaN" if bool(tensor.isnan().any()) else "infinity"
        message = f"export: {name} has {what}, so that nothing it computes is a number"
        raise OptionError(message, "train again, or start from an earlier checkpoint")
