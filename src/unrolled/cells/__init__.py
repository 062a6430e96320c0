"""Cells: the equations of one step, and nothing else."""

from unrolled.cells.cell import RAW_INPUT, Cell, cell
from unrolled.cells.elman import rnn_relu, rnn_tanh
from unrolled.cells.gru import gru_reset_after, gru_reset_before
from unrolled.cells.janet import janet
from unrolled.cells.lstm import lstm
from unrolled.cells.publication import Publication
from unrolled.cells.sources import CellSource
from unrolled.cells.zoneout import ZONE, zoned

__all__ = [
    "CELLS",
    "RAW_INPUT",
    "ZONE",
    "Cell",
    "CellSource",
    "Publication",
    "cell",
    "gru_reset_after",
    "gru_reset_before",
    "janet",
    "lstm",
    "rnn_relu",
    "rnn_tanh",
    "zoned",
]

CELLS: dict[str, Cell] = {
    "rnn": rnn_tanh,
    "rnn_relu": rnn_relu,
    "lstm": lstm,
    "gru": gru_reset_after,
    "gru_reset_before": gru_reset_before,
    "janet": janet,
}
"""The cells that layers of this package have, by the names that commands take.

All others that commands know by a name are in `unrolled.cells.catalogue`, which is loaded when it
is asked for.
"""
