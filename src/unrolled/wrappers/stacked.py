"""Layers one after another, as one layer."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import OptionError, ShapeError
from unrolled.layers import State, Stream, Streams, state_tensors
from unrolled.wrappers.dropout import LockedDropout
from unrolled.wrappers.wrapper import inputs_within, step_inputs_of

__all__ = ["Stacked"]


class Stacked(nn.Module):
    """Layers that each read the output of the one before; they may be of different kinds.

    Args:
        layers: Recurrent layers, TCNs and wrappers of them; and modules of a tensor without state
            between them, such as `LockedDropout` or `torch.nn.LayerNorm`. Of these, those of
            `torch.nn.Linear` alone may give another width than they read.

    Attributes:
        layers: The same.

    Raises:
        OptionError: No layer, layers of widths that do not fit, or some of them `batch_first`.

    Example:
        >>> import torch
        >>> from unrolled import GRU, LSTM
        >>> from unrolled.wrappers import LockedDropout, Residual, Stacked
        >>> stack = Stacked([LSTM(3, 8), LockedDropout(0.3), Residual(GRU(8, 8))])
        >>> output, state = stack(torch.zeros(5, 2, 3))
        >>> output.shape, len(state)
        (torch.Size([5, 2, 8]), 3)
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        with_state = self._with_state()
        if not with_state:
            raise OptionError("Stacked: there is no layer of unrolled", "give it one, such as LSTM")
        widths = [(layer, own) for layer in self.layers if (own := _widths(layer))]
        for (before, (_, width)), (after, (read, _)) in pairwise(widths):
            if width != read:
                names = _title(before), _title(after)
                raise OptionError(
                    f"Stacked: {names[0]} gives {width} features, {names[1]} reads {read}"
                )
        orders = [getattr(part, "batch_first", None) for part in self.layers.modules()]
        if len({order for order in orders if isinstance(order, bool)}) > 1:
            raise OptionError(
                "Stacked: some layers are batch_first and some are not", "make them all alike"
            )
        self.batch_first: bool = with_state[0].batch_first
        self.input_size: Any = widths[0][1][0]
        self.output_size: Any = widths[-1][1][1]
        self.bidirectional = any(getattr(layer, "bidirectional", False) for layer in with_state)

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Sequence[Tensor] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        **given: Any,
    ) -> tuple[Any, tuple[Tensor, ...]]:
        """Read a batch of sequences.

        Args:
            input: As the first layer has it.
            hx: The states of all layers, one tensor after another, or None.
            lengths: The number of steps of each row, (B,).
            **given: What every layer is given; an input of a step those that take it.

        Returns:
            The last layer's output, and the states of all layers, one tensor after another.

        Raises:
            ShapeError: Too few states or too many, or what a layer finds wrong.
        """
        states = None if hx is None else self._cut(hx)
        output: Any = input
        ends: list[Tensor] = []
        known = inputs_within(self) if given else set()
        for layer in self.layers:
            if _has_state(layer):
                before = None if states is None else states.pop(0)
                others = known - inputs_within(layer) if known else known
                own = {name: value for name, value in given.items() if name not in others}
                output, end = layer(output, before, lengths=lengths, **own)
                ends += state_tensors(end)
            elif isinstance(output, PackedSequence) and not isinstance(layer, LockedDropout):
                output = output._replace(data=layer(output.data))
            else:
                output = layer(output)
                if not isinstance(output, (Tensor, PackedSequence)):
                    got = f"{type(layer).__name__} gives a {type(output).__name__}, and no tensor"
                    hint = "layers that have a state must be those of unrolled"
                    raise OptionError(f"Stacked: {got}", hint)
        return output, tuple(ends)

    def _with_state(self) -> list[Any]:
        return [layer for layer in self.layers if _has_state(layer)]

    def _cut(self, hx: Sequence[Tensor]) -> list[State]:
        """Return the states of each layer."""
        tensors, states = list(state_tensors(tuple(hx))), []
        kinds = [layer.initial_state(0) for layer in self._with_state()]
        wanted = sum(len(state_tensors(kind)) for kind in kinds)
        if len(tensors) != wanted:
            raise ShapeError(f"Stacked: hx must have {wanted} tensors, got {len(tensors)}")
        for kind in kinds:
            count = len(state_tensors(kind))
            own, tensors = tensors[:count], tensors[count:]
            states.append(own[0] if isinstance(kind, Tensor) else tuple(own))
        return states

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """Return the states that `hx=None` stands for."""
        kinds = [layer.initial_state(batch_size) for layer in self._with_state()]
        return tuple(part for kind in kinds for part in state_tensors(kind))

    def stream(self, batch_size: int = 1) -> Stream:
        """Return a `Stream` of `batch_size` sequences; `unrolled.stream` makes a shorter step.

        Raises:
            OptionError: A layer reads backwards too, or would drop something at random.
        """
        return Stream(self, batch_size, inputs=step_inputs_of("Stacked.stream", self))

    def streams(self, capacity: int) -> Streams:
        """Return `Streams`, a pool of up to `capacity`, each read by a call of its own.

        Raises:
            OptionError: As `stream`.
        """
        return Streams(self, capacity, inputs=step_inputs_of("Stacked.streams", self))


def _has_state(layer: Any) -> bool:
    return hasattr(layer, "initial_state")


def _widths(layer: Any) -> tuple[int, int] | None:
    """Return how many features a layer reads and gives; None: as many as it gets."""
    if _has_state(layer):
        return layer.input_size, layer.output_size
    linear = [part for part in layer.modules() if isinstance(part, nn.Linear)]
    return (linear[0].in_features, linear[-1].out_features) if linear else None


def _title(layer: Any) -> str:
    return type(getattr(layer, "layer", layer)).__name__
