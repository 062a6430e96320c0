"""Cells: the equations of one step, and nothing else."""

from unrolled.cells.cell import Cell, cell
from unrolled.cells.elman import rnn_relu, rnn_tanh
from unrolled.cells.gru import gru_reset_after, gru_reset_before
from unrolled.cells.janet import janet
from unrolled.cells.lstm import lstm

__all__ = [
    "Cell",
    "cell",
    "gru_reset_after",
    "gru_reset_before",
    "janet",
    "lstm",
    "rnn_relu",
    "rnn_tanh",
]
