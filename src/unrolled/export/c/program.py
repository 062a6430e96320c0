"""From what a model is made of to a C file and its header."""

from unrolled.export.c.chain import chain_program
from unrolled.export.c.decoder import writing_program
from unrolled.export.c.interface import Program
from unrolled.export.c.words import words_program
from unrolled.kernels import WeightFormat
from unrolled.tasks.graphs import Chain, Parts, Windows, Writing

__all__ = ["Program", "program_of"]


def program_of(parts: Parts, name: str, weights: WeightFormat) -> Program:
    """Return a model in C.

    Raises:
        OptionError: A module that there is no C for, in training mode, or with weights that are
            not finite.
    """
    if isinstance(parts, Chain):
        return chain_program(parts, name, weights)
    if isinstance(parts, Writing):
        return writing_program(parts, name, weights)
    if isinstance(parts, Windows):
        from unrolled.export.c.forecaster import windows_program  # which loads that task

        return windows_program(parts, name, weights)
    return words_program(parts, name, weights)
