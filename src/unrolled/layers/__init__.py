"""Layers: sequences in, sequences out, with the state given and returned."""

from unrolled.kernels import check_lengths, valid_steps
from unrolled.layers import initialize
from unrolled.layers.arguments import tensor_of_array
from unrolled.layers.bound_step import BoundStep
from unrolled.layers.causal_conv import FiniteMemoryLayer, causal_conv, memory_span
from unrolled.layers.drop_in import GRU, LSTM, RNN
from unrolled.layers.intervening import (
    Hold,
    StepsRead,
    intervene,
    reading_on,
)
from unrolled.layers.janet import JANET
from unrolled.layers.observing import (
    GraphRecord,
    Record,
    observe_level,
    observes_values,
    observing_graph,
    observing_values,
)
from unrolled.layers.options import check_count, check_dropout, check_sizes
from unrolled.layers.recurrent import Recurrent
from unrolled.layers.recurrent_layer import RecurrentLayer
from unrolled.layers.stack import run_stack
from unrolled.layers.state import (
    SequenceLayer,
    State,
    map_state,
    state_tensors,
)
from unrolled.layers.step_inputs import StepInputs
from unrolled.layers.stream import Stream
from unrolled.layers.streamable import row_mask
from unrolled.layers.streams import Streams
from unrolled.layers.tcn import TCN, ResidualBlock
from unrolled.layers.writing import make_writer, written_weights

__all__ = [
    "GRU",
    "JANET",
    "LSTM",
    "RNN",
    "TCN",
    "BoundStep",
    "FiniteMemoryLayer",
    "GraphRecord",
    "Hold",
    "Record",
    "Recurrent",
    "RecurrentLayer",
    "ResidualBlock",
    "SequenceLayer",
    "State",
    "StepInputs",
    "StepsRead",
    "Stream",
    "Streams",
    "causal_conv",
    "check_count",
    "check_dropout",
    "check_lengths",
    "check_sizes",
    "initialize",
    "intervene",
    "make_writer",
    "map_state",
    "memory_span",
    "observe_level",
    "observes_values",
    "observing_graph",
    "observing_values",
    "reading_on",
    "row_mask",
    "run_stack",
    "state_tensors",
    "tensor_of_array",
    "valid_steps",
    "written_weights",
]
