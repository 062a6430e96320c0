"""Layers: sequences in, sequences out, with the state given and returned."""

from unrolled.layers import initialize
from unrolled.layers.drop_in import GRU, JANET, LSTM, RNN
from unrolled.layers.recurrent import Recurrent
from unrolled.layers.stream import Stream
from unrolled.layers.tcn import TCN

__all__ = ["GRU", "JANET", "LSTM", "RNN", "TCN", "Recurrent", "Stream", "initialize"]
