"""How the operations of a step are written: σ(a + b) · c, with brackets where they are needed.

Not here: which values of a step have names, and which equations there are (`equations.py`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from unrolled.kernels import StepNode

__all__ = ["MINUS", "PRIME", "written"]

MINUS, PRIME = "−", "′"

# How tightly what is written holds together: what is looser than its place asks for is bracketed.
_LOOSE, _SUM, _PRODUCT, _FACTOR, _TIGHT = range(5)


class Form(NamedTuple):
    """How an operation is written.

    text: With {} for each of its inputs.
    holds: How tightly the text holds together.
    needs: How tightly each input must, the last one for all further.
    """

    text: str
    holds: int = _TIGHT
    needs: tuple[int, ...] = (_LOOSE,)


_FORMS = {
    "add": Form("{} + {}", _SUM, (_SUM, _SUM)),
    "sub": Form("{} − {}", _SUM, (_SUM, _PRODUCT)),
    "mul": Form("{} · {}", _PRODUCT, (_PRODUCT, _PRODUCT)),
    "div": Form("{} / {}", _PRODUCT, (_PRODUCT, _FACTOR)),
    "neg": Form("−{}", _LOOSE, (_PRODUCT,)),
    "reciprocal": Form("1 / {}", _PRODUCT, (_FACTOR,)),
    "rsqrt": Form("1 / √({})", _PRODUCT),
    "sqrt": Form("√({})"),
    "abs": Form("|{}|"),
    "sum": Form("Σ({})"),
    "amax": Form("max over units({})"),
    "amin": Form("min over units({})"),
    "reversed_cumsum": Form("cumsum from the end({})"),
    "sigmoid": Form("σ({})"),
    "log": Form("ln({})"),
    "relu": Form("max(0, {})"),
    "maximum": Form("max({}, {})"),
    "minimum": Form("min({}, {})"),
    "gt": Form("{} > {}", _LOOSE, (_SUM,)),
    "ge": Form("{} ≥ {}", _LOOSE, (_SUM,)),
    "lt": Form("{} < {}", _LOOSE, (_SUM,)),
    "le": Form("{} ≤ {}", _LOOSE, (_SUM,)),
    "eq": Form("{} = {}", _LOOSE, (_SUM,)),
    "ne": Form("{} ≠ {}", _LOOSE, (_SUM,)),
    "logical_and": Form("{} ∧ {}", _LOOSE, (_SUM,)),
    "logical_or": Form("{} ∨ {}", _LOOSE, (_SUM,)),
    "logical_not": Form("¬{}", _TIGHT, (_TIGHT,)),
}
_FORMS |= {
    f"bitwise_{name}": _FORMS[f"logical_{name}"]
    for name in ("and", "or", "not")
    if f"logical_{name}" in _FORMS
}
_RAISED: dict[object, str] = {2: "²", 3: "³"}


def written(node: StepNode, text_of: Callable[[str], tuple[str, StepNode | None]]) -> str:
    """Return what a node computes, as it is written.

    Args:
        node: The node.
        text_of: For the id of an input its text, or the node that is to be written in its place.
    """
    return _written(node, text_of)[0]


def _written(
    node: StepNode, text_of: Callable[[str], tuple[str, StepNode | None]]
) -> tuple[str, int]:
    """Return the text of a node, and how tightly it holds together."""

    def operand(source: object) -> tuple[str, int]:
        if not isinstance(source, str):
            return _number(source), _LOOSE if _is_negative(source) else _TIGHT
        text, inner = text_of(source)
        return (text, _TIGHT) if inner is None else _written(inner, text_of)

    operation, inputs = _simpler(node.operation, node.inputs)
    if operation in ("copy", "constant"):
        return operand(inputs[0])
    if operation in ("clamp", "hardtanh"):
        limits = [*inputs[1:], None, None] if operation == "clamp" else [*inputs[1:], -1, 1]
        text = operand(inputs[0])[0]
        for limit, outer in zip(limits, ("max", "min"), strict=False):
            text = text if limit is None else f"{outer}({text}, {operand(limit)[0]})"
        return text, _TIGHT
    if operation == "sum" and inputs == [1]:  # as many ones as there are units
        return "H", _TIGHT
    operands = [operand(source) for source in inputs]
    if operation == "pow" and inputs[1] in _RAISED:
        return f"{_bracketed(*operands[0], _TIGHT)}{_RAISED[inputs[1]]}", _TIGHT
    form = _FORMS.get(operation)
    if form is None or form.text.count("{}") != len(operands):
        return f"{operation}({', '.join(text for text, _ in operands)})", _TIGHT
    needs = [form.needs[min(place, len(form.needs) - 1)] for place in range(len(operands))]
    texts = [_bracketed(*each, need) for each, need in zip(operands, needs, strict=True)]
    return form.text.format(*texts), form.holds


def _simpler(operation: str, inputs: Sequence[object]) -> tuple[str, list[object]]:
    """Return an operation by others that are written more plainly, where there are such."""
    sources = list(inputs)
    if operation in ("add", "sub") and len(sources) == 2 and _is_negative(sources[1]):
        opposite = {"add": "sub", "sub": "add"}[operation]
        return opposite, [sources[0], -sources[1]]  # type: ignore[operator]  # a number
    return operation, sources


def _bracketed(text: str, holds: int, needed: int) -> str:
    return text if holds >= needed else f"({text})"


def _is_negative(value: object) -> bool:
    return isinstance(value, int | float) and value < 0


def _number(value: object) -> str:
    if isinstance(value, bool):
        value = int(value)
    return f"{value:.6g}".replace("-", MINUS)
