"""What each function does with time: the rules by which a model is followed through functions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unrolled.streaming.cutting import item, pad
from unrolled.streaming.following import Call, Follower
from unrolled.streaming.parts import Apply, Running, Slot
from unrolled.streaming.values import axis_of
from unrolled.streaming.windows import (
    add_window,
    check_apart,
    first_series,
    follow_conv,
    series_dims,
)

__all__ = ["call_function"]

Rule = Callable[[Follower, Call], Any]

_OF_EACH_NUMBER = frozenset(
    """
    abs add addcdiv addcmul and atan atan2 bfloat16 bitwise_and bitwise_not bitwise_or bool ceil
    celu clamp clamp_max clamp_min clip clone contiguous copysign cos cosh cpu data deg2rad detach
    div double elu eq erf erfc exp exp2 expm1 fill float float_power floor floor_divide floordiv
    fmod full_like ge gelu greater greater_equal gt half hardshrink hardsigmoid hardswish hardtanh
    heaviside hypot iadd idiv imul int invert isfinite isinf isnan isub itruediv le leaky_relu
    lerp less less_equal log log10 log1p log2 logaddexp logical_and logical_not logical_or logit
    logsigmoid long lt masked_fill maximum minimum mish mod mul multiply nan_to_num ne neg
    negative ones_like or pos positive pow prelu radd rdiv real reciprocal relu relu6 remainder
    rfloordiv rmul round rpow rsqrt rsub rtruediv selu sgn sigmoid sign silu sin sinh softplus
    softshrink softsign special_expit sqrt square sub subtract tan tanh tanhshrink threshold to
    true_divide truediv trunc type type_as where xor zeros_like
    """.split()
)
_ALONG = {  # where the dim stands among the arguments, and what it is by default
    **dict.fromkeys("sum mean amax amin argmax argmin max min prod std var any all".split(), 1),
    **dict.fromkeys("softmax log_softmax softmin logsumexp cumsum cummax cumprod".split(), 1),
    **{"norm": 2, "normalize": 2, "topk": 2, "sort": 1, "argsort": 1, "glu": 1, "unbind": 1},
    **{"chunk": 2, "split": 2, "tensor_split": 2, "select": 1, "narrow": 1, "index_select": 1},
}
_DEFAULT_DIM = {"normalize": 1, "unbind": 0, "chunk": 0, "split": 0, "tensor_split": 0} | {
    name: -1 for name in ("topk", "sort", "argsort", "glu")
}
_SHAPING = frozenset(
    """
    T adjoint expand flatten mT movedim moveaxis permute reshape squeeze swapaxes swapdims t
    transpose unflatten unsqueeze view expand_as reshape_as view_as
    """.split()
)
_REORDERING = frozenset(
    "T adjoint mT movedim moveaxis permute swapaxes swapdims t transpose".split()
)
_REASONS = {
    "group_norm": "takes its mean over time",
    "instance_norm": "takes its mean over time",
    "batch_norm": "takes its mean over time, or is not a module in evaluation mode",
    "scaled_dot_product_attention": "looks at all steps (attention)",
    "multi_head_attention_forward": "looks at all steps (attention)",
    "adaptive_avg_pool1d": "pools over all time",
    "adaptive_max_pool1d": "pools over all time",
    "bmm": "multiplies one sequence by another (attention)",
    "baddbmm": "multiplies one sequence by another (attention)",
    "einsum": "may mix steps; matmul with a weight is known",
    "flip": "may turn time round",
    "iter": "goes through the sequence in a loop",
    "bool": "asks for the value of a number that is not there yet",
    **dict.fromkeys(
        ("item", "tolist", "numpy"), "asks for the value of a number that is not there yet"
    ),
    "conv_transpose1d": "makes more steps than it reads",
    "interpolate": "makes other steps than it reads",
}


def call_function(follower: Follower, call: Call) -> Any:
    """Return what a function gives, and write it down.

    Raises:
        OptionError: It cannot be streamed.
    """
    name = call.name.strip("_")
    if call.name == "__bool__":
        raise follower.refuse("if", _REASONS["bool"], "what is decided must not depend on values")
    if (rule := _RULES.get(name)) is not None:
        return rule(follower, call)
    if name in _OF_EACH_NUMBER:
        return _of_each_number(follower, call)
    if name in _ALONG:
        return _along(follower, call)
    if name in _SHAPING:
        return _shaping(follower, call)
    if name not in _REASONS:
        result = _plain(call)
        if result is not None:
            return result
    raise follower.refuse(call.name, _REASONS.get(name, "is not known to keep steps apart"))


def _plain(call: Call) -> Any:
    """Return what is no tensor, such as a shape; None if there is nothing but tensors."""
    try:
        result = call.function(*call.arguments, **call.keywords)
    except Exception:  # whatever it is, it is not a question about a shape
        return None
    parts = result if isinstance(result, (tuple, list)) else [result]
    return None if any(isinstance(part, Tensor) for part in parts) else result


def _of_each_number(follower: Follower, call: Call) -> Any:
    """Of numbers at the same place: time is the same axis, from the end, of all."""
    tensors = [v for v in (*call.arguments, *call.keywords.values()) if isinstance(v, Tensor)]
    series = [s for tensor in tensors if (s := follower.series_of(tensor)) is not None]
    places = {(s.time - s.sample.dim(), s.batch - s.sample.dim()) for s in series}
    numbers = [v for v in (*call.arguments, *call.keywords.values()) if type(v) is int]
    if any(v == s.length or v == s.batch_size for v in numbers for s in series):
        raise follower.refuse(call.name, "computes with the length of the sequence")
    if len(places) > 1:
        raise follower.refuse(call.name, "brings together sequences whose time is another axis")
    for tensor in tensors:
        own = follower.series_of(tensor)
        if own is None and any(axis_of(tensor, s.length) is not None for s in series):
            raise follower.refuse(call.name, "reads something as long as the sequence")
    return follower.apply(call)


def _dims(value: Any, count: int) -> set[int]:
    values = value if isinstance(value, (tuple, list)) else [value]
    return {dim % count for dim in values}


def _along(follower: Follower, call: Call) -> Any:
    series, name = first_series(follower, call), call.name.strip("_")
    dims = call.value(_ALONG[name], "dim", _DEFAULT_DIM.get(name))
    if name in ("max", "min") and isinstance(dims, Tensor):
        return _of_each_number(follower, call)
    if dims is None:
        dims = tuple(range(series.sample.dim()))
    check_apart(follower, call, series, _dims(dims, series.sample.dim()))
    return follower.apply(call)


def _shaping(follower: Follower, call: Call) -> Any:
    series, name = first_series(follower, call), call.name.strip("_")
    if name == "squeeze" and len(call.arguments) + len(call.keywords) == 1:
        raise follower.refuse(call.name, "takes away every axis of size 1", "say which: squeeze(1)")
    result = follower.apply(call)
    reshaped = follower.series_of(result)
    assert reshaped is not None
    if name not in _REORDERING and name not in ("squeeze", "unsqueeze", "expand", "expand_as"):
        before, after = series.sample.shape, result.shape  # as numbers lie one after the other
        for old, new in ((series.time, reshaped.time), (series.batch, reshaped.batch)):
            if before[:old].numel() != after[:new].numel():
                raise follower.refuse(call.name, "mixes steps of time", "transpose(...) swaps axes")
    return result


# ---- Several steps at a time -------------------------------------------------------------------


def _conv(follower: Follower, call: Call) -> Any:
    """conv1d(input, weight, bias, stride, padding, dilation, groups)."""
    values = [
        call.value(n, name, default)
        for n, (name, default) in enumerate(
            {"input": None, "weight": None, "bias": None, "stride": 1, "padding": 0}.items()
        )
    ]
    dilation, groups = call.value(5, "dilation", 1), call.value(6, "groups", 1)
    _, weight, bias, stride, padding = values
    series = first_series(follower, call)
    more = [slot for value in (weight, bias) if (slot := follower.derived_slot(value)) is not None]
    numbers = [
        value if (slot := follower.derived_slot(value)) is None else Slot(1 + more.index(slot))
        for value in (weight, bias)
    ]
    arguments = (Slot(0), *numbers, stride, 0, dilation, groups)
    function = Apply(torch.conv1d, arguments, {}, series.time, series.batch)
    return follow_conv(follower, call, series, function, weight, stride, padding, dilation, more)


def _pool(follower: Follower, call: Call) -> Any:
    """avg_pool1d or max_pool1d(input, kernel_size, stride, padding, ...)."""
    series, size = first_series(follower, call), _one(call.value(1, "kernel_size"))
    stride = _one(call.value(2, "stride") or size)
    names = ["padding", "ceil_mode", "count_include_pad"]
    if call.name == "max_pool1d":
        names = ["padding", "dilation", "ceil_mode", "return_indices"]
    plain = {"padding": 0, "dilation": 1, "count_include_pad": True}
    for place, name in enumerate(names, 3):
        usual = plain.get(name, False)
        if name != "count_include_pad" and call.value(place, name, usual) not in (usual, (usual,)):
            raise follower.refuse(call.name, f"has {name}={call.value(place, name)}", "do without")
    arguments = (Slot(0), size, stride)
    function = Apply(call.function, arguments, {}, series.time, series.batch)
    sample = call.function(series.sample, size, stride)
    none = (0, 0)
    return add_window(
        follower, call, series, function, sample, size=size, stride=stride, padding=none
    )


def _one(value: Any) -> int:
    return int(value[0] if isinstance(value, (tuple, list)) else value)


def _running(follower: Follower, call: Call) -> Any:
    """Sums or maxima of all steps until each one: cumsum or cummax."""
    series, dim = first_series(follower, call), call.value(1, "dim")
    if dim % series.sample.dim() != series.time or call.keywords.get("dtype") is not None:
        return _along(follower, call)
    sample = torch.empty_like(series.sample)
    if not sample.is_floating_point() and call.name == "cumsum":
        sample = sample.long()
    running = replace(series, slot=follower.new_slot(), sample=sample)
    of_maxima = call.name == "cummax"
    part = Running(of_maxima=of_maxima, time=series.time, batch=series.batch)
    follower.append(part, [series.slot], running.slot)
    if not of_maxima:
        return follower.know(running)
    places = follower.end_state(torch.empty_like(sample, dtype=torch.int64))  # which nobody knows
    return torch.return_types.cummax((follower.know(running), places))


# ---- With weights --------------------------------------------------------------------------------


def _last_axis(follower: Follower, call: Call) -> Any:
    """Of a function of the last axis alone, such as linear."""
    series = first_series(follower, call)
    check_apart(follower, call, series, {series.sample.dim() - 1})
    return follower.apply(call)


def _normalised(follower: Follower, call: Call) -> Any:
    """layer_norm or rms_norm(input, normalized_shape, ...)."""
    series, count = first_series(follower, call), series_dims(call.value(1, "normalized_shape"))
    num_dims = series.sample.dim()
    check_apart(follower, call, series, set(range(num_dims - count, num_dims)))
    return follower.apply(call)


def _product(follower: Follower, call: Call) -> Any:
    """Product of a sequence and a weight."""
    a, b = call.arguments[:2]
    if call.name == "__rmatmul__":
        a, b = b, a
    of_a, of_b = follower.series_of(a), follower.series_of(b)
    if of_a is not None and of_b is not None:
        raise follower.refuse(call.name, "multiplies one sequence by another (attention)")
    series = of_a or of_b
    if series is None:
        return follower.apply(call)
    axis = series.sample.dim() - (1 if of_a is not None else 2)
    check_apart(follower, call, series, {axis})
    return follower.apply(call)


def _one_hot(follower: Follower, call: Call) -> Any:
    count = call.value(1, "num_classes", -1)
    if count < 0:
        raise follower.refuse(call.name, "counts the classes that it sees", "say num_classes=")
    if first_series(follower, call).slot == follower.source.slot:
        follower.reads_tokens = count
    return follower.apply(call)


def _embedding(follower: Follower, call: Call) -> Any:
    if first_series(follower, call).slot == follower.source.slot:
        follower.reads_tokens = len(call.value(1, "weight"))
    return follower.apply(call)


def _joined(follower: Follower, call: Call) -> Any:
    """Sequences side by side, by cat or stack, along an axis that is not time."""
    tensors, dim = call.arguments[0], call.value(1, "dim", 0)
    series = [s for tensor in tensors if (s := follower.series_of(tensor)) is not None]
    if not series:
        return follower.apply(call)
    num_dims = series[0].sample.dim() + (call.name == "stack")
    if call.name == "stack":
        if dim % num_dims <= max(series[0].time, series[0].batch) and len(series) < len(tensors):
            raise follower.refuse(call.name, "puts a weight beside a sequence")
        return follower.apply(call)
    check_apart(follower, call, series[0], {dim % num_dims})
    return follower.apply(call)


def _dropout(follower: Follower, call: Call) -> Any:
    defaults = {"training": True}
    if call.value(2, "training", defaults["training"]) and call.value(1, "p", 0.5):
        raise follower.refuse("", "drops numbers at random", "call model.eval() first")
    return call.arguments[0]


def _new(follower: Follower, call: Call) -> Any:  # noqa: ARG001
    """new_zeros and the like: a state to begin with."""
    return call.function(*call.arguments, **call.keywords)


_RULES: dict[str, Rule] = {
    "getitem": item,
    "pad": pad,
    "conv1d": _conv,
    "avg_pool1d": _pool,
    "max_pool1d": _pool,
    "linear": _last_axis,
    "layer_norm": _normalised,
    "rms_norm": _normalised,
    "cumsum": _running,
    "cummax": _running,
    "matmul": _product,
    "rmatmul": _product,
    "one_hot": _one_hot,
    "embedding": _embedding,
    "cat": _joined,
    "concat": _joined,
    "stack": _joined,
    "new_zeros": _new,
    **dict.fromkeys(
        ("dropout", "dropout1d", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"),
        _dropout,
    ),
}
