"""Operations over all units of a row: which there are, and what others are made of.

A reduction gives each row one number: a sum, the greatest or the least of its units. A running sum
gives each unit the sum up to it. Everything else over units is composed of these, so that no graph
holds the number of units itself.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

__all__ = [
    "COMPOSED",
    "HINTS",
    "OWN",
    "REDUCTIONS",
    "RUNNING_SUMS",
    "evaluated_over_units",
    "is_over_units",
    "reversed_cumsum",
]

_ATEN = torch.ops.aten

REDUCTIONS = (
    _ATEN.sum.dim_IntList,
    _ATEN.sum.default,
    _ATEN.amax.default,
    _ATEN.amin.default,
)


def reversed_cumsum(x: Tensor, dim: int = -1) -> Tensor:
    """Return for each unit the sum from it to the last, as the gradient of a running sum has it."""
    return x.flip(dim).cumsum(dim).flip(dim)


RUNNING_SUMS = (_ATEN.cumsum.default, reversed_cumsum)

# By the beginning of an operation's name in ATen, what comes nearest to it in a kernel.
HINTS = {
    "max.dim": "amax(-1, keepdim=True)",
    "min.dim": "amin(-1, keepdim=True)",
    "max.default": "amax(-1, keepdim=True)",
    "min.default": "amin(-1, keepdim=True)",
    "prod": "exp of the sum of log",
    "cumprod": "exp of the cumsum of log",
    "logcumsumexp": "log of the cumsum of exp",
    "flip": "1 - cumsum, or flip(cumsum(flip(..)))",
    "native_layer_norm": "layer_norm(v, v.shape[-1:])",
    "native_group_norm": "layer_norm(v, v.shape[-1:])",
    "native_batch_norm": "layer_norm(v, v.shape[-1:])",
    "linalg_vector_norm": "the norm of order 1 or 2",
}


def is_over_units(node: fx.Node) -> bool:
    """Whether a node of a graph needs all units of a row."""
    return node.target in REDUCTIONS or node.target in RUNNING_SUMS


def evaluated_over_units(node: fx.Node, x: Tensor) -> Tensor:
    """Return what such a node computes of x, (..., H): (..., 1), or (..., H) of a running sum."""
    if node.target in RUNNING_SUMS:
        running: Tensor = node.target(x, -1)
        return running
    name = node.target.overloadpacket.__name__  # type: ignore[union-attr]  # an operation
    reduced: Tensor = getattr(x, name)(-1, keepdim=True)
    return reduced


# ---- Above autograd: functions whose gradient, as torch has it, holds the number of units --------


def _count(x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    return torch.ones_like(x).sum(dim, keepdim)


def _mean(x: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    x = x if dtype is None else x.to(dtype)
    return x.sum(dim, keepdim) / _count(x, dim, keepdim)


def _var(
    x: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    if isinstance(dim, bool):  # var(unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    centred = x - _mean(x, dim, True)
    return (centred * centred).sum(dim, keepdim) / (_count(x, dim, keepdim) - correction)


def _std(*arguments: Any, **keywords: Any) -> Tensor:
    variance = _var(*arguments, **keywords)
    is_zero = variance == 0  # where torch takes the gradient to be zero
    root = torch.sqrt(variance.masked_fill(is_zero, 1))
    return root.masked_fill(is_zero, 0)


def _var_mean(x: Tensor, dim: Any = None, *rest: Any, **keywords: Any) -> tuple[Tensor, Tensor]:
    keepdim = keywords.get("keepdim", rest[1] if len(rest) > 1 else False)
    return _var(x, dim, *rest, **keywords), _mean(x, dim, keepdim)


def _std_mean(x: Tensor, dim: Any = None, *rest: Any, **keywords: Any) -> tuple[Tensor, Tensor]:
    keepdim = keywords.get("keepdim", rest[1] if len(rest) > 1 else False)
    return _std(x, dim, *rest, **keywords), _mean(x, dim, keepdim)


def _rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    dims = list(range(-len(normalized_shape), 0))
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    normal = input * torch.rsqrt(_mean(input * input, dims, True) + eps)
    return normal if weight is None else normal * weight


COMPOSED: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((torch.mean, Tensor.mean), _mean),
    **dict.fromkeys((torch.var, Tensor.var), _var),
    **dict.fromkeys((torch.std, Tensor.std), _std),
    torch.var_mean: _var_mean,
    torch.std_mean: _std_mean,
    torch.rms_norm: _rms_norm,
    torch.nn.functional.rms_norm: _rms_norm,
}
"""What the equations call, and what is called in its place while they are captured."""


# ---- Below autograd: operations that have a gradient of their own --------------------------------


def _is_of_units(x: Tensor, shape: Sequence[int]) -> bool:
    return len(shape) == 1 and shape[0] == x.shape[-1]


def _mean_of_units(x: Tensor) -> Tensor:
    return _mean(x, [-1], True)


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Any:
    if not _is_of_units(x, shape):
        return NotImplemented
    mean = _mean_of_units(x)
    centred = x - mean
    scale = torch.rsqrt(_mean_of_units(centred * centred) + eps)
    y = centred * scale
    y = y if weight is None else y * weight
    return y if bias is None else y + bias, mean, scale


def _layer_norm_backward(
    gradient: Tensor,
    x: Tensor,
    shape: Sequence[int],
    mean: Tensor,
    scale: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,  # noqa: ARG001 - as torch's
    wanted: Sequence[bool],
) -> Any:
    if not _is_of_units(x, shape):
        return NotImplemented
    y = (x - mean) * scale
    inner = gradient if weight is None else gradient * weight
    d_x = (inner - _mean_of_units(inner) - y * _mean_of_units(inner * y)) * scale
    d_weight = (gradient * y).sum(0) if wanted[1] else None
    return d_x, d_weight, gradient.sum(0) if wanted[2] else None


def _softmax(x: Tensor, dim: int, half_to_float: bool) -> Any:
    if half_to_float:
        return NotImplemented
    powers = torch.exp(x - x.amax(dim, keepdim=True))
    return powers / powers.sum(dim, keepdim=True)


def _log_softmax(x: Tensor, dim: int, half_to_float: bool) -> Any:
    if half_to_float:
        return NotImplemented
    shifted = x - x.amax(dim, keepdim=True)
    return shifted - torch.log(torch.exp(shifted).sum(dim, keepdim=True))


def _logsumexp(x: Tensor, dim: list[int], keepdim: bool = False) -> Tensor:
    most = x.amax(dim, keepdim=True)
    most = torch.where(most.abs() == math.inf, 0.0, most)  # as torch
    total = torch.log(torch.exp(x - most).sum(dim, keepdim=True)) + most
    return total if keepdim else total.sum(dim)  # over what is of size 1


def _vector_norm(
    x: Tensor,
    order: float = 2,
    dim: list[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Any:
    if dtype is not None or order not in (1, 2):
        return NotImplemented
    if order == 1:
        return x.abs().sum(dim, keepdim)
    return torch.sqrt((x * x).sum(dim, keepdim))


OWN: dict[Any, Callable[..., Any]] = {
    _ATEN.native_layer_norm.default: _layer_norm,
    _ATEN.native_layer_norm_backward.default: _layer_norm_backward,
    _ATEN._softmax.default: _softmax,
    _ATEN._log_softmax.default: _log_softmax,
    _ATEN.logsumexp.default: _logsumexp,
    _ATEN.linalg_vector_norm.default: _vector_norm,
}
"""What these operations are written as, where a graph is of all units of a row."""
