"""A device that is not there: tensors that say they are on it, with their numbers in real memory.

    with PretendedDevice():
        x = torch.ones(3, device=KIND)     # says it is there
        x + torch.ones(3)                  # raises: one of the two is on the CPU

It refuses what a device would refuse, tensors of the CPU and float64, and computes the rest on the
CPU, so that whole trainings run and their figures can be compared. Torch's own fake tensors have no
numbers: neither lengths nor a loss can be read of them.
"""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from unrolled.networks import devices, options

__all__ = ["KIND", "OnDevice", "PretendedDevice", "pretend"]

KIND = "pretend"

_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default, _aten._copy_from.default}
_INDEXING = {  # the tensor that is indexed decides; indices may be on the CPU
    _aten.index.Tensor,
    _aten.index_put_.default,
    _aten.index_put.default,
    _aten._unsafe_index.Tensor,
    _aten._index_put_impl_.default,
}


def pretend() -> None:
    """Have torch and unrolled know the device, in this process from now on: torch has no way back.

    The module of the device is torch's own for such backends; what stands for a chip is below.
    """
    _setup_privateuseone_for_python_backend(KIND)
    kinds = ("cpu", KIND)
    options._DEVICE = re.compile(f"auto|cpu|{KIND}(:[0-9]+)?")
    devices.KINDS_OF_DEVICES = kinds
    devices._count = lambda kind: int(kind == KIND)  # type: ignore[assignment]


class OnDevice(Tensor):
    """A tensor that says it is on the device.

    Args:
        real: Its numbers, on the CPU.
        device: Where it says it is.
    """

    held: Tensor

    @staticmethod
    def __new__(cls, real: Tensor, device: torch.device) -> "OnDevice":
        made: OnDevice = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            real.size(),
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device=device,
        )
        made.held = real
        return made

    def __init__(self, real: Tensor, device: torch.device) -> None:
        pass

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnDevice({self.held!r}, {self.device})"

    def tolist(self) -> Any:
        """Return the numbers: torch's own refuses subclasses."""
        return self.cpu().tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Be saved as the numbers, which are loaded on the CPU."""
        return self.held.detach().__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _computed(function, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """Inside the `with` block, what is made on a device other than the CPU is an `OnDevice`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether what compiles is kept out, at each call: nothing is compiled here."""
        return False

    def __enter__(self) -> Any:
        # numbers of Python become a tensor of the CPU that is moved: a step that can be seen here
        self._before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch._C._set_only_lift_cpu_tensors(self._before)
        super().__exit__(*error)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _computed(function, args, kwargs or {})


def _computed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors: list[Tensor] = []
    _each(lambda part: tensors.append(part) if _is_tensor(part) else None, (args, kwargs))
    wanted = kwargs.get("device") or next((a for a in args if isinstance(a, torch.device)), None)
    there = next((each.device for each in tensors if isinstance(each, OnDevice)), None)
    if there is None and (wanted is None or wanted.type in ("cpu", "meta")):
        return function(*args, **kwargs)
    if torch.is_inference_mode_enabled():  # where operations come whole that are made of others
        with PretendedDevice():
            result = function.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
    if there is not None:
        _refuse_strangers(function, args, tensors)
    kwargs_here = dict(kwargs)
    if wanted is not None and wanted.type != "meta":
        kwargs_here["device"] = torch.device("cpu")
    inner_args, inner_kwargs = _each(_real, (args, kwargs_here))
    result = _OWN.get(function, function)(*inner_args, **inner_kwargs)
    if function is _aten.copy_.default:
        return args[0]
    place = wanted if wanted is not None else there
    assert place is not None
    if place.type in ("cpu", "meta"):
        return result
    results: list[Tensor] = []
    _each(lambda part: results.append(part) if _is_tensor(part) else None, result)
    if any(each.dtype is torch.float64 for each in results):
        raise TypeError(f"{function}: the device has no float64")
    if place.index is None:
        place = torch.device(place.type, 0)

    def wrapped(each: Any) -> Any:
        is_plain = isinstance(each, Tensor) and not isinstance(each, OnDevice)
        if not is_plain:
            return each
        with torch.inference_mode(each.is_inference()):  # a view of a weight is not one of it
            return OnDevice(each, place)

    result = _each(wrapped, result)
    if there is None:  # brought here: nothing is shared
        return result
    return return_and_correct_aliasing(function, args, kwargs, result)


def _lstm_cell(
    by_input: Tensor,
    by_state: Tensor,
    c: Tensor,
    bias_input: Tensor | None = None,
    bias_state: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Do a step of an LSTM: torch has this on accelerators alone."""
    gates = by_input + by_state
    gates = gates if bias_input is None else gates + bias_input + bias_state
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    after = f * c + i * g
    return o * after.tanh(), after, torch.cat([i, f, g, o], 1)


def _lstm_cell_backward(
    by_h: Tensor | None, by_c: Tensor | None, c: Tensor, after: Tensor, gates: Tensor, biased: bool
) -> tuple[Tensor | None, ...]:
    i, f, g, o = gates.chunk(4, 1)
    tanh = after.tanh()
    by_h = torch.zeros_like(c) if by_h is None else by_h
    by_after = by_h * o * (1 - tanh**2) + (0 if by_c is None else by_c)
    inner = [by_after * g * i * (1 - i), by_after * c * f * (1 - f)]
    inner += [by_after * i * (1 - g**2), by_h * tanh * o * (1 - o)]
    by_gates = torch.cat(inner, 1)
    return by_gates, by_after * f, by_gates.sum(0) if biased else None


def _gru_cell(
    by_input: Tensor,
    by_state: Tensor,
    h: Tensor,
    bias_input: Tensor | None = None,
    bias_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Do a step of a GRU; the second is what backward needs: r, z, n, h, U h of n."""
    if bias_input is not None and bias_state is not None:
        by_input, by_state = by_input + bias_input, by_state + bias_state
    (xr, xz, xn), (ur, uz, un) = by_input.chunk(3, 1), by_state.chunk(3, 1)
    r, z = (xr + ur).sigmoid(), (xz + uz).sigmoid()
    n = (xn + r * un).tanh()
    return n + z * (h - n), torch.cat([r, z, n, h, un], 1)


def _gru_cell_backward(by_h: Tensor, kept: Tensor, biased: bool) -> tuple[Tensor | None, ...]:
    r, z, n, h, un = kept.chunk(5, 1)
    by_n = by_h * (1 - z) * (1 - n**2)
    by_r, by_z = by_n * un * r * (1 - r), by_h * (h - n) * z * (1 - z)
    by_input, by_state = torch.cat([by_r, by_z, by_n], 1), torch.cat([by_r, by_z, by_n * r], 1)
    biases = (by_input.sum(0), by_state.sum(0)) if biased else (None, None)
    return by_input, by_state, by_h * z, *biases


_OWN = {
    _aten._thnn_fused_lstm_cell.default: _lstm_cell,
    _aten._thnn_fused_lstm_cell_backward_impl.default: _lstm_cell_backward,
    _aten._thnn_fused_gru_cell.default: _gru_cell,
    _aten._thnn_fused_gru_cell_backward.default: _gru_cell_backward,
}


def _each(change: Callable[[Any], Any], given: Any) -> Any:
    """Return an operation's arguments or results with each part changed: torch's own is slow."""
    if isinstance(given, list):
        return [_each(change, part) for part in given]
    if isinstance(given, tuple):
        return tuple(_each(change, part) for part in given)
    if isinstance(given, dict):
        return {name: _each(change, part) for name, part in given.items()}
    return change(given)


def _is_tensor(each: Any) -> bool:
    return isinstance(each, Tensor)


def _real(each: Any) -> Any:
    return each.held if isinstance(each, OnDevice) else each


def _refuse_strangers(function: Any, args: Any, tensors: list[Tensor]) -> None:
    """Raise what the device would raise where a tensor of the CPU is among its own."""
    if function in _COPIES:
        return
    strangers = [each for each in tensors if not isinstance(each, OnDevice)]
    if function in _INDEXING and isinstance(args[0], OnDevice):
        values = [args[2]] if len(args) > 2 else []
        strangers = [each for each in strangers if any(each is value for value in values)]
    strangers = [each for each in strangers if each.dim()]  # numbers go along
    if strangers:
        shapes = ", ".join(str(tuple(each.shape)) for each in strangers)
        raise RuntimeError(f"{function}: on the CPU, among tensors of the device: {shapes}")
