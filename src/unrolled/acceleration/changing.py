"""`accelerate`, `restore` and `accelerated`: which layers of a model go on kernels, and why not."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from unrolled.acceleration.classes import (
    FORWARDS,
    has_another_forward,
    is_accelerated,
    own_class,
    put_on_kernels,
    take_off_kernels,
)
from unrolled.acceleration.report import Report
from unrolled.acceleration.sequences import CELL_OF_MODE
from unrolled.acceleration.smaller import matrices_of, rounding_error
from unrolled.acceleration.steps import cell_of_step
from unrolled.cells import Cell
from unrolled.errors import OptionError
from unrolled.kernels import (
    WEIGHT_FORMATS,
    WeightFormat,
    kernel_or_reason,
    prepare_short_calls,
    storing_weights,
    too_many_products,
    without_a_scale,
)
from unrolled.layers import RecurrentLayer

__all__ = ["accelerate", "accelerated", "restore"]

Model = TypeVar("Model", bound=nn.Module)


def accelerate(model: Model, *, weights: WeightFormat = "f32") -> tuple[Model, Report]:
    """Run the recurrent layers of torch inside a model on kernels, where that is faster and equal.

    Every `nn.RNN`, `LSTM`, `GRU`, `RNNCell`, `LSTMCell` and `GRUCell` that is the model itself or a
    module inside it is changed in place: its class becomes a subclass of its own class, with
    another `forward`. Parameters, buffers, hooks and names stay as they are, and so does what holds
    them: optimisers, averages, wrappers. Results equal torch's to 1e-5, relative norm; what a
    kernel cannot do, torch's own forward does, as before.

    Args:
        model: Any module.
        weights: How a layer in `eval()` multiplies where no gradient is wanted, as inside
            `torch.no_grad()`: with its weights, "f32"; with each number of its matrices rounded to
            bfloat16, "bf16"; or to one of 255 multiples of a scale that each row has, "int8". The
            parameters stay as they are, and training and gradients read those. Called again, the
            last format is that of all layers.

    Returns:
        The same model, and which layers run on kernels, which were left alone and why.

    Raises:
        OptionError: `model` is not a module, or `weights` another word.

    Example:
        >>> import torch, unrolled
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.GRU(3, 4))
        >>> model, report = unrolled.accelerate(model)
        >>> print(report)
        on kernels: 1
          1: GRU(3, 4)
    """
    _check_is_module("accelerate", model)
    _check_weights("accelerate", weights)
    report = Report()
    for names, module in _modules_of(model):
        kind = _kind_of(module)
        if kind is None:
            continue
        reason = _reason_to_leave(module, kind, weights)
        if reason is None and not isinstance(module, RecurrentLayer):
            put_on_kernels(module, weights)
        elif reason is not None and is_accelerated(module):
            put_on_kernels(module)  # it may have the format of an earlier call
        _note(report, names, module, reason, weights)
    return model, report


def restore(model: Model) -> Model:
    """Undo `accelerate`: every layer is again of the class that it was, and runs torch's code.

    Args:
        model: Any module, accelerated or not.

    Returns:
        The same model.

    Raises:
        OptionError: `model` is not a module.
    """
    _check_is_module("restore", model)
    for _, module in model.named_modules(remove_duplicate=False):
        if is_accelerated(module):
            take_off_kernels(module)
    return model


def _check_is_module(where: str, model: object) -> None:
    if not isinstance(model, nn.Module):
        raise OptionError(
            f"{where}: model must be a torch.nn.Module, got {type(model).__name__}",
            "pass the module that holds the layers",
        )


def _check_weights(where: str, weights: object) -> None:
    if weights not in WEIGHT_FORMATS:
        raise OptionError(
            f"{where}: weights must be f32, bf16 or int8, got {weights!r}",
            'weights="bf16" is what most models can be given',
        )


def _modules_of(model: nn.Module) -> list[tuple[list[str], nn.Module]]:
    """Return every module once, with all its names; of a scripted one not those inside."""
    modules: dict[int, tuple[list[str], nn.Module]] = {}
    scripted: list[str] = []
    for name, module in model.named_modules(remove_duplicate=False):
        if any(not prefix or name.startswith(f"{prefix}.") for prefix in scripted):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            scripted.append(name)
        modules.setdefault(id(module), ([], module))[0].append(name)
    return list(modules.values())


def _note(
    report: Report,
    names: list[str],
    module: nn.Module,
    reason: str | None,
    weights: WeightFormat,
    is_made: bool = True,
) -> None:
    name, *others = names
    also = f"; also {', '.join(others)}" if others else ""
    if reason is None:
        stored = _stored(module, weights, is_made)
        report.on_kernels[name] = f"{_described(module)}{also}{stored}"
    else:
        report.left_alone[name] = f"{_described(module)}{also}: {reason}"


def _stored(module: nn.Module, weights: WeightFormat, is_made: bool) -> str:
    """Return what is to be said of a layer's weights, the rounding error of those it has now."""
    if weights == "f32":
        return ""
    if isinstance(module, RecurrentLayer):
        return "; float32: a layer of unrolled has smaller weights in its streams"
    error = f", {rounding_error(module, weights):.1e} from these" if is_made else ""
    return f"; {weights} weights in inference{error}"


def _described(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return "scripted module"
    try:
        return f"{type(module).__name__}({module.extra_repr()})"
    except (AttributeError, KeyError):  # half made
        return type(module).__name__


# ---- Which layers --------------------------------------------------------------------------------


def _kind_of(module: nn.Module) -> type | str | None:
    """Return the class of torch that a module is of, a word for what is left alone, or None."""
    if isinstance(module, torch.jit.ScriptModule):
        return "scripted"
    if isinstance(module, RecurrentLayer):
        return RecurrentLayer
    for kind in FORWARDS:
        if isinstance(module, kind):
            return kind
    if isinstance(module, nn.RNNBase):
        return "half-made"
    cls = type(module)
    recurrent = any(word in cls.__name__ for word in ("LSTM", "GRU", "RNN"))
    return "quantised" if recurrent and cls.__module__.startswith("torch.ao.nn.") else None


_WORDS = {
    "scripted": "TorchScript runs what it has compiled; accelerate before torch.jit.script",
    "quantised": "it computes in whole numbers, by code of its own",
    "half-made": "it has no forward; torch's LSTM, GRU and RNN have",
}
_CALLED_BY_FORWARD = (
    "check_input",
    "check_forward_args",
    "check_hidden_size",
    "get_expected_hidden_size",
    "permute_hidden",
    "_update_flat_weights",
    "_weights_have_changed",
    "_init_flat_weights",
)


def _reason_to_leave(module: Any, kind: type | str, weights: WeightFormat) -> str | None:
    """Return why a layer is left alone, None if it can be accelerated."""
    if kind is RecurrentLayer:
        return None  # it has kernels without this
    return (
        _reason_of_class(module, kind)
        or _reason_of_weights(module)
        or _reason_of_cell(module, weights)
        or without_a_scale(weights, matrices_of(module))
    )


def _reason_of_class(module: Any, kind: type | str) -> str | None:
    if isinstance(kind, str):
        return _WORDS[kind]
    own = own_class(module)
    if "forward" in vars(module):
        return "its forward was replaced, which goes before that of its class"
    if has_another_forward(own, kind):
        return f"its class {own.__name__} has a forward of its own, without super().forward"
    for name in _CALLED_BY_FORWARD:
        if getattr(own, name, None) is not getattr(kind, name, None):
            return f"its class {own.__name__} has a {name} of its own, which forward calls"
    if getattr(module, "proj_size", 0):
        return f"proj_size={module.proj_size}: kernels have no projection"
    return None


def _reason_of_weights(module: Any) -> str | None:
    weights = list(getattr(module, "_parameters", {}).values())
    weights += [p for m in getattr(module, "_modules", {}).values() for p in m.parameters()]
    present = [weight for weight in weights if weight is not None]
    if not present or not hasattr(module, "hidden_size"):
        return "it is half made: it has no weights yet"
    for weight in present:
        if is_lazy(weight):
            return "it is half made: its weights have no shape yet"
        if weight.is_meta:
            return "it is half made: its weights are on the device meta, without numbers"
        if weight.device.type != "cpu":
            return f"its weights are on {weight.device}; kernels run on the CPU"
        if weight.dtype is not torch.float32:
            return f"its weights are {weight.dtype}; kernels take torch.float32"
    return None


def _reason_of_cell(module: Any, weights: WeightFormat) -> str | None:
    """Return why the cell of a layer has no kernel; where it has, that is loaded now."""
    cell = _cell_of(module)
    if cell is None:
        return "kernels do not have its nonlinearity"
    if problem := too_many_products(weights, matrices_of(module).values()):
        return problem
    formats: list[WeightFormat] = ["f32"] if weights == "f32" else ["f32", weights]
    for one in formats:
        with storing_weights(one):
            kernel = kernel_or_reason(cell)
        if isinstance(kernel, str):
            return kernel
    prepare_short_calls(cell)
    return None


def _cell_of(module: Any) -> Cell | None:
    if isinstance(module, nn.RNNBase):
        return CELL_OF_MODE.get(module.mode)
    return cell_of_step(module)


# ---- Layers that are made inside a block ---------------------------------------------------------

_block: ContextVar[tuple[Report, WeightFormat] | None] = ContextVar("block", default=None)
_CONSTRUCTORS = (nn.RNNBase, nn.modules.rnn.RNNCellBase)
_lock = Lock()
_blocks: list[Report] = []  # those that are open, in any thread
_own_inits: dict[type, Any] = {}


@contextmanager
def accelerated(*, weights: WeightFormat = "f32") -> Iterator[Report]:
    """Accelerate every recurrent layer of torch that this thread makes inside the block.

    For models that are made deep inside a library. Layers of another type, on another device or on
    meta are taken, too: they run torch's code until their weights are float32 on the CPU. Layers
    that are loaded or copied whole are not made by a constructor: for them there is `accelerate`.

    Args:
        weights: How they multiply in inference, as `accelerate` has it.

    Yields:
        The report, to which each layer is added as it is made, by a number.

    Raises:
        OptionError: `weights` is another word.

    Example:
        >>> import torch, unrolled
        >>> with unrolled.accelerated() as report:
        ...     layer = torch.nn.LSTM(3, 4)
        >>> report.on_kernels
        {'0': 'LSTM(3, 4)'}
    """
    _check_weights("accelerated", weights)
    report = Report()
    token = _block.set((report, weights))
    with _lock:
        if not _blocks:
            for cls in _CONSTRUCTORS:
                _own_inits[cls] = cls.__init__
                cls.__init__ = _accelerating(cls.__init__)  # type: ignore[method-assign]  # till the end
        _blocks.append(report)
    try:
        yield report
    finally:
        _block.reset(token)
        with _lock:
            _blocks.pop()
            if not _blocks:
                for cls in _CONSTRUCTORS:
                    cls.__init__ = _own_inits.pop(cls)  # type: ignore[method-assign]  # as it was


def _accelerating(init: Any) -> Any:
    @wraps(init)
    def init_and_accelerate(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        block, kind = _block.get(), _kind_of(self)
        if block is None or kind is None:
            return
        report, weights = block
        reason = _reason_of_class(self, kind) or _reason_of_cell(self, weights)
        if reason is None:
            put_on_kernels(self, weights)
        number = len(report.on_kernels) + len(report.left_alone)
        _note(report, [str(number)], self, reason, weights, is_made=False)

    return init_and_accelerate
