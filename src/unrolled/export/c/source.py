"""What a C file is made of: weights as constants, functions, and the memory of an instance.

Not here: what is computed (`parts.py`), and in which order (`program.py`).
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from unrolled.errors import OptionError
from unrolled.kernels import PlainStep, WeightFormat, only_needed, plain_functions

__all__ = ["Source", "as_stored"]

_ON_A_LINE = 8
_BITS = {"f32": 32, "bf16": 16, "int8": 8}
_TYPES = {"f32": "float", "bf16": "uint16_t", "int8": "int8_t"}


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
        needs_libm: Whether something calls functions of C's library.
    """

    def __init__(self, weights: WeightFormat) -> None:
        self.weights = weights
        self.functions: list[str] = []
        self.resets: list[str] = []
        self.num_state = self.num_work = self.num_places = 0
        self.num_weights = self.num_bytes = 0
        self.needs_libm = False
        self._constants: list[str] = []
        self._steps: dict[str, PlainStep] = {}

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
            what = f"to_c: a matrix of the model has {weight.numel():,} numbers"
            raise OptionError(f"{what}, and C here counts to 2,147,483,647", "make it smaller")
        numbers, scales = _stored(weight, self.weights)
        laid = numbers if is_table else numbers.T
        depth, columns = laid.shape
        fields = [f"{name}_numbers", f"{depth}", f"{columns}"]
        self._array(f"{name}_numbers", _TYPES[self.weights], _texts(laid.reshape(-1), self.weights))
        self.num_bytes += laid.numel() * _BITS[self.weights] // 8
        if scales is not None:
            self.vector(f"{name}_scales", scales)
            fields.insert(1, f"{name}_scales")
        self.num_weights += laid.numel()
        self._constants.append(f"static const Matrix {name} = {{{', '.join(fields)}}};\n")
        return f"&{name}"

    def vector(self, name: str, vector: Tensor) -> str:
        """Add floats and return their name."""
        self.num_bytes += 4 * vector.numel()
        self._array(name, "float", _texts(_narrowed(vector, "f32").reshape(-1), "f32"))
        return name

    def _array(self, name: str, kind: str, texts: Iterable[str]) -> None:
        words = list(texts)
        lines = [", ".join(words[n : n + _ON_A_LINE]) for n in range(0, len(words), _ON_A_LINE)]
        content = ",\n  ".join(lines)
        self._constants.append(f"static const {kind} {name}[{len(words)}] = {{\n  {content}}};\n")

    # ---- Functions -------------------------------------------------------------------------------

    def step(self, name: str, make: Callable[[str], PlainStep]) -> PlainStep:
        """Add the functions of a cell's step, once, and return it.

        Args:
            name: How their names begin; a number comes after it where another cell has the name.
            make: Writes the step under a name.
        """
        for number in count():
            step = make(f"{name}{number or ''}")
            if self._steps.setdefault(step.function, step) == step:
                break
        return step

    def doubles(self, name: str, vector: Tensor) -> str:
        """Add doubles and return their name."""
        self.num_bytes += 8 * vector.numel()
        self._array(name, "double", map(repr, vector.double().tolist()))
        return name

    def text(self, head: str, include: str) -> str:
        """Return the file.

        Args:
            head: Its first comment.
            include: The name of its header.
        """
        steps = [step.text for step in self._steps.values()]
        functions = "\n".join([*steps, *self.functions])
        support = only_needed(_support(_BITS[self.weights]), functions)
        plain = plain_functions(f"{support}\n{functions}")
        needs_libm = self.needs_libm or any(step.needs_libm for step in self._steps.values())
        library = "#include <math.h>\n" if needs_libm else ""
        constants = "\n".join(self._constants)
        parts = [head, f'#include "{include}"\n{library}', plain, support]
        return "\n".join([*parts, constants, functions])


@cache
def _support(bits: int) -> str:
    """Return support.h with what it says of weights of so many bits, and not of others."""
    text = Path(__file__).with_name("support.h").read_text(encoding="utf-8")
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
        message = f"to_c: the model computes with a weight of {number:.9g}, which no {kind} can be"
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
        message = f"to_c: {name} must be of float32 or float64 on the CPU, got {has}"
        raise OptionError(message, "export a copy: copy.deepcopy(layer).float()")
    if not bool(tensor.isfinite().all()):
        what = "NaN" if bool(tensor.isnan().any()) else "infinity"
        message = f"to_c: {name} has {what}, so that nothing it computes is a number"
        raise OptionError(message, "train again, or start from an earlier checkpoint")
