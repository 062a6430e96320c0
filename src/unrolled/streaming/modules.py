"""What each module does with time: the rules for those whose weights are read at every piece."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.layers import FiniteMemoryLayer, RecurrentLayer, state_tensors
from unrolled.streaming.following import Call, Follower
from unrolled.streaming.parts import Apply, Layer, Slot, TorchLayer
from unrolled.streaming.values import Series
from unrolled.streaming.windows import check_apart, follow_conv, series_dims

__all__ = ["call_module"]

Ordinary = Callable[..., Any]


def call_module(follower: Follower, call: Call, ordinary: Ordinary) -> Any:
    """Return what a module gives, and write it down; one without a rule is looked into.

    Raises:
        OptionError: It cannot be streamed.
    """
    module: Any = call.function
    if getattr(module, "bidirectional", False) is True:
        why = "reads the sequence from its end too (bidirectional)"
        raise follower.refuse("", why, "use one direction to stream")
    if isinstance(module, (torch.jit.ScriptModule, torch._dynamo.OptimizedModule)):
        raise follower.refuse("", "is compiled", "give the module that was compiled")
    hooked = module._forward_hooks or module._forward_pre_hooks
    if hooked and isinstance(module, nn.Conv1d):  # which is not called as it is
        return ordinary(module, *call.arguments, **call.keywords)
    rule = next((rule for kinds, rule in _RULES if _is_one_of(module, kinds)), None)
    if rule is None:
        return ordinary(module, *call.arguments, **call.keywords)
    with torch._C.DisableTorchFunction():
        return rule(follower, call)


def _input(follower: Follower, call: Call) -> Series:
    series = follower.series_of(call.value(0, "input"))
    if series is None:
        follower.apply(call)  # refuses the state at an end
        raise follower.refuse("", "reads a sequence where it should not")
    return series


def _layer(follower: Follower, call: Call) -> Any:
    layer: Any = call.function
    series, state = _input(follower, call), call.value(1, "hx")
    if call.keywords.get("lengths") is not None:
        raise follower.refuse("", "is given lengths", "a stream's rows have no end yet")
    own: tuple[str, ...] = layer.cell.inputs if isinstance(layer, RecurrentLayer) else ()
    wanted = layer.wanted_inputs if own else ()
    if inputs := [name for name in own if name in wanted or name in call.keywords]:
        why = f"reads {', '.join(inputs)} at every step beside x"
        raise follower.refuse("", why, "stream the layer itself: layer.stream()")
    if not _is_zero(state):
        raise follower.refuse("", "begins with a state that is not zero", "begin with none")
    if layer.training and getattr(layer, "dropout", 0.0):
        raise follower.refuse("", "drops units at random", "call model.eval() first")
    ours = isinstance(layer, (RecurrentLayer, FiniteMemoryLayer))
    time = 1 if layer.batch_first else 0
    if (series.time, series.batch) != (time, 1 - time) or series.sample.dim() != 3:
        raise follower.refuse("", "reads time along another axis", "see batch_first=")
    if series.sample.shape[2] != layer.input_size:
        got = series.sample.shape[2]
        raise follower.refuse("", f"reads {layer.input_size} features, and is given {got}")
    width = layer.output_size if ours else (layer.proj_size or layer.hidden_size)
    weight = next(layer.parameters())
    shape = [*series.sample.shape[:2], width]
    sample = torch.empty(shape, dtype=weight.dtype, device="meta")
    output = series.like(follower.new_slot(), sample)
    part = Layer(layer, follower.batch_size) if ours else TorchLayer(layer)
    follower.append(part, [series.slot], output.slot)
    return follower.know(output), _end_state(follower, layer, series.batch_size, ours)


def _end_state(follower: Follower, layer: Any, batch_size: int, ours: bool) -> Any:
    if ours:
        state = layer.initial_state(batch_size)
        ends = [
            follower.end_state(torch.empty_like(s, device="meta")) for s in state_tensors(state)
        ]
        if isinstance(state, Tensor):
            return ends[0]
        return getattr(type(state), "_make", tuple)(ends)
    count = 2 if isinstance(layer, nn.LSTM) else 1
    shape = (layer.num_layers, batch_size, layer.hidden_size)
    ends = [follower.end_state(torch.empty(shape, device="meta")) for _ in range(count)]
    return tuple(ends) if count == 2 else ends[0]


def _is_zero(state: Any) -> bool:
    """Whether a state to begin with is none, or zeros; one of new_zeros has no memory."""
    if state is None:
        return True
    if isinstance(state, Tensor):
        return state.is_meta or not bool(state.any())
    return all(map(_is_zero, state))


def _conv(follower: Follower, call: Call) -> Any:
    module: Any = call.function
    series = _input(follower, call)
    if module.padding_mode != "zeros" and module.padding not in (0, (0,)):
        raise follower.refuse("", f"pads time by the mode {module.padding_mode!r}", "use zeros")
    function = Apply(_Unpadded(module), (Slot(0),), {}, series.time, series.batch)
    return follow_conv(
        follower,
        call,
        series,
        function,
        module.weight,
        module.stride,
        module.padding,
        module.dilation,
    )


class _Unpadded:
    """A convolution without its padding, which a `Window` has."""

    def __init__(self, module: nn.Conv1d) -> None:
        self._module = module

    def __call__(self, x: Tensor) -> Tensor:
        m = self._module
        return torch.conv1d(x, m.weight, m.bias, m.stride, 0, m.dilation, m.groups)


def _batch_norm(follower: Follower, call: Call) -> Any:
    module: Any = call.function
    series = _input(follower, call)
    if module.training or module.running_mean is None:
        raise follower.refuse("", "takes its mean over the batch", "call model.eval() first")
    if series.time == 1 or series.batch != 0:
        raise follower.refuse("", "reads time along another axis", "it reads (B, C, T)")
    return follower.apply(call)


def _last_axis(follower: Follower, call: Call) -> Any:
    series = _input(follower, call)
    check_apart(follower, call, series, {series.sample.dim() - 1})
    return follower.apply(call)


def _normalised(follower: Follower, call: Call) -> Any:
    module: Any = call.function
    series, count = _input(follower, call), series_dims(module.normalized_shape)
    num_dims = series.sample.dim()
    check_apart(follower, call, series, set(range(num_dims - count, num_dims)))
    return follower.apply(call)


def _embedding(follower: Follower, call: Call) -> Any:
    module: Any = call.function
    if _input(follower, call).slot == follower.source.slot:
        follower.reads_tokens = module.num_embeddings
    return follower.apply(call)


def _is_one_of(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether it is a module of such a kind, and not one with a `forward` of its own.

    The class of an accelerated layer is equal to torch's, and does what that does.
    """
    own: Any = type(module)
    return any(
        isinstance(module, kind) and (own.forward is kind.forward or own == kind) for kind in kinds
    )


_RULES: tuple[tuple[tuple[type[nn.Module], ...], Callable[[Follower, Call], Any]], ...] = (
    ((RecurrentLayer, FiniteMemoryLayer, nn.LSTM, nn.GRU, nn.RNN), _layer),
    ((nn.Conv1d,), _conv),
    ((nn.Linear,), _last_axis),
    ((nn.Embedding,), _embedding),
    ((nn.BatchNorm1d,), _batch_norm),
    ((nn.LayerNorm, nn.RMSNorm), _normalised),
)
