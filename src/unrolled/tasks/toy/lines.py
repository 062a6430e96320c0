"""Toy problems as lines of text, to try a trained model on input of one's own.

    adding     0.5 0.25* 0.125*          the values, a star at those that are marked
               0.5 0.25* 0.125*<TAB>0.375
    symbols    hell                      the problem's symbols
               hell<TAB>ello             and the answers; . where nothing is asked

Not for made examples: those are in `problems.py`.
"""

import numpy as np

from unrolled.data.batching import IGNORE
from unrolled.errors import DataError
from unrolled.tasks.toy.problem import Array, Toy
from unrolled.tasks.toy.reber import Reber

__all__ = ["format_inputs", "parse_answers", "parse_inputs"]


def parse_inputs(toy: Toy, line: str, where: str) -> Array:
    """Return the inputs that a line holds: (T,) int64 symbols, or (T, 2) float32 values.

    Args:
        toy: The problem.
        line: The text.
        where: File and line, for the message.

    Raises:
        DataError: An empty line, an unknown symbol, no number.
    """
    if not line.strip():
        raise DataError(f"{where}: empty", "give at least one step")
    if toy.symbols:
        return np.array([_symbol(toy, symbol, where) for symbol in line])
    words = line.split()
    values = [(_number(word.removesuffix("*"), where), word.endswith("*")) for word in words]
    return np.array(values, dtype=np.float32)


def format_inputs(toy: Toy, inputs: Array) -> str:
    """Return the line that holds inputs, of which `parse_inputs` makes them again."""
    if toy.symbols:
        return "".join(toy.symbols[symbol] for symbol in inputs.tolist())
    return " ".join(f"{value:.3g}{'*' * bool(marked)}" for value, marked in inputs.tolist())


def parse_answers(toy: Toy, line: str, where: str) -> tuple[Array, Array]:
    """Return the inputs and the targets that a line holds, with a tab in between.

    Raises:
        DataError: As `parse_inputs`; no tab; another number of answers than of inputs; no answer
            but dots; a string that is not of the grammar.
    """
    before, tab, after = line.partition("\t")
    if not tab:
        raise DataError(f"{where}: no tab", "give the inputs, a tab, and the answers")
    inputs = parse_inputs(toy, before, where)
    if not toy.symbols:
        return inputs, np.array(_number(after, where), dtype=np.float32)
    targets = np.array([IGNORE if c == "." else _symbol(toy, c, where) for c in after])
    if len(inputs) != len(targets):
        raise DataError(f"{where}: {len(inputs)} inputs, but {len(targets)} answers")
    if (targets == IGNORE).all():
        raise DataError(f"{where}: no answer is asked for", "a dot is no answer")
    if isinstance(toy, Reber) and not toy.grammar.writes(string := before[0] + after):
        raise DataError(f"{where}: {string!r} is no string of the grammar")
    return inputs, targets


def _symbol(toy: Toy, symbol: str, where: str) -> int:
    if (index := toy.symbols.find(symbol)) < 0:
        raise DataError(f"{where}: unknown symbol {symbol!r}", f"there are {toy.symbols}")
    return index


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise DataError(f"{where}: not a number: {word.strip()!r}") from None
    if not np.isfinite(value):
        raise DataError(f"{where}: {word.strip()} is not a finite number")
    return value
