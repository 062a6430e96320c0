"""Classes of accelerated layers: each a subclass of the layer's own class with another `forward`.

Where the layer's own class has a `forward`, which calls `super().forward`, that stays, and the
other one comes between it and torch's.

A layer becomes accelerated by its `__class__`, and nothing in it changes. What looks at classes is
to see no difference: the new one has the name and the module of the old one and equals it, so that
`type(layer) == nn.LSTM` and tables by type (`quantize_dynamic`) go on as before.
"""

import inspect
from collections.abc import Callable
from functools import partial
from threading import Lock
from types import FunctionType
from typing import Any

from torch import nn
from torch._C._dynamo.eval_frame import _FrameAction, _FrameExecStrategy, set_code_exec_strategy
from torch.nn.utils.parametrize import is_parametrized

from unrolled.acceleration.sequences import read_sequences
from unrolled.acceleration.smaller import forget_packed
from unrolled.acceleration.steps import read_step
from unrolled.kernels import WeightFormat

__all__ = [
    "FORWARDS",
    "has_another_forward",
    "is_accelerated",
    "own_class",
    "put_on_kernels",
    "stored_weights",
    "take_off_kernels",
]

Run = Callable[..., Any]

FORWARDS: dict[type, Run] = {
    nn.RNN: read_sequences,
    nn.LSTM: read_sequences,
    nn.GRU: read_sequences,
    nn.RNNCell: read_step,
    nn.LSTMCell: read_step,
    nn.GRUCell: read_step,
}
"""What each class of torch does by kernels: (layer, input, hx, weights=) -> results, or None."""


class _AcceleratedType(type):
    """The type of accelerated classes: as a key of a table each is the class that it is made of."""

    def __eq__(cls, other: object) -> bool:
        return _own(cls) is _own(other)

    def __hash__(cls) -> int:
        return type.__hash__(_own(cls))


def _own(cls: Any) -> Any:
    """Return the class that an accelerated class is made of; any other one itself."""
    return vars(cls).get("_accelerated_from", cls) if isinstance(cls, _AcceleratedType) else cls


def own_class(layer: nn.Module) -> type:
    """Return the class of a layer as it was before it was accelerated, or parametrised."""
    cls = type(layer)
    if is_parametrized(layer):
        cls = cls.__bases__[0]
    own: type = _own(cls)
    return own


def is_accelerated(layer: nn.Module) -> bool:
    """Whether a layer's forward is one of ours."""
    return isinstance(type(layer), _AcceleratedType)


def stored_weights(layer: nn.Module) -> WeightFormat:
    """Return how an accelerated layer stores its weights in inference."""
    weights: WeightFormat = getattr(type(layer), _STORED)
    return weights


def put_on_kernels(layer: nn.Module, weights: WeightFormat = "f32") -> None:
    """Accelerate a layer of one of the classes `FORWARDS`, or of a subclass.

    Args:
        layer: The layer; if it is accelerated, it is from now on with these weights.
        weights: How it stores them in inference.
    """
    forget_packed(layer)
    if not is_accelerated(layer) or stored_weights(layer) != weights:
        _set_class(layer, _accelerated_class(own_class(layer), weights))


def take_off_kernels(layer: nn.Module) -> None:
    """Undo `put_on_kernels`."""
    forget_packed(layer)
    _set_class(layer, own_class(layer))


def _set_class(layer: nn.Module, cls: type) -> None:
    if is_parametrized(layer):
        # Its class is torch's, made of the one before; copies of the layer may share it.
        parametrised = type(layer)
        members = {k: v for k, v in vars(parametrised).items() if k not in _OF_EVERY_CLASS}
        cls = type(cls)(parametrised.__name__, (cls,), members)
    object.__setattr__(layer, "__class__", cls)


_OF_EVERY_CLASS = ("__dict__", "__weakref__")
_STORED = "_stored_weights"
_making = Lock()


def _accelerated_class(own: Any, weights: WeightFormat) -> type:
    """Return the accelerated class made of a layer's own, always the same one of a format."""
    with _making:
        subclasses: list[type] = type.__subclasses__(own)
        for cls in subclasses:
            if vars(cls).get(_STORED) == weights:
                return cls
        base: Any = next(cls for cls in own.__mro__ if cls in FORWARDS)
        forward = _forward(base.forward, partial(FORWARDS[base], weights=weights))
        members = {
            "__module__": own.__module__,
            "__qualname__": own.__qualname__,
            "__doc__": own.__doc__,
            "_accelerated_from": own,
            _STORED: weights,
            "__reduce_ex__": _reduce,
            "qconfig": _QConfig(),
        }
        bases: tuple[type, ...] = (own,)
        if own.forward is base.forward:
            members["forward"] = forward
        else:  # before torch's class, and behind all that call `super().forward`
            bases = own, type(base.__name__, (base,), {"forward": forward})
        kind: type = _type_for(type(own))(own.__name__, bases, members)
        return kind


def has_another_forward(own: Any, kind: Any) -> bool:
    """Whether a subclass has a forward that does not call torch's by `super().forward`.

    Args:
        own: The class.
        kind: The class of torch, one of `FORWARDS`.
    """
    for cls in own.__mro__[: own.__mro__.index(kind)]:
        forward = inspect.unwrap(vars(cls)["forward"]) if "forward" in vars(cls) else None
        code = getattr(forward, "__code__", None)
        if forward is not None and not (
            code and "__class__" in code.co_freevars and "forward" in code.co_names
        ):
            return True
    return False


def _type_for(own: type) -> type:
    """Return a type for accelerated classes whose own class has the type `own`, as of `abc.ABC`."""
    if own is type:
        return _AcceleratedType
    return type(own.__name__, (_AcceleratedType, own), {})


def _forward(own: FunctionType, run: Run) -> Any:
    """Return a forward: what `run` gives, or what `own` does where that is None.

    TorchScript, which compiles a method from its source, is to read that of `own`, with the names
    that it knows: so this has no names but what it encloses, and the globals of `own`. It says that
    it is in the file of `own`, since torch.compile knows by that what to take into a graph. Where
    it stands by itself, after a break of a graph, torch.compile is told to let it run as it is:
    what it calls would be compiled as torch's own.
    """

    def forward(self: Any, input: Any, hx: Any = None) -> Any:
        results = run(self, input, hx)
        return own(self, input, hx) if results is None else results

    where = own.__code__
    code = forward.__code__.replace(
        co_filename=where.co_filename, co_firstlineno=where.co_firstlineno
    )
    skip = _FrameAction.SKIP
    set_code_exec_strategy(code, _FrameExecStrategy(skip, skip))
    new: Any = FunctionType(code, own.__globals__, own.__name__, (None,), forward.__closure__)
    new.__wrapped__ = own
    new.__module__, new.__qualname__, new.__doc__ = own.__module__, own.__qualname__, own.__doc__
    return new


# ---- Quantisation --------------------------------------------------------------------------------


class _QConfig:
    """How a layer is to be quantised: who does that asks for torch's very class, and sets this."""

    def __get__(self, layer: nn.Module | None, cls: type) -> Any:
        if layer is None or "qconfig" not in vars(layer):
            raise AttributeError("qconfig")
        return vars(layer)["qconfig"]

    def __set__(self, layer: nn.Module, value: Any) -> None:
        vars(layer)["qconfig"] = value
        if value is not None:
            take_off_kernels(layer)

    def __delete__(self, layer: nn.Module) -> None:
        if "qconfig" not in vars(layer):
            raise AttributeError("qconfig")
        del vars(layer)["qconfig"]


# ---- Copies and pickles --------------------------------------------------------------------------


def _reduce(self: Any, protocol: Any) -> Any:
    """Return how to make a layer again: one of its own class is made, and accelerated."""
    own: Any = own_class(self)
    cls = type(self)
    construct, arguments, *rest = own.__reduce_ex__(self, protocol)
    arguments = tuple(own if argument is cls else argument for argument in arguments)
    weights = stored_weights(self)
    if weights == "f32":
        return _revived, (construct, *arguments), *rest
    return _revived_smaller, (weights, construct, *arguments), *rest


def _revived(construct: Any, *arguments: Any) -> Any:
    return _revived_smaller("f32", construct, *arguments)


def _revived_smaller(weights: WeightFormat, construct: Any, *arguments: Any) -> Any:
    layer = construct(*arguments)
    put_on_kernels(layer, weights)
    return layer
