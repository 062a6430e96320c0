"""One operation of a traced graph as an expression of C.

Every pointwise operation of ATen that a kernel has is here. What is computed from what, and where
it is stored, is the business of `emit`.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import fx

from unrolled.kernels.trace import UntraceableError, resolve

__all__ = ["expression", "is_costly", "is_mask"]

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


class Names(Protocol):
    """What each node is called in C."""

    def __getitem__(self, node: fx.Node) -> str: ...


def expression(node: fx.Node, names: "Names") -> str:
    """Return the C expression of one operation."""
    target: Any = node.target
    arguments: list[Any] = list(node.args)

    def value(argument: Any) -> str:
        if not isinstance(argument, fx.Node):
            return f"splat({_number(argument)})"
        if is_mask(argument) and target not in _TAKE_MASKS:
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


def is_costly(node: fx.Node) -> bool:
    """Whether computing `node` again costs more than reading it from memory."""
    return node.target in _COSTLY or node.target in _POWERS


def is_mask(node: fx.Node) -> bool:
    """Whether `node` holds -1 or 0 in each place, as comparisons give, and no floats."""
    return resolve(node).target in _MASKS
