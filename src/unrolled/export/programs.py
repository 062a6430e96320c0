"""Exported programs without an operator of ours, for those who read torch's own only."""

import warnings

import torch
from torch.export import ExportedProgram

from unrolled.kernels import decomposed

__all__ = ["plain"]


def plain(program: ExportedProgram) -> ExportedProgram:
    """Return a program that computes the same, each recurrence as a scan over one step.

    It runs, and is loaded, where `unrolled` is not installed, by torch's own operations: slower.
    Lengths are not checked: one above T is as T.

    Args:
        program: What `torch.export.export` returned.

    Example:
        >>> import torch, unrolled
        >>> program = torch.export.export(unrolled.GRU(3, 4), (torch.zeros(5, 2, 3),))
        >>> "unrolled" in str(unrolled.export.plain(program).graph)
        False
    """
    table = {torch.ops.unrolled.recurrence.default: decomposed}
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # torch's, of its own code
            warnings.simplefilter("ignore", category)
        decomposed_program: ExportedProgram = program.run_decompositions(table)
    return decomposed_program
