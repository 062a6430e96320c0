"""Where a model is: the device that somebody names, and a batch brought to it.

A batch is made on the CPU and moved once, where it meets the model; what a model says comes back to
the CPU before it is measured, in float64, which some devices do not have.

Not here: which way a cell is run there (`kernels/running/paths.py`).
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from unrolled.errors import OptionError, field
from unrolled.networks.options import KINDS_OF_DEVICES, device_name

__all__ = ["available_devices", "device_of", "find_device", "moved"]

T = TypeVar("T")


def find_device(name: str, rank: int = 0) -> torch.device:
    """Return the device that an option names.

    Args:
        name: "cpu", "cuda", "cuda:1", ...; "auto" for the first accelerator, or the CPU.
        rank: Of this process among those of its computer: of several devices of a kind without a
            number, each takes one, and the first again where there are fewer.

    Raises:
        OptionError: It names none, or there is no such device here.
    """
    name = device_name(name)
    there = available_devices()
    if name == "auto":
        name = next((kind for kind in KINDS_OF_DEVICES if kind != "cpu" and kind in there), "cpu")
    kind, _, number = name.partition(":")
    named = ", ".join(_names(there))
    if kind not in there:
        message = f"{field('device')}: torch {torch.__version__} has no {kind} on this computer"
        raise OptionError(message, f"choose one of {named}, or auto")
    if kind == "cpu":
        return torch.device(kind)
    if int(number or 0) >= there[kind]:
        message = f"{field('device')}: there is no {name}, this computer has {there[kind]} {kind}"
        raise OptionError(message, f"choose one of {named}, or auto")
    return torch.device(kind, int(number) if number else rank % there[kind])


def available_devices() -> dict[str, int]:
    """Return the kinds of devices that torch has here, the CPU first, and how many of each."""
    counts = {"cpu": 1}
    for kind in KINDS_OF_DEVICES:
        if kind != "cpu" and (count := _count(kind)):
            counts[kind] = count
    return counts


def device_of(model: nn.Module) -> torch.device:
    """Return the device that a model's numbers are on; the CPU of one without any."""
    tensors = chain(model.parameters(), model.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def moved(batch: T, to: nn.Module | Tensor | torch.device) -> T:
    """Return a batch on the device of a model, or of a tensor.

    Args:
        batch: A tensor, or tuples, lists and named tuples of them; whatever else is in them stays.
        to: Where.

    Example:
        >>> moved((torch.ones(2), None), nn.Linear(2, 1))
        (tensor([1., 1.]), None)
    """
    if isinstance(to, nn.Module):
        device = device_of(to)
    else:
        device = to.device if isinstance(to, Tensor) else to
    return cast(T, _moved(batch, device))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple | list):
        parts = [_moved(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _count(kind: str) -> int:
    """Return how many devices of a kind torch can use."""
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    module = torch.get_device_module(kind)
    return int(module.device_count()) if module.is_available() else 0


def _names(there: dict[str, int]) -> Iterator[str]:
    for kind, count in there.items():
        yield from [kind] if kind in ("cpu", "mps") else [f"{kind}:{n}" for n in range(count)]
