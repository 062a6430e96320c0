"""From what a model is made of to a C file and its header."""

from unrolled.export.c.chain import ChainBuilder
from unrolled.export.c.decoder import WritingBuilder
from unrolled.export.c.interface import Program
from unrolled.export.c.words import WordsBuilder
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
        return ChainBuilder(parts, name, weights).program()
    if isinstance(parts, Writing):
        return WritingBuilder(parts, name, weights).program()
    if isinstance(parts, Windows):
        from unrolled.export.c.forecaster import WindowsBuilder  # which loads that task

        return WindowsBuilder(parts, name, weights).program()
    return WordsBuilder(parts, name, weights).program()
