"""What all recurrent layers share: stacking, two directions, dropout, ragged batches, states.

The manners are those of torch.nn.RNN, LSTM and GRU. The weights are in `recurrent_weights.py`, the
layers themselves in `recurrent.py`, `drop_in.py` and `janet.py`; the loop over time is in
`kernels`.
"""

import abc
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import record_function
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells import Cell
from unrolled.kernels import (
    Observer,
    PaddedRows,
    Pieces,
    Places,
    RaggedRows,
    ShortCalls,
    Stepper,
    WeightFormat,
    Weights,
    check_lengths,
    keeps_padding,
    lengths_tensor,
    stepper_of,
    storing_weights,
)
from unrolled.layers.arguments import checked_states, time_first
from unrolled.layers.intervening import holding_of
from unrolled.layers.observing import is_observed, observer_of
from unrolled.layers.options import (
    check_dropout,
    check_heads,
    check_projection,
    check_sizes,
    check_types,
)
from unrolled.layers.packed_sequence import packed_inputs, read_packed, run_padded
from unrolled.layers.recurrent_weights import RecurrentWeights
from unrolled.layers.resets import Resets, begun_anew, refuse_resets, time_first_resets
from unrolled.layers.smaller_weights import check_smaller_weights
from unrolled.layers.stack import run_stack
from unrolled.layers.state import State, map_state
from unrolled.layers.step_inputs import StepInputs, check_raw_input
from unrolled.layers.stream import Stream
from unrolled.layers.streams import Streams

__all__ = ["RecurrentLayer"]


class RecurrentLayer(RecurrentWeights):
    """A stack of recurrent layers. Abstract: use `Recurrent`, `RNN`, `LSTM`, `GRU`, `JANET`."""

    _short_calls: ShortCalls | None = None  # made at the first call

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
        heads: int | None = None,
    ) -> None:
        where, sizes = type(self).__name__, {"input_size": input_size, "hidden_size": hidden_size}
        heads = cell.heads if heads is None else heads
        check_types(where, sizes | {"heads": heads}, {"bias": bias, "batch_first": batch_first})
        check_dropout(where, dropout)
        check_sizes(where, sizes | {"num_layers": num_layers, "heads": heads})
        check_projection(where, proj_size, hidden_size)
        check_heads(where, cell, hidden_size, heads)
        if dropout and num_layers == 1:
            warnings.warn(
                f"{where}: dropout={dropout} has no effect with num_layers=1: "
                "it acts between layers",
                stacklevel=3,
            )
        super().__init__(
            cell,
            input_size,
            hidden_size,
            num_layers,
            bias,
            bool(bidirectional),
            proj_size,
            heads,
            device,
            dtype,
        )
        self.batch_first = batch_first
        self.input_defaults = dict(cell.input_defaults)  # what inputs of a step are, if not given
        self.dropout = float(dropout)
        check_raw_input(
            where,
            cell,
            input_size,
            hidden_size,
            output_size=self.output_size,
            num_layers=num_layers,
        )

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Resets | None = None,
        resets_to: Any = None,
        **inputs: Tensor,
    ) -> tuple[Any, Any]:
        """Read a batch of sequences.

        Args:
            input: (T, B, I), or (B, T, I) with `batch_first`, or unbatched (T, I), or a
                PackedSequence.
            hx: The state before the first step: a tensor (L * directions, B, H), or a tuple of
                such for a cell of several states; without B for unbatched input. None: zeros.
            lengths: The number of steps of each row, (B,), 0..T in any order. What lies past a
                row's end is not read; its output is zero and its state the one at its end.
            resets: Before which steps a row's state starts anew: bool, laid out as
                the input, (T, B). It cuts rows into pieces, in both directions, and each is read
                as if alone, to the last bit; gradients stop there. `hx` is that of a row's first
                piece, unless there is a mark before its first step. Not with a PackedSequence, nor
                while torch traces, compiles or exports the layer.
            resets_to: The state that rows start anew with, laid out as `hx`. None: zeros.
            inputs: Those that the cell declares beside x, by name: for each step and row a number,
                (T, B) or (T, B, 1), or a number for each unit, (T, B, H); laid out and typed as
                the input, packed as it is where that is packed. Every layer and direction reads the
                same.

        Returns:
            The output (T, B, H * directions), laid out as the input, and the state at the end of
            each row, of its last piece, laid out as `hx`: a tensor, or a named tuple for a cell
            of several states.

        Raises:
            ShapeError: A wrong shape, number of dimensions or dtype, or impossible lengths.
            OptionError: There are resets while torch makes a graph of the layer; an input of a step
                is missing, or is not one of the cell's.
        """
        if not torch.compiler.is_compiling() and torch._C._autograd._profiler_enabled():
            with record_function(self._title(input)):
                return self._forward(input, hx, lengths, resets, resets_to, inputs)
        return self._forward(input, hx, lengths, resets, resets_to, inputs)

    def _title(self, input: Any) -> str:
        """Return what a profiler calls a call: the layer, and the shape of what it reads."""
        shape = tuple((input.data if isinstance(input, PackedSequence) else input).shape)
        return f"unrolled::{self.cell.name} {shape} -> {self.hidden_size}"

    def _forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any,
        lengths: Tensor | Sequence[int] | None,
        resets: Resets | None,
        resets_to: Any,
        inputs: dict[str, Tensor],
    ) -> tuple[Any, Any]:
        if resets is not None:
            refuse_resets(type(self).__name__, resets, input)
            if lengths is None:
                hx, resets, resets_to = self._begun_anew(input, hx, resets, resets_to)
        is_plain = lengths is None and resets is None and not inputs
        if is_plain and (results := self._short_call(input, hx)) is not None:
            output, *ends = results
            return output, self._as_state(ends)
        if inputs and isinstance(input, PackedSequence):
            inputs = packed_inputs(type(self).__name__, input, inputs)
        if keeps_padding() and isinstance(input, PackedSequence):
            return run_padded(self, input, hx, lengths, inputs)
        # each weight is read once: it may be the result of a parametrisation
        weights = [self.weights_of(suffix) for suffix in self.suffixes]
        weight = weights[0].weight_ih
        batched = isinstance(input, PackedSequence) or input.dim() == 3
        x, rows = self._read(input, lengths, resets, weight, inputs)
        states = self._states_of(hx, rows.batch_size, batched, weight)
        if resets is not None and resets_to is not None:
            anew = self._states_of(resets_to, rows.batch_size, batched, weight)
            states = tuple(map(rows.sort, states, anew))
        else:
            states = tuple(map(rows.sort, states))
        x, states = self._run(x, rows, weights, states)
        state = self._as_state([rows.unsort(part) for part in states])
        if isinstance(input, PackedSequence):
            return input._replace(data=x), state
        output = rows.restore_padding(x)
        if not batched:
            return output.squeeze(1), map_state(lambda part: part.squeeze(1), state)
        return output.transpose(0, 1) if self.batch_first else output, state

    def _begun_anew(self, input: Any, hx: Any, resets: Resets, resets_to: Any) -> Any:
        """Return `hx`, `resets` and `resets_to`; the first alone where it can say the others."""
        if not isinstance(input, Tensor) or input.dim() != 3 or input.shape[-1] != self.input_size:
            return hx, resets, resets_to
        shapes = self._state_shapes(input.shape[0 if self.batch_first else -2])
        where = type(self).__name__
        return begun_anew(where, input, hx, resets, resets_to, self.batch_first, shapes)

    def _short_call(self, input: Any, hx: Any) -> Sequence[Tensor] | None:
        """Return the output and the states where little but the kernel is needed, else None."""
        if torch.compiler.is_compiling() or is_observed() or self.proj_size or self.cell.inputs:
            return None
        if self.training and self.dropout and self.num_layers > 1:
            return None
        calls = self._short_calls
        if calls is None:
            calls = self._short_calls = ShortCalls(
                self.cell,
                self.input_size,
                self.hidden_size,
                self.num_layers,
                1 + self.bidirectional,
                self.bias,
                self._all_names,
                heads=self.heads,
            )
        return calls.run(input, hx, self._parameters, batch_first=self.batch_first)

    def _read(
        self,
        input: Tensor | PackedSequence,
        lengths: Tensor | Sequence[int] | None,
        resets: Resets | None,
        weight: Tensor,
        inputs: dict[str, Tensor],
    ) -> tuple[Tensor, RaggedRows | PaddedRows]:
        """Return the rows of `input` that are not padding, (N, I), and how they lie.

        While it is traced: the padded batch itself, (T, B, I). Behind x_t lie the inputs of a step.
        """
        where = type(self).__name__
        if isinstance(input, PackedSequence):
            x, rows = read_packed(where, input, self.input_size, lengths, weight)
            return self._step_inputs().beside(x, inputs), rows
        x, batched = time_first(where, input, self.input_size, self.batch_first, weight)
        if inputs or self.cell.inputs:
            beside = self._step_inputs().beside(input, inputs)
            width = beside.shape[-1]
            x, _ = time_first(where, beside, width, self.batch_first, beside)
        num_steps, batch_size = x.shape[:2]
        if lengths is not None:
            lengths = lengths_tensor(lengths)
            lengths = lengths if batched else lengths.reshape(-1)
        if keeps_padding():
            return x, PaddedRows(lengths, batch_size)
        pieces = None
        if lengths is not None:
            lengths = check_lengths(where, lengths, num_steps, batch_size, x.device)
        if resets is not None:
            marks = time_first_resets(where, resets, input, self.batch_first)
            pieces = Pieces.of(lengths, marks)
        if pieces is not None:
            rows = RaggedRows.of_pieces(pieces, num_steps, batch_size)
        elif lengths is not None:
            rows = RaggedRows.of(lengths, num_steps)
        else:
            rows = RaggedRows.even(num_steps, batch_size)
        return rows.drop_padding(x), rows

    @property
    def wanted_inputs(self) -> tuple[str, ...]:
        """The inputs of a step that every call has to be given, beside x."""
        return tuple(name for name in self.cell.inputs if name not in self.input_defaults)

    def with_default_inputs(self, x: Tensor) -> Tensor:
        """Return x, (..., I), with the inputs of a step as they are where none is given behind it.

        Raises:
            OptionError: One has no default.
        """
        rows: Tensor = self._step_inputs().beside(x, {})
        return rows

    def _step_inputs(self, user: str = "") -> StepInputs:
        where = f"{type(self).__name__}{user}"
        return StepInputs(where, self.cell.inputs, self.hidden_size, self.input_defaults)

    def _run(
        self,
        x: Tensor,
        rows: RaggedRows | PaddedRows,
        weights: Sequence[Weights],
        states: tuple[Tensor, ...],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run all layers and directions over rows (N, I); states are (L * D, B, H)."""

        # torch.compile of 2.10 knows no `|` of types: these are texts
        def observer(layer: int, reverse: bool) -> "Observer | None":
            names, inputs = self.cell.states, self.cell.inputs
            return observer_of(self, layer, reverse, names, inputs, rows)

        def holding(layer: int, reverse: bool) -> "tuple[Cell, Tensor] | None":
            return holding_of(self, layer, reverse, rows, x)

        held = holding if not is_compiling() and is_observed() else None
        dropout = self.dropout if self.training else 0.0
        directions = 1 + self.bidirectional
        return run_stack(self.cell, x, rows, weights, states, directions, dropout, observer, held)

    # ---- States ----------------------------------------------------------------------------------

    def initial_state(self, batch_size: int) -> State:
        """Return the state that `hx=None` stands for: zeros, (L * directions, B, H) each."""
        like = getattr(self, f"weight_ih_{self.suffixes[0]}").detach()  # as in `_states_of`
        return self._as_state([like.new_zeros(s) for s in self._state_shapes(batch_size)])

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
            # a weight from outside is refused by jit.trace: here, not where it has noted sizes
            like = weight.detach()
            return tuple(like.new_zeros(shape) for shape in shapes)
        expected = shapes if batched else [(stacked, width) for stacked, _, width in shapes]
        states = checked_states(type(self).__name__, hx, self.cell.states, expected, weight)
        return states if batched else tuple(state.unsqueeze(1) for state in states)

    def _as_state(self, tensors: Sequence[Tensor]) -> State:
        """Return the one tensor itself, or several as the cell's named tuple."""
        if len(tensors) == 1:
            return tensors[0]
        state: State = self.cell.state_type._make(tensors)
        return state

    # ---- Streams ---------------------------------------------------------------------------------

    def stream(self, batch_size: int = 1, *, weights: WeightFormat = "f32") -> Stream:
        """Return a `Stream` that reads `batch_size` sequences piece by piece.

        Args:
            batch_size: B.
            weights: How it stores the weight matrices: "f32"; "bf16", each number rounded to
                bfloat16; "int8", rounded to one of 255 multiples of a scale that each row has. A
                step of many units waits for its weights, and half the bytes take half the time.
                Sums, states, biases and weight vectors stay float32.

        Raises:
            OptionError: The layer cannot be streamed, or not with such weights: they need its
                cell's kernel, and so float32 on CPU.
        """
        prepare = self._stepper_with("stream", weights, batch_size)
        inputs = self._step_inputs(".stream")
        return Stream(self, batch_size, prepare, self._unwatched_parameters, weights, inputs)

    def streams(self, capacity: int, *, weights: WeightFormat = "f32") -> Streams:
        """Return `Streams`: up to `capacity` of them, which come and go, any of them in a call.

        Args:
            capacity: The most at a time.
            weights: How they store the weight matrices, as `stream` has it.

        Raises:
            OptionError: As `stream`.
        """
        prepare = self._stepper_with("streams", weights, 1)
        inputs = self._step_inputs(".streams")
        return Streams(self, capacity, prepare, self._unwatched_parameters, weights, inputs)

    def _stepper_with(
        self, method: str, weights: WeightFormat, batch_size: int
    ) -> Callable[..., Stepper | None]:
        """Return `_stepper` for `batch_size` rows and weights stored so, as `method` asks for."""
        if weights == "f32":
            return partial(self._stepper, batch_size)
        check_smaller_weights(self, method, weights)
        return partial(self._smaller_stepper, weights, batch_size)

    def _smaller_stepper(
        self,
        weights: WeightFormat,
        batch_size: int,
        stepper: Stepper | None,
        places: Places | None = None,
    ) -> Stepper | None:
        with storing_weights(weights):
            return self._stepper(batch_size, stepper, places)

    def _stepper(
        self, batch_size: int, stepper: Stepper | None, places: Places | None = None
    ) -> Stepper | None:
        """Return `stepper` if it has this layer's weights, else a new one, if there can be any."""
        if self._unwatched_parameters() is None:
            return None  # as the layer itself does it
        try:  # straight from where modules keep them: this is asked at every step
            weights = [self._parameters[name] for name in self._all_names]
        except KeyError:  # some are computed
            return None
        if stepper is not None and stepper.serves(weights):
            return stepper
        layers = [self.weights_of(suffix) for suffix in self.suffixes]
        return stepper_of(self.cell, layers, self._all_names, batch_size, places)

    def plain_weights(self) -> list[Tensor] | None:
        """Return all weights; None where more is to be done than to compute with them.

        Dropout is not looked at: this is for who leaves it out.
        """
        hooked = self._forward_hooks or self._forward_pre_hooks
        if hooked or torch.compiler.is_compiling() or is_observed():
            return None
        parameters = self._parameters
        weights = [parameters.get(name) for name in self._all_names]
        present: list[Tensor] = [w for w in weights if w is not None]  # none are computed
        return present if len(present) == len(weights) else None

    def plain_stepper(self, batch_size: int) -> Stepper | None:
        """Return what steps with `plain_weights`, if there can be any, for its caller alone.

        None where a step reads more than x.
        """
        if self.plain_weights() is None or self.cell.inputs:
            return None
        layers = [self.weights_of(suffix) for suffix in self.suffixes]
        return stepper_of(self.cell, layers, self._all_names, batch_size)

    def _unwatched_parameters(self) -> dict[str, Any] | None:
        """Return the parameters, None where more is to be done than to compute with them."""
        if self._forward_hooks or self._forward_pre_hooks or (self.dropout and self.training):
            return None
        return None if is_observed() or is_compiling() else self._parameters

    def extra_repr(self) -> str:
        """Return the sizes, and every option that is not the default."""
        options: dict[str, object] = {"proj_size": 0, "num_layers": 1, "nonlinearity": "tanh"}
        options |= {"bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        options |= {"reset": "after", "heads": 1}
        values = {name: getattr(self, name, default) for name, default in options.items()}
        shown = [f"{name}={v!r}" for name, v in values.items() if v != options[name]]
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])
