"""One operation of a traced graph as an expression of C.

Every pointwise operation of ATen that a kernel has is here. What is computed from what, and where
it is stored, is the business of `emit`.

A value is a vector of floats, or a mask where torch has a bool: -1 or 0 in each place, as
comparisons give. Integers, which only come of masks and of numbers in the equations, are floats.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import fx

from unrolled.kernels.trace import UntraceableError

__all__ = ["expression", "is_costly", "is_mask"]

_ATEN = torch.ops.aten

_COSTLY = {
    _ATEN.sigmoid.default: "vsigmoid({})",
    _ATEN.tanh.default: "vtanh({})",
    _ATEN.exp.default: "vexp({})",
    _ATEN.exp2.default: "vexp2({})",
    _ATEN.expm1.default: "vexpm1({})",
    _ATEN.log.default: "vlog({})",
    _ATEN.log2.default: "vlog2({})",
    _ATEN.log10.default: "vlog10({})",
    _ATEN.log1p.default: "vlog1p({})",
    _ATEN.sqrt.default: "vsqrt({})",
    _ATEN.rsqrt.default: "(1.0f / vsqrt({}))",
    _ATEN.reciprocal.default: "(1.0f / {})",
    _ATEN.sin.default: "vsin({})",
    _ATEN.cos.default: "vcos({})",
    _ATEN.tan.default: "vtan({})",
    _ATEN.asin.default: "vasin({})",
    _ATEN.acos.default: "vacos({})",
    _ATEN.atan.default: "vatan({})",
    _ATEN.atan2.default: "vatan2({}, {})",
    _ATEN.sinh.default: "vsinh({})",
    _ATEN.cosh.default: "vcosh({})",
    _ATEN.asinh.default: "vasinh({})",
    _ATEN.acosh.default: "vacosh({})",
    _ATEN.atanh.default: "vatanh({})",
    _ATEN.erf.default: "verf({})",
    _ATEN.erfc.default: "verfc({})",
    _ATEN.hypot.default: "vhypot({}, {})",
    _ATEN.div.Tensor: "({} / {})",
    _ATEN.div.Scalar: "({} / {})",
}
_CHEAP = {
    _ATEN.floor.default: "vfloor({})",
    _ATEN.ceil.default: "vceil({})",
    _ATEN.round.default: "vround({})",
    _ATEN.trunc.default: "vtrunc({})",
}
_WITH_INTEGERS = {  # what integers have too
    _ATEN.mul.Tensor: "({} * {})",
    _ATEN.mul.Scalar: "({} * {})",
    _ATEN.neg.default: "(-{})",
    _ATEN.abs.default: "vabs({})",
    _ATEN.sign.default: "vsign({})",
    _ATEN.relu.default: "vmax({}, splat(0.0f))",
    _ATEN.maximum.default: "vmax({}, {})",
    _ATEN.minimum.default: "vmin({}, {})",
}
_COMPARISONS = {
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
    _ATEN.isnan.default: "({0} != {0})",
    _ATEN.isinf.default: "(vabs({}) == INFINITY)",
}
_OF_MASKS = {  # operations whose result is a mask, and which read their arguments as masks
    _ATEN.logical_and.default: "({} & {})",
    _ATEN.logical_or.default: "({} | {})",
    _ATEN.logical_xor.default: "({} ^ {})",
    _ATEN.logical_not.default: "(~{})",
    _ATEN.bitwise_and.Tensor: "({} & {})",
    _ATEN.bitwise_and.Scalar: "({} & {})",
    _ATEN.bitwise_or.Tensor: "({} | {})",
    _ATEN.bitwise_or.Scalar: "({} | {})",
    _ATEN.bitwise_xor.Tensor: "({} ^ {})",
    _ATEN.bitwise_xor.Scalar: "({} ^ {})",
    _ATEN.bitwise_not.default: "(~{})",
    _ATEN.where.self: "(({0} & {1}) | (~{0} & {2}))",
    _ATEN.add.Tensor: "({} | {})",
    _ATEN.mul.Tensor: "({} & {})",
    _ATEN.maximum.default: "({} | {})",
    _ATEN.minimum.default: "({} & {})",
    _ATEN._to_copy.default: "{}",
}
_ADDITIONS = (_ATEN.add.Tensor, _ATEN.add.Scalar, _ATEN.sub.Tensor, _ATEN.sub.Scalar)
_CLAMPS = (_ATEN.clamp.default, _ATEN.clamp.Tensor, _ATEN.hardtanh.default)
_POWERS = (_ATEN.pow.Tensor_Scalar, _ATEN.pow.Tensor_Tensor, _ATEN.pow.Scalar)
_INTEGERS = (torch.int32, torch.int64)
_INTEGER_FORMS = {*_WITH_INTEGERS, *_ADDITIONS, *_CLAMPS, _ATEN.where.self, _ATEN._to_copy.default}

Value = Callable[[Any], str]


class Names(Protocol):
    """What each node is called in C."""

    def __getitem__(self, node: fx.Node) -> str: ...


def expression(node: fx.Node, names: "Names") -> str:
    """Return the C expression of one operation: of a mask if `is_mask(node)`, else of floats.

    Raises:
        UntraceableError: no kernel has the operation; it is named.
    """

    def floats(argument: Any) -> str:
        if not isinstance(argument, fx.Node):
            return f"splat({_number(argument)})"
        if is_mask(argument):
            return f"select({names[argument]}, splat(1.0f), splat(0.0f))"
        return names[argument]

    def mask(argument: Any) -> str:
        if not isinstance(argument, fx.Node):
            return f"((vi){{0}} - {int(bool(argument))})"
        if is_mask(argument):
            return names[argument]
        return f"({names[argument]} != 0.0f)"

    text = _mask(node, floats, mask) if is_mask(node) else _floats(node, floats, mask)
    if text is None:
        of = "" if _dtype(node) in (torch.float32, torch.bool) else f" in {_dtype(node)}"
        raise UntraceableError(f"no kernel has the operation {node.target}{of}")
    return text


def _mask(node: fx.Node, floats: Value, mask: Value) -> str | None:
    target: Any = node.target
    if target is _ATEN.full.default:
        return mask(node.args[1])
    if target in _COMPARISONS:
        return _COMPARISONS[target].format(*map(floats, node.args))
    if target in _OF_MASKS and not node.kwargs.get("alpha"):
        return _OF_MASKS[target].format(*map(mask, node.args))
    return None


def _floats(node: fx.Node, floats: Value, mask: Value) -> str | None:
    target: Any = node.target
    arguments: list[Any] = list(node.args)
    if target is _ATEN.full.default:
        return floats(arguments[1])
    if _dtype(node) is not torch.float32 and not _is_integer(node):
        return None
    if target is _ATEN.where.self:
        condition, *choices = arguments
        return f"select({mask(condition)}, {', '.join(map(floats, choices))})"
    if target is _ATEN._to_copy.default:
        return floats(arguments[0])
    if target in _ADDITIONS:
        sign = "+" if "add" in str(target) else "-"
        factor = node.kwargs.get("alpha", 1)
        right = floats(arguments[1])
        right = right if factor == 1 else f"({floats(factor)} * {right})"
        return f"({floats(arguments[0])} {sign} {right})"
    if target in _CLAMPS:
        defaults = [-1, 1] if target is _ATEN.hardtanh.default else [None, None]
        return _clamp(floats, *arguments, *defaults[len(arguments) - 1 :])
    if target is _ATEN.elu.default:
        return _elu(floats, *arguments)
    if target is _ATEN.leaky_relu.default:
        x, slope = floats(arguments[0]), floats([*arguments, 0.01][1])
        return f"select({x} > splat(0.0f), {x}, {x} * {slope})"
    if target is _ATEN.gelu.default:
        return _gelu(floats(arguments[0]), str(node.kwargs.get("approximate", "none")))
    if target in _POWERS:
        return _power(floats, *arguments)
    form = _COSTLY.get(target) or _CHEAP.get(target) or _WITH_INTEGERS.get(target)
    return form and form.format(*map(floats, arguments))


def _number(value: Any) -> str:
    """Return a float literal of C."""
    if not isinstance(value, int | float):
        raise UntraceableError(f"no kernel has the number {value}")
    text = repr(float(value))
    special = {"inf": "INFINITY", "-inf": "(-INFINITY)", "nan": "NAN"}
    return special.get(text, f"{text}f")


def _clamp(floats: Value, x: Any, low: Any, high: Any) -> str:
    text = floats(x)
    if low is not None:
        text = f"vmax({text}, {floats(low)})"
    return text if high is None else f"vmin({text}, {floats(high)})"


def _elu(floats: Value, x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> str:
    below = f"({floats(alpha * scale)} * vexpm1({floats(x)} * {floats(input_scale)}))"
    return f"select({floats(x)} > splat(0.0f), {floats(x)} * {floats(scale)}, {below})"


def _gelu(x: str, approximate: str) -> str:
    if approximate == "tanh":
        cubic = f"({x} + splat(0.044715f) * {x} * {x} * {x})"
        return f"(splat(0.5f) * {x} * (splat(1.0f) + vtanh(splat(0.7978845608f) * {cubic})))"
    return f"(splat(0.5f) * {x} * (splat(1.0f) + verf(splat(0.70710678f) * {x})))"


def _power(floats: Value, base: Any, exponent: Any) -> str:
    x = floats(base)
    forms = {
        0.0: "splat(1.0f)",
        1.0: "{0}",
        2.0: "({0} * {0})",
        3.0: "({0} * {0} * {0})",
        0.5: "vsqrt({0})",
        -1.0: "(1.0f / {0})",
        -2.0: "(1.0f / ({0} * {0}))",
        -0.5: "(1.0f / vsqrt({0}))",
    }
    if isinstance(exponent, fx.Node) or float(exponent) not in forms:
        return f"vpow({x}, {floats(exponent)})"
    return forms[float(exponent)].format(x)


def is_costly(node: fx.Node) -> bool:
    """Whether computing `node` again costs more than reading it from memory."""
    return node.target in _COSTLY or node.target in _POWERS


def is_mask(node: fx.Node) -> bool:
    """Whether `node` holds -1 or 0 in each place, as comparisons give, and no floats."""
    return _dtype(node) is torch.bool


def _is_integer(node: fx.Node) -> bool:
    """Whether `node` holds integers that floats can hold: made of masks, not of floats."""
    if _dtype(node) not in _INTEGERS or node.target not in _INTEGER_FORMS:
        return False
    sources = node.all_input_nodes
    return all(is_mask(source) or _dtype(source) in _INTEGERS for source in sources)


def _dtype(node: fx.Node) -> torch.dtype:
    dtype: torch.dtype = node.meta["val"].dtype
    return dtype
