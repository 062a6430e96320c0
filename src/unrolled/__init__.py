"""Recurrent sequence models on PyTorch: write a cell as its equations, train it, stream it.

The names below are loaded when they are first used, so that `unrolled --help` need not wait for
torch. Where torch is loaded before, the layers are too: exported programs need their operators.
"""

import sys
from importlib import import_module

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if "torch" in sys.modules:
    import_module("unrolled.layers")
