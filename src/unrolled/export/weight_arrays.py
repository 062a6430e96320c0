"""What the weights of other packages have in common: orders of gates, and what arrays must be."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.errors import OptionError, ShapeError

__all__ = ["array_of", "check", "from_order", "order_of", "ours_of", "to_order", "units_of"]

Array = NDArray[Any]
_Gate = TypeVar("_Gate", int, str)


def order_of(where: str, orders: Mapping[str, tuple[_Gate, ...]], kind: str) -> tuple[_Gate, ...]:
    """Return what `orders` has of a kind of layer.

    Raises:
        OptionError: It has none.
    """
    if kind not in orders:
        raise OptionError(f"{where}: kind must be one of {', '.join(orders)}, got {kind!r}")
    return orders[kind]


def to_order(array: Array, order: tuple[int, ...]) -> Array:
    """Return rows in another order of gates."""
    blocks = np.split(np.asarray(array), len(order))
    return np.concatenate([blocks[index] for index in order])


def from_order(array: Array, order: tuple[int, ...]) -> Array:
    """Undo `to_order`."""
    return to_order(array, tuple(int(index) for index in np.argsort(order)))


def units_of(where: str, recurrent: Array, num_gates: int) -> int:
    """Return H of recurrent weights, (G H, H)."""
    rows, hidden_size = map(int, recurrent.shape) if recurrent.ndim == 2 else (0, 1)
    if rows != num_gates * hidden_size:
        expected = f"{num_gates} gates of {hidden_size} units"
        raise ShapeError(f"{where}: recurrent weights are not of {expected}: {recurrent.shape}")
    return hidden_size


def check(where: str, name: str, array: Array, shape: Sequence[int], hint: str = "") -> None:
    """Raise `ShapeError` unless an array has this shape."""
    if tuple(array.shape) != tuple(shape):
        got = f"got {tuple(array.shape)}"
        raise ShapeError(f"{where}: {name} must be {tuple(shape)}, {got}", hint)


def array_of(where: str, name: str, value: Any) -> Array:
    """Return an array, or a tensor as one, if it is of float32 or float64."""
    array = value.numpy(force=True) if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype not in (np.float32, np.float64):
        raise ShapeError(f"{where}: {name} must be of float32 or float64, got {array.dtype}")
    return array


def ours_of(where: str, weights: Mapping[str, Array], num_gates: int) -> dict[str, Array]:
    """Return our weights if they are those of so many gates."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    if not isinstance(weights, Mapping) or {*weights} not in ({*names[:2]}, {*names}):
        got = ", ".join(weights) if isinstance(weights, Mapping) else type(weights).__name__
        message = f"{where}: weights must be {', '.join(names)}, the biases both or none, got {got}"
        raise OptionError(message, "weights_of(layer) gives them")
    arrays = {name: array_of(where, name, weights[name]) for name in names if name in weights}
    hidden_size = units_of(where, arrays["weight_hh"], num_gates)
    width = arrays["weight_ih"].shape[-1] if arrays["weight_ih"].ndim else 0
    shapes = ((num_gates * hidden_size, width), None, *((num_gates * hidden_size,),) * 2)
    for name, shape in zip(names, shapes, strict=True):
        if shape and name in arrays:
            check(where, name, arrays[name], shape)
    return arrays
