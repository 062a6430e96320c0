"""Recurrent sequence models on PyTorch: write a cell as its equations, train it, stream it.

The names below are loaded when they are first used, so that `unrolled --help` need not wait for
torch. Where torch is loaded before, the layers are too: exported programs need their operators.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrolled.cells import Cell, cell
    from unrolled.errors import UnrolledError
    from unrolled.inspection import Record, trace
    from unrolled.layers import GRU, JANET, LSTM, RNN, TCN, Recurrent, Stream, initialize
    from unrolled.networks import LanguageModel, LanguageModelConfig
    from unrolled.tasks.lm.sampling import generate

__all__ = [
    "GRU",
    "JANET",
    "LSTM",
    "RNN",
    "TCN",
    "Cell",
    "LanguageModel",
    "LanguageModelConfig",
    "Record",
    "Recurrent",
    "Stream",
    "UnrolledError",
    "cell",
    "generate",
    "initialize",
    "trace",
]

_HOMES = {
    "unrolled.cells": ("Cell", "cell"),
    "unrolled.errors": ("UnrolledError",),
    "unrolled.tasks.lm.sampling": ("generate",),
    "unrolled.inspection": ("Record", "trace"),
    "unrolled.layers": ("GRU", "JANET", "LSTM", "RNN", "TCN", "Recurrent", "Stream", "initialize"),
    "unrolled.networks": ("LanguageModel", "LanguageModelConfig"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'unrolled' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


if "torch" in sys.modules:
    import_module("unrolled.layers")
