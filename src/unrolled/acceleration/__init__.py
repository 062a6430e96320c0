"""Recurrent layers of torch, wherever they are in a model, run by the kernels of this package.

`accelerate` changes a model in place and says what it did, `restore` undoes it. A layer keeps its
parameters, its name and its type; only what its `forward` does is another (`classes.py`), and where
a kernel cannot do what is asked, or torch's own code is faster, torch's own forward does it
(`sequences.py`, `steps.py`).
"""

from unrolled.acceleration.changing import accelerate, accelerated, restore
from unrolled.acceleration.report import Report

__all__ = ["Report", "accelerate", "accelerated", "restore"]
