"""The loop in C that writes word after word, and what holds it against the search in Python.

Python's is the search of beam 1 (networks/word_search.py): at each step the word of the greatest
score, never an unknown one or the mark of the beginning, until the mark of the end.
"""

import ctypes
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unrolled.data.words import BEGIN, END, UNKNOWN
from unrolled.errors import RunError
from unrolled.export.c.interface import Program, function
from unrolled.export.proof import REPORT_IT
from unrolled.tasks.decoder_graphs import DecoderGraphs

__all__ = [
    "begin_drawing",
    "compare_words",
    "declared_write",
    "mark_defines",
    "write_function",
    "written_words",
]

_NEVER = "-1e30f"  # as a score: nothing that a network says is as low


def begin_drawing() -> list[str]:
    """Return the lines with which a function that draws begins.

    They refuse NaN too, and a temperature at which `_NEVER` would come. A small number has a small
    one after it, by which the token of the lowest number would be drawn first, the end of a text.
    """
    return [
        "if (!(temperature >= 0.0f && temperature <= 1e20f)) return -1;",
        "if (temperature > 0.0f && *random < 65536u) *random = (*random + 1u) * 2654435769u;",
    ]


def mark_defines() -> list[tuple[str, str]]:
    """Return the macros of the words that are marks."""
    return [
        (f"BEGIN {BEGIN}", "the word that comes before the first one"),
        (f"END {END}", "the word that comes after the last one"),
    ]


def _head(name: str, looks: bool) -> str:
    room = "float *room, " if looks else ""
    return (
        f"int32_t {name}_write({name} *m, int32_t word, float temperature, uint32_t *random,\n"
        f"                     int32_t most, int32_t *words, int32_t *count, {room}float *scores)"
    )


def write_function(name: str, num_words: int, looks: bool) -> str:
    """Return the function that writes.

    Args:
        name: Of the model.
        num_words: V.
        looks: Whether a step looks at what was read, in room of the caller's.
    """
    room = "room, " if looks else ""
    return function(
        _head(name, looks),
        [
            "*count = 0;",
            f"if (m->steps < 1 || word < 0 || word >= {num_words}) return -1;",
            *begin_drawing(),
            f"for (int32_t n = 0; n < most && word != {END}; n++) {{",
            f"  if ({name}_step(m, word, {room}scores) != 0) return -1;",
            f"  scores[{UNKNOWN}] = {_NEVER};",
            f"  scores[{BEGIN}] = {_NEVER};",
            f"  word = drawn({num_words}, scores, temperature, random);",
            f"  if (scores[word] <= {_NEVER}) return -1;",
            f"  if (word != {END}) {{",
            "    words[n] = word;",
            "    *count = n + 1;",
            "  }",
            "}",
            "return 0;",
        ],
    )


def declared_write(name: str, num_words: int, looks: bool) -> list[str]:
    """Return what the header says of it."""
    big = name.upper()
    room = "; room: as read left it" if looks else ""
    return [
        "",
        f"/* After {name}_read: writes words until {big}_END, which is not among them, or `most`;",
        f"   never an unknown one. word: the one that was written last, at first {big}_BEGIN.",
        "   Each has the greatest score at temperature 0, else is drawn by softmax(scores /",
        "   temperature). -1 before anything was read; of a temperature that is not from 0 to",
        "   1e20; and where no score is a number, as after NaN was read.",
        "   random: any number, which changes. words: [most], of which `count` are written;",
        f"   scores: [{num_words}], those that the last was drawn from{room}. */",
        _head(name, looks) + ";",
    ]


def written_words(library: Any, most: int, num_words: int, room: list[Any]) -> list[int]:
    """Return what the C writes after what it has read.

    Args:
        library: The compiled model.
        most: Words at most.
        num_words: V.
        room: The caller's room, of a model that looks at it.
    """
    words, count = (ctypes.c_int32 * most)(), ctypes.c_int32()
    scores, random = (ctypes.c_float * num_words)(), ctypes.c_uint32(1)
    start = (ctypes.c_int32(BEGIN), ctypes.c_float(0.0), ctypes.byref(random))
    library.call("write", *start, ctypes.c_int32(most), words, ctypes.byref(count), *room, scores)
    return words[: count.value]


def compare_words(
    program: Program,
    graphs: DecoderGraphs,
    library: Any,
    inputs: Mapping[str, Tensor],
    most_difference: float,
) -> int:
    """Hold what the C writes of a batch against what Python does; return of how many rows.

    Where two words have the same score to rounding, either may come.

    Args:
        program: The C.
        graphs: Of the model with weights as they are stored.
        library: What was compiled.
        inputs: A batch, with known words, as long as the longest of which is written.
        most_difference: What is rounding, in parts of the greatest score.

    Raises:
        RunError: Another word.
    """
    assert program.written is not None
    most = inputs["words"].shape[1]
    for row, expected in enumerate(graphs.written(inputs, most)):
        words = program.written(library, inputs, row, most)
        if words == expected:
            continue
        both = ([*words, END], [*expected, END])
        place = next(n for n, (a, b) in enumerate(zip(*both, strict=False)) if a != b)
        scores = graphs.next_scores(inputs, row, expected[:place])
        a, b = (float(scores[each[place]]) for each in both)
        if not abs(a - b) <= 2 * most_difference * max(1.0, float(scores.abs().max())):
            raise RunError(
                f"{program.name}.c: not written: word {place + 1} of a held-out sequence is "
                f"number {both[0][place]}, and Python's is {both[1][place]}",
                REPORT_IT,
            )
    return len(inputs["words"])
