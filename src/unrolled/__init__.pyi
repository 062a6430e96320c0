from . import export
from .acceleration import accelerate, accelerated, restore
from .cells import Cell, cell
from .errors import UnrolledError
from .inspection import Record, trace
from .layers import (
    GRU,
    JANET,
    LSTM,
    RNN,
    TCN,
    Hold,
    Recurrent,
    Stream,
    Streams,
    initialize,
    intervene,
)
from .streaming import ModelStream, stream
from .tasks.lm.model import LanguageModel
from .tasks.lm.sampling import generate
from .tasks.loading import from_pretrained, load

__all__ = [
    "GRU",
    "JANET",
    "LSTM",
    "RNN",
    "TCN",
    "Cell",
    "Hold",
    "LanguageModel",
    "ModelStream",
    "Record",
    "Recurrent",
    "Stream",
    "Streams",
    "UnrolledError",
    "accelerate",
    "accelerated",
    "cell",
    "export",
    "from_pretrained",
    "generate",
    "initialize",
    "intervene",
    "load",
    "restore",
    "stream",
    "trace",
]
