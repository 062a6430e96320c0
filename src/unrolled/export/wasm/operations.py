"""What a module runs: functions that it has by name, and an operation, a call of one, as numbers.

Of module.c that is `Operation`; which function has which number says the order here, and behind
these come those of cells.
"""

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from unrolled.kernels import PlainStep, PlainTrace

__all__ = [
    "LOOP",
    "OPERATION",
    "SET",
    "SUPPORT",
    "Kind",
    "Value",
    "function_kinds",
    "operation",
]

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
    "dot": "ifff",
    "look_over": "iifff",
    "divide": "iif",
    "take_greater": "iff",
    "darkness": "ibf",
    "scaled_convolve": "Miifff",
    "normalise": "iiefff",
    "normalise_each": "iiefff",
    "scale_targets": "iidddf",
    "scale_logs": "iidddf",
    "scale_logs_of_more": "iidddf",
    "scale_columns": "iidddf",
    "ones": "if",
    "frame_at_last": "iiff",
    "frame_by_itself": "iifff",
    "fill": "iiffff",
    "changes": "iiffff",
    "gather": "iiff",
    "scatter": "iiff",
    "look_at": "iiiifffff",
    "look_ahead": "iiiifff",
    "feed": "iiff",
    "feed_counts": "iifff",
    "rise": "iifff",
    "add_to_first": "iiff",
    "quantiles_of": "iiiff",
    "normal_of": "iff",
    "student_of": "iff",
    "counts_of": "iff",
    "reframe": "iiiifff",
    "say": "iiiifddd",
    "say_exp": "iiiifddd",
    "say_expm1": "iiiifddd",
    "restart": "p",
    "keep": "pp",
}
"""What functions of support.h, forecast.h and module.c take: M a matrix, i a number, e one of
floats, f floats, d doubles, p an integer, b bytes."""

OPERATION = 12
"""Words of an operation: which function, the kinds of its arguments, 4 bits each, in two words, and
nine arguments."""

_ARGUMENTS = 9
LOOP, SET = -2, -1  # what is no function of C


class Kind(IntEnum):
    """What the number of an argument is added to: module.c says it."""

    NUMBER = 0
    PLACE = 1
    IN = 2
    OUT = 3
    TOKEN = 4
    TRACE = 5
    STEPS = 6
    VARIABLE = 7


@dataclass(frozen=True)
class Value:
    """An argument.

    Args:
        kind: What its number is added to.
        number: It.
        size: Bytes of what lies there; 1 of a number.
        terms: Variables of loops, and what each is multiplied by, which are added.
    """

    kind: Kind
    number: int
    size: int = 1
    terms: tuple[tuple[int, int], ...] = ()

    def moved(self, count: int, terms: Iterable[tuple[int, int]] = ()) -> "Value":
        """Return what lies so many further on."""
        more = tuple((variable, times * self.size) for variable, times in terms if times)
        number = self.number + count * self.size
        return Value(self.kind, number, self.size, self.terms + more)

    @classmethod
    def of_float(cls, number: float) -> "Value":
        """Return a float, as its bits."""
        return cls(Kind.NUMBER, struct.unpack("<i", struct.pack("<f", number))[0])


def operation(function: int, values: Sequence[Value]) -> list[int]:
    """Return the words of a call, whose arguments have no terms."""
    assert len(values) <= _ARGUMENTS, function
    assert not any(value.terms for value in values)
    kinds = sum(value.kind << 4 * place for place, value in enumerate(values))
    numbers = [value.number for value in values]
    padding = [0] * (_ARGUMENTS - len(numbers))
    return [function, kinds & 0xFFFFFFFF, kinds >> 32, *numbers, *padding]


def function_kinds(step: PlainStep, trace: PlainTrace) -> dict[str, str]:
    """Return what the functions of a cell take, by name."""
    texts = re.findall(r"^static void (\w+)\(([^)]*)\)", f"{step.text}\n{trace.text}", re.MULTILINE)
    return {
        name: "".join("f" if "*" in each else "i" for each in arguments.split(","))
        for name, arguments in texts
    }
