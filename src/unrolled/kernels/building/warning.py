"""A warning at the line of the caller's that led to it, said once in a process."""

import os
import sys
import warnings
from functools import cache
from pathlib import Path

import torch

__all__ = ["warn_once"]


@cache
def warn_once(reason: str) -> None:
    """Warn at the line that called a layer."""
    packages = (Path(__file__).parents[2], Path(torch.__file__).parent)
    inside = tuple(f"{folder}{os.sep}" for folder in packages)
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        frame, level = frame.f_back, level + 1
    warnings.warn(reason, stacklevel=level)  # the line that called a layer
