"""Zoneout: units that keep their states at random."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells import ZONE, zoned
from unrolled.errors import OptionError
from unrolled.layers import RecurrentLayer, Stream, Streams, check_dropout
from unrolled.wrappers.wrapper import Wrapper, require_recurrent

__all__ = ["Zoneout"]


class Zoneout(Wrapper):
    """A recurrent layer whose units keep their states of the step before, each with a probability.

    s_t = z * s_{t-1} + (1 - z) * s, with s what the cell computes from the states before. In
    training mode z is 0 or 1, drawn for each step, row, unit and state; in evaluation mode it is
    the probability itself. Equations that read a state after they have computed it, as the h of an
    LSTM reads c, read it before zoneout.

    Source: D. Krueger et al. (2017), "Zoneout: regularizing RNNs by randomly preserving hidden
    activations", section 3.

    The layer is changed in place: its cell is the same with inputs of a step, zone_h and so on,
    which are z and may be given to the call instead of drawn. Its weights keep their names.

    Args:
        layer: A recurrent layer of one layer and one direction.
        zoneout: The probability, of all states; or of some, by the names of the cell's states.

    Attributes:
        zoneout: The probabilities, by the names of the states.

    Raises:
        OptionError: It is another layer, or these are no probabilities of states of its cell.

    Example:
        >>> import torch, unrolled
        >>> from unrolled.wrappers import Zoneout
        >>> layer = Zoneout(unrolled.LSTM(3, 8), {"h": 0.05, "c": 0.5})
        >>> output, (h, c) = layer(torch.zeros(5, 2, 3))
        >>> output.shape
        torch.Size([5, 2, 8])
    """

    def __init__(self, layer: RecurrentLayer, zoneout: float | Mapping[str, float]) -> None:
        require_recurrent("Zoneout", layer)
        if len(layer.suffixes) > 1 or layer.proj_size:
            raise OptionError(
                "Zoneout: needs a layer of one layer and one direction, without a projection",
                "wrap each alone, and put them into a Stacked",
            )
        cell = layer.cell
        states = [state for state in cell.states if state not in cell.delayed]
        if any(name.startswith(ZONE) for name in cell.inputs):
            raise OptionError("Zoneout: the layer has zoneout already", "wrap one that has none")
        rates = zoneout if isinstance(zoneout, Mapping) else dict.fromkeys(states, zoneout)
        for name, rate in rates.items():
            if name not in states:
                raise OptionError(
                    f"Zoneout: cell {cell.name} has no state {name}; its states: "
                    f"{', '.join(states)}"
                )
            check_dropout("Zoneout", rate, "zoneout")
        super().__init__(layer)
        self.zoneout = {name: float(rate) for name, rate in rates.items()}
        self.dropout = max(self.zoneout.values(), default=0.0)  # no stream in training mode
        if rates:
            layer.cell = zoned(cell, tuple(rates))
        layer.input_defaults |= {f"{ZONE}{name}": rate for name, rate in self.zoneout.items()}

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        **given: Any,
    ) -> tuple[Any, Any]:
        """Read a batch of sequences; arguments, results and errors are the layer's."""
        if self.training and self.dropout:
            if isinstance(input, PackedSequence):
                hint = "give a padded batch, and lengths="
                raise OptionError("Zoneout: takes no PackedSequence in training mode", hint)
            shape = (*input.shape[:-1], self.layer.hidden_size)
            for zoned_state, rate in self.zoneout.items():
                if (name := f"{ZONE}{zoned_state}") not in given:
                    zone = torch.empty(shape, dtype=input.dtype, device=input.device)
                    given[name] = zone.bernoulli_(rate)
        output, state = self.layer(input, hx, lengths=lengths, **given)
        return output, state

    def stream(self, batch_size: int = 1) -> Stream:
        """Return a `Stream` of `batch_size` sequences, of a layer in evaluation mode."""
        self._check_evaluating("stream")
        stream: Stream = self.layer.stream(batch_size)
        return stream

    def streams(self, capacity: int) -> Streams:
        """Return `Streams`, a pool of up to `capacity`, of a layer in evaluation mode."""
        self._check_evaluating("streams")
        streams: Streams = self.layer.streams(capacity)
        return streams

    def _check_evaluating(self, method: str) -> None:
        if self.training and self.dropout:
            problem = f"Zoneout.{method}: the layer is in training mode"
            raise OptionError(problem, "call layer.eval() first")

    def extra_repr(self) -> str:
        """Return the probabilities."""
        return f"zoneout={self.zoneout}"
