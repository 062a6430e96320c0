"""One operation of a captured graph as an expression of C.

Every pointwise operation of ATen that a kernel has is a row of one table. What is computed from
what, and where it is stored, is the business of `gate_row` and `step_functions`.

A value is a vector of floats, or a mask where torch has a bool: -1 or 0 in each place, as
comparisons give. Integers, which only come of masks and of numbers in the equations, are floats.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import fx

from unrolled.kernels.capturing import EquationsError, is_over_units

__all__ = ["as_floats", "expression", "is_costly", "is_mask", "operand", "require_floats"]

_ATEN = torch.ops.aten
_INTEGERS = (torch.int32, torch.int64)

_Write = Callable[[Any], str]  # an argument, as floats
_Text = str | Callable[..., str]


class Form(NamedTuple):
    """How C writes one operation.

    floats: The expression where the result is floats, None if it never is. In a text, `{}` is an
        argument as floats and `{0.mask}` the first one as a mask; a function takes what writes an
        argument as floats, then the arguments.
    mask: The same where the result is a mask.
    costly: Whether computing the result again costs more than reading it from memory.
    integers: Whether it serves for integers too.
    """

    floats: _Text | None
    mask: str | None = None
    costly: bool = False
    integers: bool = False


# ---- Operations that are more than one text ------------------------------------------------------


def _sum(sign: str) -> _Text:
    def text(write: _Write, left: Any, right: Any, alpha: Any = 1) -> str:
        scaled = write(right) if alpha == 1 else f"({write(alpha)} * {write(right)})"
        return f"({write(left)} {sign} {scaled})"

    return text


def _clamp(write: _Write, x: Any, low: Any = None, high: Any = None) -> str:
    text = write(x)
    if low is not None:
        text = f"vmax({text}, {write(low)})"
    return text if high is None else f"vmin({text}, {write(high)})"


def _hardtanh(write: _Write, x: Any, low: Any = -1, high: Any = 1) -> str:
    return _clamp(write, x, low, high)


def _elu(write: _Write, x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> str:
    below = f"({write(alpha * scale)} * vexpm1({write(x)} * {write(input_scale)}))"
    return f"select({write(x)} > splat(0.0f), {write(x)} * {write(scale)}, {below})"


def _leaky_relu(write: _Write, x: Any, slope: Any = 0.01) -> str:
    return f"select({write(x)} > splat(0.0f), {write(x)}, {write(x)} * {write(slope)})"


def _gelu(write: _Write, argument: Any, *, approximate: str = "none") -> str:
    """Return x times a share that is 1 + erf or 1 + tanh, of which below zero little is left.

    So it is written as what is left: erfc and sigmoid.
    """
    x = write(argument)
    if approximate == "tanh":
        cubic = f"({x} + splat(0.044715f) * {x} * {x} * {x})"
        return f"({x} * vsigmoid(splat(1.5957691216f) * {cubic}))"
    return f"(splat(0.5f) * {x} * verfc(splat(-0.70710678f) * {x}))"


_POWERS = {
    0.0: "splat(1.0f)",
    1.0: "{0}",
    2.0: "({0} * {0})",
    3.0: "({0} * {0} * {0})",
    0.5: "vsqrt({0})",
    -1.0: "(1.0f / {0})",
    -2.0: "(1.0f / ({0} * {0}))",
    -0.5: "(1.0f / vsqrt({0}))",
}


def _power(write: _Write, base: Any, exponent: Any) -> str:
    if isinstance(exponent, fx.Node) or float(exponent) not in _POWERS:
        return f"vpow({write(base)}, {write(exponent)})"
    return _POWERS[float(exponent)].format(write(base))


# ---- The table -----------------------------------------------------------------------------------

_TABLE = {
    "sigmoid.default": Form("vsigmoid({})", costly=True),
    "tanh.default": Form("vtanh({})", costly=True),
    "exp.default": Form("vexp({})", costly=True),
    "exp2.default": Form("vexp2({})", costly=True),
    "expm1.default": Form("vexpm1({})", costly=True),
    "log.default": Form("vlog({})", costly=True),
    "log2.default": Form("vlog2({})", costly=True),
    "log10.default": Form("vlog10({})", costly=True),
    "log1p.default": Form("vlog1p({})", costly=True),
    "sqrt.default": Form("vsqrt({})", costly=True),
    "rsqrt.default": Form("(1.0f / vsqrt({}))", costly=True),
    "reciprocal.default": Form("(1.0f / {})", costly=True),
    "sin.default": Form("vsin({})", costly=True),
    "cos.default": Form("vcos({})", costly=True),
    "tan.default": Form("vtan({})", costly=True),
    "asin.default": Form("vasin({})", costly=True),
    "acos.default": Form("vacos({})", costly=True),
    "atan.default": Form("vatan({})", costly=True),
    "atan2.default": Form("vatan2({}, {})", costly=True),
    "sinh.default": Form("vsinh({})", costly=True),
    "cosh.default": Form("vcosh({})", costly=True),
    "asinh.default": Form("vasinh({})", costly=True),
    "acosh.default": Form("vacosh({})", costly=True),
    "atanh.default": Form("vatanh({})", costly=True),
    "erf.default": Form("verf({})", costly=True),
    "erfc.default": Form("verfc({})", costly=True),
    "hypot.default": Form("vhypot({}, {})", costly=True),
    "div.Tensor div.Scalar": Form("({} / {})", costly=True),
    "pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar": Form(_power, costly=True),
    "floor.default": Form("vfloor({})"),
    "ceil.default": Form("vceil({})"),
    "round.default": Form("vround({})"),
    "trunc.default": Form("vtrunc({})"),
    "elu.default": Form(_elu),
    "leaky_relu.default": Form(_leaky_relu),
    "gelu.default": Form(_gelu),
    "add.Tensor": Form(_sum("+"), mask="({0.mask} | {1.mask})", integers=True),
    "add.Scalar": Form(_sum("+"), integers=True),
    "sub.Tensor sub.Scalar": Form(_sum("-"), integers=True),
    "mul.Tensor": Form("({} * {})", mask="({0.mask} & {1.mask})", integers=True),
    "mul.Scalar": Form("({} * {})", integers=True),
    "neg.default": Form("(-{})", integers=True),
    "abs.default": Form("vabs({})", integers=True),
    "sign.default": Form("vsign({})", integers=True),
    "relu.default": Form("vmax({}, splat(0.0f))", integers=True),
    "maximum.default": Form("vmax({}, {})", mask="({0.mask} | {1.mask})", integers=True),
    "minimum.default": Form("vmin({}, {})", mask="({0.mask} & {1.mask})", integers=True),
    "clamp.default clamp.Tensor": Form(_clamp, integers=True),
    "hardtanh.default": Form(_hardtanh, integers=True),
    "where.self": Form(
        "select({0.mask}, {1}, {2})",
        mask="(({0.mask} & {1.mask}) | (NOT({0.mask}) & {2.mask}))",
        integers=True,
    ),
    "_to_copy.default": Form("{0}", mask="{0.mask}", integers=True),
    "gt.Tensor gt.Scalar": Form(None, mask="({} > {})"),
    "ge.Tensor ge.Scalar": Form(None, mask="({} >= {})"),
    "lt.Tensor lt.Scalar": Form(None, mask="({} < {})"),
    "le.Tensor le.Scalar": Form(None, mask="({} <= {})"),
    "eq.Tensor eq.Scalar": Form(None, mask="({} == {})"),
    "ne.Tensor ne.Scalar": Form(None, mask="({} != {})"),
    "isnan.default": Form(None, mask="({0} != {0})"),
    "isinf.default": Form(None, mask="(vabs({}) == INFINITY)"),
    "logical_and.default": Form(None, mask="({0.mask} & {1.mask})"),
    "logical_or.default": Form(None, mask="({0.mask} | {1.mask})"),
    "logical_xor.default": Form(None, mask="({0.mask} ^ {1.mask})"),
    "logical_not.default": Form(None, mask="NOT({0.mask})"),
    "bitwise_and.Tensor bitwise_and.Scalar": Form(None, mask="({0.mask} & {1.mask})"),
    "bitwise_or.Tensor bitwise_or.Scalar": Form(None, mask="({0.mask} | {1.mask})"),
    "bitwise_xor.Tensor bitwise_xor.Scalar": Form(None, mask="({0.mask} ^ {1.mask})"),
    "bitwise_not.default": Form(None, mask="NOT({0.mask})"),
}


def _operation(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(_ATEN, packet), overload)


_FORMS: dict[Any, Form] = {
    _operation(name): form for names, form in _TABLE.items() for name in names.split()
}


# ---- From a node to its text ---------------------------------------------------------------------


class Names(Protocol):
    """What each node is called in C."""

    def __getitem__(self, node: fx.Node) -> str: ...


class _Operand:
    """An argument of an operation in a form's text: floats, or as `.mask` a mask."""

    def __init__(self, argument: Any, names: Names) -> None:
        self._argument, self._names = argument, names

    def __str__(self) -> str:
        if isinstance(self._argument, fx.Node):
            return as_floats(self._argument, self._names)
        return f"splat({_number(self._argument)})"

    @property
    def mask(self) -> str:
        if not isinstance(self._argument, fx.Node):
            return f"MASK({int(bool(self._argument))})"
        name = self._names[self._argument]
        return name if is_mask(self._argument) else f"({name} != 0.0f)"


def expression(node: fx.Node, names: Names) -> str:
    """Return the C expression of one operation: of a mask if `is_mask(node)`, else of floats.

    Raises:
        EquationsError: No kernel has the operation; it is named.
    """

    def write(argument: Any) -> str:
        return str(_Operand(argument, names))

    if node.target is _ATEN.full.default:  # a number in the equations, of whatever type
        number = _Operand(node.args[1], names)
        return number.mask if is_mask(node) else str(number)
    text = _text_for(node)
    if callable(text):
        return text(write, *node.args, **node.kwargs)
    if text is not None:
        return text.format(*(_Operand(argument, names) for argument in node.args))
    note = "" if _dtype(node) in (torch.float32, torch.bool) else f" in {_dtype(node)}"
    line = node.meta.get("line", "")
    raise EquationsError(f"no kernel has the operation {node.target}{note}{line}")


def operand(argument: Any, names: Names) -> str:
    """Return the C expression of an argument of an operation as floats."""
    return str(_Operand(argument, names))


def _text_for(node: fx.Node) -> _Text | None:
    form = _FORMS.get(node.target)
    if form is None:
        return None
    if is_mask(node):
        return None if node.kwargs.get("alpha") else form.mask
    if _dtype(node) is torch.float32 or (form.integers and _is_integer(node)):
        return form.floats
    return None


def as_floats(node: fx.Node, names: Names) -> str:
    """Return the C expression of the value of `node` as floats."""
    name = names[node]
    return f"select({name}, splat(1.0f), splat(0.0f))" if is_mask(node) else name


def require_floats(node: fx.Node) -> None:
    """Raise `EquationsError` if an operation over units does not give floats, or counts masks."""
    if _dtype(node) is not torch.float32 and not _is_integer(node):
        line = node.meta.get("line", "")
        raise EquationsError(f"no kernel has the operation {node.target} in {_dtype(node)}{line}")


def is_costly(node: fx.Node) -> bool:
    """Whether computing `node` again costs more than reading it from memory."""
    if is_over_units(node):
        source = node.args[0]
        return isinstance(source, fx.Node) and source.target is not _ATEN.full.default
    form = _FORMS.get(node.target)
    return form is not None and form.costly


def is_mask(node: fx.Node) -> bool:
    """Whether `node` holds -1 or 0 in each place, as comparisons give, rather than floats."""
    return _dtype(node) is torch.bool


def _is_integer(node: fx.Node) -> bool:
    """Whether `node` holds integers that floats can hold: made of masks, not of floats."""
    return _dtype(node) in _INTEGERS and all(
        is_mask(source) or _dtype(source) in _INTEGERS for source in node.all_input_nodes
    )


def _number(value: Any) -> str:
    """Return a float literal of C."""
    if not isinstance(value, int | float):
        raise EquationsError(f"no kernel has the number {value}")
    text = repr(float(value))
    special = {"inf": "INFINITY", "-inf": "(-INFINITY)", "nan": "NAN"}
    return special.get(text, f"{text}f")


def _dtype(node: fx.Node) -> torch.dtype:
    dtype: torch.dtype = node.meta["val"].dtype
    return dtype
