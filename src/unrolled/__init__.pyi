from . import export
from .cells import Cell, cell
from .errors import UnrolledError
from .inspection import Record, trace
from .layers import GRU, JANET, LSTM, RNN, TCN, Recurrent, Stream, initialize
from .tasks.lm.model import LanguageModel
from .tasks.lm.sampling import generate
from .tasks.runs import load

__all__ = [
    "GRU",
    "JANET",
    "LSTM",
    "RNN",
    "TCN",
    "Cell",
    "LanguageModel",
    "Record",
    "Recurrent",
    "Stream",
    "UnrolledError",
    "cell",
    "export",
    "generate",
    "initialize",
    "load",
    "trace",
]
