"""Recurrent layers over any cell: stacking, two directions, ragged batches, states.

The manners are those of torch.nn.RNN, LSTM and GRU: names and layout of the weights, what a call
takes and returns. The drop-in classes are in `drop_in.py`; the loop over time is in `kernels`.
"""

import abc
import math
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from unrolled.cells import Cell
from unrolled.errors import OptionError, ShapeError
from unrolled.kernels import Steps, Weights, recorded_recurrence, recurrence, reference, steps_of
from unrolled.layers.arguments import check_dtype, checked_states, time_first
from unrolled.layers.lengths import Packing, check_lengths, pack_even, pack_lengths
from unrolled.layers.operator import Padded, padded_recurrence
from unrolled.layers.options import check_dropout, check_sizes
from unrolled.layers.recording import is_recording, is_watching, record, watch
from unrolled.layers.state import State, map_state
from unrolled.layers.stream import Stream

__all__ = ["Recurrent", "RecurrentLayer"]


class RecurrentLayer(nn.Module, abc.ABC):
    """What all recurrent layers share. Abstract: use `Recurrent`, `RNN`, `LSTM`, `GRU`, `JANET`.

    Attributes:
        cell: The equations.
        output_size: The width of the output: H (or `proj_size`), twice that when bidirectional.
        suffixes: The endings of the weights' names, one for each layer and direction.
    """

    @abc.abstractmethod
    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.bidirectional = bool(bidirectional)
        self.proj_size = proj_size
        _check_options(self, dropout)
        self.dropout = float(dropout)
        directions = ("", "_reverse") if bidirectional else ("",)
        self.output_size = (proj_size or hidden_size) * len(directions)
        self.suffixes = tuple(f"l{k}{d}" for k in range(num_layers) for d in directions)
        for index, suffix in enumerate(self.suffixes):
            width = input_size if index < len(directions) else self.output_size
            for name, shape in self._weight_shapes(width).items():
                weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(f"{name}_{suffix}", weight)
        self._weight_names = tuple(self._weight_shapes(0))
        self._all_names = tuple(
            f"{n}_{suffix}" for suffix in self.suffixes for n in self._weight_names
        )
        self.reset_parameters()

    def _weight_shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """Return the weights of one layer and direction that reads `width` features, in order."""
        gate_rows = len(self.cell.gates) * self.hidden_size
        recurrent_rows = len(self.cell.recurrent) * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gate_rows, width)}
        if recurrent_rows:
            shapes["weight_hh"] = (recurrent_rows, self.proj_size or self.hidden_size)
        if self.bias:
            shapes["bias_ih"] = (gate_rows,)
            if recurrent_rows:
                shapes["bias_hh"] = (recurrent_rows,)
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes | {name: (self.hidden_size,) for name in self.cell.parameters}

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights from U(-1/sqrt(H), 1/sqrt(H)); the cell's vectors start as it says."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for name, weight in self.named_parameters():
            start = self.cell.parameters.get(name.rpartition("_l")[0])
            if start is None:
                nn.init.uniform_(weight, -bound, bound)
            else:
                nn.init.constant_(weight, start)

    def flatten_parameters(self) -> None:
        """Do nothing: here for code that calls it on torch's layers.

        On CUDA, cuDNN wants the weights of a call in one piece of memory. Here they are not, so
        it copies them together at each call and warns of that ("not part of single contiguous
        chunk"): the results are the same, the price is that copy.
        """

    @property
    def _flat_weights_names(self) -> list[str]:
        """The names of all weights in torch's order; torch's name, which much code reads."""
        return list(self._all_names)

    @property
    def _flat_weights(self) -> tuple[Any, ...]:
        """All weights in torch's order; a tuple, as an item replaced would not be used."""
        return tuple(getattr(self, name) for name in self._flat_weights_names)

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The weights of each layer and direction."""
        return [
            [getattr(self, f"{name}_{suffix}") for name in self._weight_names]
            for suffix in self.suffixes
        ]

    def initial_state(self, batch_size: int) -> State:
        """Return the state that `hx=None` stands for: zeros, (L * directions, B, H) each."""
        weight = getattr(self, f"weight_ih_{self.suffixes[0]}")
        return self._as_state([weight.new_zeros(s) for s in self._state_shapes(batch_size)])

    def stream(self, batch_size: int = 1) -> Stream:
        """Return a `Stream` that reads `batch_size` sequences piece by piece."""
        return Stream(self, batch_size, partial(self._prepared, batch_size))

    def _prepared(self, batch_size: int, steps: Steps | None) -> Steps | None:
        """Return `steps` if they have this layer's weights, else new ones, if it can have any."""
        hooked = self._forward_hooks or self._forward_pre_hooks
        if hooked or is_recording() or (self.training and self.dropout):
            return None  # as the layer itself does it
        try:  # straight from where modules keep them: this is asked at every step
            found = [self._parameters[name] for name in self._all_names]
        except KeyError:  # some are computed
            return None
        if steps is not None and steps.serves(found):
            return steps
        return steps_of(
            self.cell, [self.weights_of(suffix) for suffix in self.suffixes], batch_size
        )

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Any, Any]:
        """Read a batch of sequences.

        Args:
            input: (T, B, I), or (B, T, I) with `batch_first`, or unbatched (T, I), or a
                PackedSequence.
            hx: The state before the first step: a tensor (L * directions, B, H), or a tuple of
                such for a cell of several states; without B for unbatched input. None: zeros.
            lengths: The number of steps of each row, (B,), 0..T in any order. What lies past a
                row's end is not read; its output is zero and its state the one at its end.

        Returns:
            The output (T, B, H * directions), laid out as the input, and the state at the end of
            each row, laid out as `hx`: a tensor, or a named tuple for a cell of several states.

        Raises:
            ShapeError: a wrong shape, number of dimensions or dtype, or impossible lengths.
        """
        if torch.compiler.is_compiling() and isinstance(input, PackedSequence):
            return self._forward_packed(input, hx, lengths)
        # each weight is read once: it may be the result of a parametrisation
        weights = [self.weights_of(suffix) for suffix in self.suffixes]
        weight = weights[0].weight_ih
        if isinstance(input, PackedSequence):
            batched, (x, packing) = True, self._unpadded(input, lengths, weight)
        else:
            batched, (x, packing) = input.dim() == 3, self._packed(input, lengths, weight)
        states = self._states_of(hx, packing.batch_size, batched, weight)
        states = tuple(packing.sort(state) for state in states)
        x, states = self._run(x, packing, weights, states)
        state = self._as_state([packing.unsort(s) for s in states])
        if isinstance(input, PackedSequence):
            return input._replace(data=x), state
        output = packing.unpack(x)
        if not batched:
            return output.squeeze(1), map_state(lambda s: s.squeeze(1), state)
        return output.transpose(0, 1) if self.batch_first else output, state

    def _forward_packed(self, input: PackedSequence, hx: Any, lengths: object) -> tuple[Any, Any]:
        """Do what `forward` does while it is compiled: torch's padding breaks the graph."""
        if lengths is not None:
            where = type(self).__name__
            raise ShapeError(f"{where}: a PackedSequence has its own lengths", "drop lengths=")
        x, sizes = pad_packed_sequence(input, self.batch_first)
        output, state = self.forward(x, hx, lengths=sizes)
        if input.sorted_indices is not None:
            output = output.index_select(0 if self.batch_first else 1, input.sorted_indices)
            sizes = sizes[input.sorted_indices.to(sizes.device)]
        packed = pack_padded_sequence(output, sizes, self.batch_first)
        return input._replace(data=packed.data), state

    def _packed(
        self, input: Tensor, lengths: Tensor | Sequence[int] | None, weight: Tensor
    ) -> tuple[Tensor, Packing | Padded]:
        """Return the rows of `input` that are not padding, (N, I), and how they lie.

        While it is traced: the padded batch itself, (T, B, I).
        """
        where = type(self).__name__
        x, batched = time_first(where, input, self.input_size, self.batch_first, weight)
        num_steps, batch_size = x.shape[:2]
        if lengths is not None:
            lengths = torch.as_tensor(lengths)
            lengths = lengths if batched else lengths.reshape(-1)
        if torch.compiler.is_compiling():
            return x, Padded(lengths, batch_size)
        packing = pack_even(num_steps, batch_size)
        if lengths is not None:
            checked = check_lengths(where, lengths, num_steps, batch_size, x.device)
            packing = pack_lengths(checked, num_steps)
        return packing.pack(x), packing

    def _unpadded(
        self, input: PackedSequence, lengths: object, weight: Tensor
    ) -> tuple[Tensor, Packing | Padded]:
        """Return what `_packed` does, of an input that is packed already."""
        where, x = type(self).__name__, input.data
        if lengths is not None:
            raise ShapeError(f"{where}: a PackedSequence has its own lengths", "drop lengths=")
        if x.dim() != 2 or x.shape[1] != self.input_size:
            raise ShapeError(
                f"{where}: packed input must be (N, {self.input_size}), got {tuple(x.shape)}"
            )
        check_dtype(where, x, weight)
        sizes = tuple(input.batch_sizes.tolist())
        return x, Packing(sizes, len(sizes), sizes[0], input.sorted_indices)

    def _run(
        self,
        x: Tensor,
        packing: Packing | Padded,
        weights: Sequence[Weights],
        states: tuple[Tensor, ...],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run all layers and directions over packed rows (N, I); states are (L * D, B, H)."""
        directions = 1 + self.bidirectional
        ends = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                index = layer * directions + direction
                before = tuple(state[index] for state in states)
                this, backwards = weights[index], direction == 1
                if isinstance(packing, Padded):
                    output, end = padded_recurrence(
                        self.cell, x, packing.lengths, this, before, reverse=backwards
                    )
                elif is_recording():
                    output, end, named = recorded_recurrence(
                        self.cell, x, packing.batch_sizes, this, before, reverse=backwards
                    )
                    initial = dict(zip(self.cell.states, before, strict=True))
                    record(self, layer, backwards, packing, x, initial, named)
                elif is_watching():
                    watched, steps = watch(self, layer, backwards, x)
                    output, end = reference.run(
                        self.cell,
                        watched,
                        packing.batch_sizes,
                        this,
                        before,
                        reverse=backwards,
                        watch=steps.__setitem__,
                    )
                else:
                    output, end = recurrence(
                        self.cell, x, packing.batch_sizes, this, before, reverse=backwards
                    )
                outputs.append(output)
                ends.append(end)
            x = torch.cat(outputs, dim=-1) if directions == 2 else outputs[0]
            if self.dropout and layer < self.num_layers - 1:
                x = nn.functional.dropout(x, self.dropout, self.training)
        return x, tuple(torch.stack(parts) for parts in zip(*ends, strict=True))

    def weights_of(self, suffix: str) -> Weights:
        """Return the weights of one layer and direction, by one of `suffixes`, as they are now."""
        found = {name: getattr(self, f"{name}_{suffix}") for name in self._weight_names}
        return Weights(
            found["weight_ih"],
            found.get("weight_hh"),
            found.get("bias_ih"),
            found.get("bias_hh"),
            found.get("weight_hr"),
            tuple(found[name] for name in self.cell.parameters),
        )

    def _state_shapes(self, batch_size: int) -> list[tuple[int, int, int]]:
        widths = [self.hidden_size] * len(self.cell.states)
        widths[0] = self.proj_size or self.hidden_size
        return [(len(self.suffixes), batch_size, width) for width in widths]

    def _states_of(
        self, hx: Any, batch_size: int, batched: bool, weight: Tensor
    ) -> tuple[Tensor, ...]:
        """Return `hx`, checked, as a tuple of (L * D, B, H)."""
        shapes = self._state_shapes(batch_size)
        if hx is None:
            return tuple(weight.new_zeros(shape) for shape in shapes)
        expected = shapes if batched else [(stacked, width) for stacked, _, width in shapes]
        states = checked_states(type(self).__name__, hx, self.cell.states, expected, weight)
        return states if batched else tuple(state.unsqueeze(1) for state in states)

    def _as_state(self, tensors: Sequence[Tensor]) -> State:
        """Return the one tensor itself, or several as the cell's named tuple."""
        if len(tensors) == 1:
            return tensors[0]
        state: State = self.cell.state_type._make(tensors)
        return state

    def extra_repr(self) -> str:
        """Return the sizes, and every option that is not the default."""
        options: dict[str, object] = {"proj_size": 0, "num_layers": 1, "nonlinearity": "tanh"}
        options |= {"bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        options |= {"reset": "after"}
        values = {name: getattr(self, name, default) for name, default in options.items()}
        shown = [f"{name}={v!r}" for name, v in values.items() if v != options[name]]
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])


class Recurrent(RecurrentLayer):
    """A recurrent layer over any cell, a user's own included.

    Args:
        cell: The equations, a function marked with `unrolled.cell`.
        input_size: I, at least 1.
        hidden_size: H, at least 1.
        num_layers: How many layers, each reading the output of the one before.
        bias: Whether the gates have biases.
        batch_first: Whether input and output are (B, T, ...) rather than (T, B, ...).
        dropout: The probability with which each output of a layer but the last is dropped.
        bidirectional: Whether a second set of weights reads backwards, its output appended.
        device: Where the weights live.
        dtype: Their type.

    Attributes:
        weight_ih_l0: W_x, (G * H, I), gates in the cell's order; `_l1` ... and `_reverse` follow.
        weight_hh_l0: W_h, (R * H, H), of the gates with a recurrent part.
        bias_ih_l0: b_x, (G * H,).
        bias_hh_l0: b_h, (R * H,).

    Raises:
        OptionError: a size below 1, or dropout outside [0, 1].

    Example:
        >>> import torch, unrolled
        >>> @unrolled.cell(gates="z n", recurrent="")
        ... def min_gru(x, h):
        ...     z = torch.sigmoid(x.z)
        ...     return dict(h=(1 - z) * h + z * x.n, z=z)
        >>> layer = unrolled.Recurrent(min_gru, input_size=3, hidden_size=4)
        >>> output, state = layer(torch.zeros(5, 2, 3))
        >>> output.shape, state.shape
        (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(cell, Cell):
            raise OptionError(
                f"Recurrent: cell must be a cell, got {type(cell).__name__}",
                "mark the function that holds the equations with @unrolled.cell(gates=...)",
            )
        super().__init__(
            cell,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )

    def extra_repr(self) -> str:
        """Return the cell's name and what every layer shows."""
        return f"{self.cell.name}, {super().extra_repr()}"


def _check_options(layer: RecurrentLayer, dropout: Any) -> None:
    where = type(layer).__name__
    for name in ("input_size", "hidden_size"):
        if not isinstance(size := getattr(layer, name), int):
            raise TypeError(f"{where}: {name} must be an int, got {type(size).__name__}")
    for name in ("bias", "batch_first"):
        if not isinstance(flag := getattr(layer, name), bool):
            raise TypeError(f"{where}: {name} must be a bool, got {type(flag).__name__}")
    check_dropout(where, dropout)
    names = ("input_size", "hidden_size", "num_layers")
    check_sizes(where, {name: getattr(layer, name) for name in names})
    if not 0 <= layer.proj_size < layer.hidden_size:
        raise OptionError(
            f"{where}: proj_size must lie in 0..{layer.hidden_size - 1}, got {layer.proj_size}"
        )
    if dropout and layer.num_layers == 1:
        warnings.warn(
            f"{where}: dropout={dropout} has no effect with num_layers=1: it acts between layers",
            stacklevel=4,
        )
