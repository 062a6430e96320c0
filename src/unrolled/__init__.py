"""Recurrent sequence models on PyTorch: write a cell as its equations, train it, stream it."""

from unrolled.cells import Cell, cell
from unrolled.errors import UnrolledError
from unrolled.layers import GRU, JANET, LSTM, RNN, TCN, Recurrent, Stream, initialize

__all__ = [
    "GRU",
    "JANET",
    "LSTM",
    "RNN",
    "TCN",
    "Cell",
    "Recurrent",
    "Stream",
    "UnrolledError",
    "cell",
    "initialize",
]
