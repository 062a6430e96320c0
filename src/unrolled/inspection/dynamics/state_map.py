"""A step of a layer as a map of its state, and what every use of it checks."""

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from unrolled.errors import DivergedError, OptionError, ShapeError
from unrolled.kernels import using_path
from unrolled.layers import RecurrentLayer, State, map_state, state_tensors
from unrolled.networks.modes import evaluating

__all__ = ["StateMap", "check_finite", "check_map"]


class StateMap:
    """A step of a layer as a map of its state, in float64, on the reference loop."""

    def __init__(self, layer: RecurrentLayer) -> None:
        self._layer = layer
        self._weights = {n: p.detach().double() for n, p in layer.named_parameters()}
        self._weights |= {n: b.detach().double() for n, b in layer.named_buffers()}
        self._widths = [part.shape[-1] for part in state_tensors(layer.initial_state(1))]

    def __call__(self, x: Tensor, beside: dict[str, Tensor], flat: Tensor) -> Tensor:
        """Return the states (N, D) a step later, under inputs (I,) or (N, I)."""
        time_dim = 1 if self._layer.batch_first else 0

        def at_once(value: Tensor) -> Tensor:
            return value.expand(len(flat), *value.shape[-1:]).unsqueeze(time_dim)

        inputs = {name: at_once(value) for name, value in beside.items()}
        with evaluating(self._layer), using_path("reference"):
            _, after = functional_call(
                self._layer, self._weights, (at_once(x), self.state(flat)), inputs
            )
        return self.flat(after)

    def flat(self, state: State) -> Tensor:
        """Return a layer's state as rows of all its numbers, (N, D)."""
        parts = [part.transpose(0, 1).flatten(1) for part in state_tensors(state)]
        return torch.cat(parts, dim=1)

    def state(self, flat: Tensor) -> State:
        """Return such rows as a layer's state."""
        parts = iter(self._parts(flat))
        return map_state(lambda _: next(parts), self._layer.initial_state(0))

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Return such rows by the names of the cell's states, (L, N, H) each."""
        return dict(zip(self._layer.cell.states, self._parts(flat), strict=True))

    def _parts(self, flat: Tensor) -> list[Tensor]:
        layers = self._layer.num_layers
        parts = torch.split(flat, [layers * width for width in self._widths], dim=1)
        return [part.reshape(len(flat), layers, -1).transpose(0, 1) for part in parts]


def check_map(where: str, layer: Any, inputs: Any, beside: dict[str, Tensor]) -> None:
    """Check what a map is made of and reads.

    Args:
        where: Who asks.
        layer: Of which it is.
        inputs: What it reads.
        beside: What its cell reads beside x.

    Raises:
        OptionError: No recurrent layer, or one that reads backwards too; an input not finite.
        ShapeError: The inputs have another shape.
        DivergedError: Weights are not finite.
    """
    if not isinstance(layer, RecurrentLayer):
        name = type(layer).__name__
        raise OptionError(f"{where}: takes a recurrent layer, got {name}", "give the one inside it")
    if layer.bidirectional:
        raise OptionError(
            f"{where}: a layer that reads backwards too is no map of its state",
            "look at a layer that reads forwards",
        )
    if not isinstance(inputs, Tensor):
        raise ShapeError(f"{where}: the input must be a tensor, got a {type(inputs).__name__}")
    shape = tuple(inputs.shape)
    if len(shape) != 3 or shape[-1] != layer.input_size or not inputs.numel():
        raise ShapeError(
            f"{where}: the input must be (T, B, {layer.input_size}) with steps and rows, "
            f"got {shape}"
        )
    check_finite(f"{where}: the input", inputs)
    for name, value in beside.items():
        if value.shape[:2] != shape[:2]:
            raise ShapeError(f"{where}: {name} must be {shape[:2]}, got {tuple(value.shape)}")
        check_finite(f"{where}: {name}", value)
    for name, weight in layer.named_parameters():
        if not bool(weight.isfinite().all()):
            raise DivergedError(
                f"{where}: {name} has numbers that are not finite",
                "they may have grown without bound in training",
            )


def check_finite(what: str, numbers: Tensor) -> None:
    """Raise `OptionError` if numbers are not finite."""
    if not bool(numbers.isfinite().all()):
        raise OptionError(f"{what} has numbers that are not finite", "leave them out, or fill them")
