"""What all wrappers of one layer share: they are called, stepped and streamed as the layer is."""

import abc
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import OptionError
from unrolled.layers import RecurrentLayer, State, StepInputs, Stream, Streams

__all__ = ["Wrapper", "inputs_within", "require_recurrent", "step_inputs_of"]


def _recurrent_within(layer: nn.Module) -> list[RecurrentLayer]:
    return [part for part in layer.modules() if isinstance(part, RecurrentLayer)]


def require_recurrent(where: str, layer: Any) -> None:
    """Raise `OptionError` unless `layer` is a recurrent layer of this package itself."""
    if not isinstance(layer, RecurrentLayer):
        raise OptionError(
            f"{where}: needs a recurrent layer, got {type(layer).__name__}",
            "give it the layer itself, and put other wrappers around",
        )


def inputs_within(layer: nn.Module) -> set[str]:
    """Return the inputs of a step, beside x, that layers within `layer` take."""
    return {name for part in _recurrent_within(layer) for name in part.cell.inputs}


def step_inputs_of(where: str, layer: nn.Module) -> StepInputs:
    """Return what a stream of `layer` has to be given at every step beside x.

    Raises:
        OptionError: Layers within it read some, and have different numbers of units: a stream has
            one width for all.
    """
    parts = _recurrent_within(layer)
    wanted = {part.hidden_size for part in parts if part.wanted_inputs}
    if len(wanted) > 1:
        sizes = " and ".join(map(str, sorted(wanted)))
        raise OptionError(
            f"{where}: layers that read more than x at a step have {sizes} units",
            "stream each of them, or give them as many units",
        )
    names = dict.fromkeys(name for part in parts for name in part.wanted_inputs)
    return StepInputs(where, tuple(names), max(wanted, default=0))


class Wrapper(nn.Module, abc.ABC):
    """A layer with something around it, used as the layer itself.

    Args:
        layer: A recurrent layer, TCN, or another wrapper.

    Attributes:
        layer: The same.
        input_size: I, of the layer.
        output_size: The width of its output.
        batch_first: Whether input and output are (B, T, ...).
        bidirectional: Whether it reads backwards too.

    Raises:
        OptionError: It is none of these.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        if not hasattr(layer, "initial_state"):
            raise OptionError(
                f"{type(self).__name__}: needs a layer of unrolled, got {type(layer).__name__}",
                "such as unrolled.LSTM or unrolled.TCN, or a wrapper of one",
            )
        self.layer: Any = layer
        attributes: Any = layer  # untyped: a module's attributes may be anything
        self.input_size: int = attributes.input_size
        self.output_size: int = attributes.output_size
        self.batch_first: bool = attributes.batch_first
        self.bidirectional: bool = getattr(attributes, "bidirectional", False)

    @abc.abstractmethod
    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        **given: Any,
    ) -> tuple[Any, Any]:
        """Read a batch of sequences; arguments, results and errors are the layer's."""

    def initial_state(self, batch_size: int) -> State:
        """Return the state that `hx=None` stands for."""
        state: State = self.layer.initial_state(batch_size)
        return state

    def stream(self, batch_size: int = 1) -> Stream:
        """Return a `Stream` of `batch_size` sequences.

        Raises:
            OptionError: The layer reads backwards too, or would drop something at random.
        """
        inputs = step_inputs_of(f"{type(self).__name__}.stream", self)
        return Stream(self, batch_size, inputs=inputs)

    def streams(self, capacity: int) -> Streams:
        """Return `Streams`, a pool of up to `capacity`, each read by a call of its own.

        Raises:
            OptionError: As `stream`.
        """
        inputs = step_inputs_of(f"{type(self).__name__}.streams", self)
        return Streams(self, capacity, inputs=inputs)
